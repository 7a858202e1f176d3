"""Fill in the videos of a dataset of links: find the source files, cut the clips again, write ordinary shards."""
