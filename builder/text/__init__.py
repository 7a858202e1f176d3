"""Text on the screen: where it may be, whether it was put over the picture, and how to crop it away."""
