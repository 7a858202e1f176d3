"""Pretrained networks that installed packages carry: each file finds one, checks its sha256 and loads it."""
