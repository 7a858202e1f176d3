"""What stands between a captioner and a model: the question, what is said, and whether it can be kept."""
