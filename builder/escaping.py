"""Texts from outside, made to mean nothing but themselves where they land: in Markdown, and in the HTML it becomes."""

import html
import re

from builder.figures import one_line

SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")  # $ begins a formula on the Hub
LIST_MARK = re.compile(r"^(\d*)([-+=.)])")
ADDRESS = re.compile(r"https?://[!-~]+")


def as_text(text: str) -> str:
    """Markdown that shows exactly this text, on one line, in a table too."""
    escaped = SPECIAL.sub(r"\\\1", html.escape(one_line(text), quote=False))
    return LIST_MARK.sub(r"\1\\\2", escaped)


def as_link(url: str) -> str:
    """A link where it is a web address, else its text."""
    return f"<{url}>" if ADDRESS.fullmatch(url) and not set(url) & set("<>|\\`") else as_text(url)
