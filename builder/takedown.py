"""The list of what must not be in a dataset: opt-outs and takedowns, a text file with a line each."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from builder.errors import ConfigError, ItemError
from builder.records import Found
from builder.storage import Storage, sync
from builder.table import Table
from builder.web.address import masked, normalised, unsigned

SHA256 = re.compile("[0-9a-f]{64}")
SITE_ID = re.compile(r"([a-z0-9_-]+):\s*([a-z0-9_-]+)")
FORMS = "SITE:ID, a URL, `author: NAME`, or a sha256"
SECTION = re.compile(r"^[ \t]*\[[ \t]*licenses[ \t]*\][ \t]*(#.*)?$\n?", re.MULTILINE)
DEFAULT_LIST = "takedown.txt"


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
        name = folded(text.partition(":")[2])
        return [f"author:{name}"] if name else []  # else it would name everything of which no author is known
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


def add(path: Path, lines: Sequence[str]) -> Iterator[str]:
    """Append those lines to the list that say something new, making it if need be; tells what it did.

    Raises:
        ConfigError: a line is no entry, or the list as it is cannot be read.
    """
    for line in lines:
        if not entries_of(line) or "\n" in line or " #" in line:
            raise ConfigError(f"{line[:80]!r} cannot be listed; an entry is {FORMS}: one line, no ` #` in it")
    known = set(read(path)) if path.exists() else set()
    fresh = [line for line in dict.fromkeys(lines) if not known.issuperset(entries_of(line))]
    if fresh:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        replace(path, text + ("" if text.endswith("\n") or not text else "\n") + "\n".join(fresh) + "\n")
    for line in lines:
        yield f"{path}: {'added' if line in fresh else 'has already'} {line}"


def name_list(build: Path) -> str:
    """Write `[licenses] takedown` into a build.toml that has none; says so.

    Raises:
        ConfigError: it is not clear where to write it.
    """
    text = build.read_text(encoding="utf-8")
    line = f"takedown = {json.dumps(DEFAULT_LIST)}\n"
    header = SECTION.search(text)
    before = text[: header.end()] if header else f"{text.rstrip()}\n\n[licenses]"
    new = before + ("" if before.endswith("\n") else "\n") + line + (text[header.end() :] if header else "")
    expected = tomllib.loads(text)
    expected["licenses"] = {**expected.get("licenses", {}), "takedown": DEFAULT_LIST}
    try:
        if tomllib.loads(new) != expected:
            raise ValueError
    except ValueError:  # TOMLDecodeError is one
        raise ConfigError(
            f"write {line.strip()} into [licenses] of {build} yourself, then run the same again"
        ) from None
    replace(build, new)
    return f"{build}: added {line.strip()} to [licenses]"


def replace(path: Path, text: str) -> None:
    """All or nothing."""
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.new")
    temporary.write_text(text, encoding="utf-8")
    if target.exists():
        temporary.chmod(target.stat().st_mode)
    sync(temporary)
    temporary.replace(target)
    sync(target.parent)


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
        author = [f"author:{name}"] if (name := folded(row.author)) else []
        return [*named, *author, f"{site}:{row.site_id}".lower(), f"sha256:{row.listed_sha256}"]
