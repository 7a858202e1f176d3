"""The list of what must not be in a dataset: opt-outs and takedowns, a text file with a line each."""

import re
from collections.abc import Sequence
from pathlib import Path

from builder.errors import ConfigError, ItemError
from builder.records import Found
from builder.storage import Storage
from builder.table import Table
from builder.web.address import masked, normalised, unsigned

SHA256 = re.compile("[0-9a-f]{64}")
SITE_ID = re.compile(r"([a-z0-9_-]+):\s*([a-z0-9_-]+)")
FORMS = "SITE:ID, a URL, `author: NAME`, or a sha256"


def read(path: Path) -> tuple[str, ...]:
    """The entries, each in the one form in which it is compared, sorted.

    Raises:
        ConfigError: there is no such file, or a line is none of the forms.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"[licenses] takedown: {path} cannot be read ({error})") from None
    found: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.partition(" #")[0].strip()
        if text and not text.startswith("#"):
            if not (entries := entries_of(text)):
                raise ConfigError(f"{path} line {number}: {text[:80]!r} is none of: {FORMS}")
            found.update(entries)
    return tuple(sorted(found))


def entries_of(text: str) -> list[str]:
    """A line in comparable form; a URL of a known site names the video as well."""
    from builder.stages.find import site_of  # its package imports `admit`, which needs this file, here and below

    if SHA256.fullmatch(text.lower()):
        return [f"sha256:{text.lower()}"]
    if text.lower().startswith("author:"):
        return [f"author:{folded(text.partition(':')[2])}"]
    if "://" in text:
        try:
            url = normalised(text)
        except ItemError:
            return []
        site, site_id = site_of(url)
        same = unsigned(masked(url)).partition("://")[2].rstrip("/")  # http and https lead to one page
        return [f"url:{same}", *([f"{site}:{site_id}"] if site else [])]
    match = SITE_ID.fullmatch(text.lower())
    return [f"{match[1]}:{match[2]}"] if match else []


def with_hashes(entries: Sequence[str], storage: Storage) -> tuple[str, ...]:
    """The entries, and the hashes of what was fetched under those names: the same bytes may be listed elsewhere."""
    from builder.stages.fetch import noted

    listed = Takedown(entries)
    keys = {row.key for row in Table(storage, "find", Found).rows() if listed.names(row)} if entries else set()
    hashes = {f"sha256:{note['sha256']}" for key in keys if (note := noted(storage, key)).get("sha256")}
    return tuple(sorted({*entries, *hashes}))


def folded(name: str) -> str:
    return " ".join(name.split()).casefold()


class Takedown:
    """Entries as `read` gives them."""

    def __init__(self, entries: Sequence[str]) -> None:
        self.entries = frozenset(entries)

    def names(self, row: Found) -> str:
        """The entry that names this video, or its author; empty if none does."""
        return next((entry for entry in self._entries(row) if entry in self.entries), "") if self.entries else ""

    def _entries(self, row: Found) -> list[str]:
        urls = (row.url, row.page_url, row.author_url)
        named = [e for url in urls if "://" in url for e in entries_of(url)]
        site = row.site or row.source
        return [*named, f"{site}:{row.site_id}".lower(), f"author:{folded(row.author)}", f"sha256:{row.listed_sha256}"]
