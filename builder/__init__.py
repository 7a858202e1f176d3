"""osd-build: from openly licensed video to captioned, verified WebDataset shards."""
