"""Which clips show the same: what is kept of each to compare it by, a search that never compares each with each, and
the choice of the one that stays."""
