"""What a licence allows: may its clips be redistributed in a dataset, and may models be trained on them?

`licenses.toml` holds the answers and the day on which the terms were read; this file finds the entry that a list means
by "cc-by 4.0" or by a link. What is not found allows nothing: all answers are "unknown", which bars as "no" does.
"""

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from builder.errors import ConfigError

Grant = Literal["yes", "no", "unknown"]

TABLE = Path(__file__).with_name("licenses.toml")
UNKNOWN: Final = "unknown"  # a grant, and the id of an item without a licence
GRANTS = ("originals", "clips", "attribution", "share_alike", "commercial", "machine_learning")
NEEDED = {  # what publishing needs; the other grants are conditions that a dataset can meet, so they bar nothing
    "clips": "redistributing clips as part of a dataset",
    "machine_learning": "training models on clips",
}

ADDRESS = re.compile(
    r"(?P<scheme>(?:https?:)?//)?(?:www\.)?(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?P<path>/[^?#]*)?(?:\?[^#]*)?(?P<part>#.*)?"
)
LEGAL_PAGE = re.compile(r"/(deed|legalcode)([._-][\w-]+)*$")  # the pages of one Creative Commons licence, by language
VERSION = re.compile(r"-?\d+(\.\d+)*")


@dataclass(frozen=True)
class License:
    """One licence; `licenses.toml` says what each grant means.

    `attribution` and `share_alike` are demands, so their "yes" is a duty; the other four are permissions. `read_on` is
    the ISO date of the terms that were read, empty where there were none to read.
    """

    id: str
    name: str
    url: str
    originals: Grant
    clips: Grant
    attribution: Grant
    share_alike: Grant
    commercial: Grant
    machine_learning: Grant
    read_on: str
    note: str
    aliases: tuple[str, ...] = ()

    def barriers(self) -> list[str]:
        """Why clips under this licence must not be published as they stand, each with what to do; empty if they may."""
        if self.id == UNKNOWN:
            where = f"at {self.url}" if self.url else "on the video's page"
            return [f"no licence is recorded: look it up {where} and write it into the source, or leave the video out"]
        if self.id not in licenses():
            near = _nearest(self.id)
            advice = self.note or (f"write {near} if that is meant" if near else "write its SPDX id, such as CC-BY-4.0")
            return [f"{self.id!r} is not in the table of licences: {advice}, or leave the video out"]
        forbidden, unclear = self._needed("no"), self._needed(UNKNOWN)
        found = []
        if forbidden:
            found.append(f"{self.id} forbids {forbidden}: get the rights holder's permission, or leave the video out")
        if unclear:
            found.append(f"{self.id} does not clearly allow {unclear}: settle it first, or leave the video out")
        return [f"{barrier}. {self.note}" for barrier in found]

    def _needed(self, grant: Grant) -> str:
        return " and ".join(deed for name, deed in NEEDED.items() if getattr(self, name) == grant)


@cache
def licenses() -> Mapping[str, License]:
    """All known licences by id, in the order of the table."""
    return MappingProxyType(read_table(TABLE.read_text(encoding="utf-8")))


@lru_cache(maxsize=4096)
def license_of(text: str, url: str = "") -> License:
    """The licence that a list means by `text` (an id, a usual spelling or an address) or by `url`.

    What is not known gives a licence that allows nothing, its id the text as given or, without one, "unknown". So does
    a text whose link grants something else, its id both of them: an allowed text must not let a forbidden link pass.
    The link decides where it grants the same or the text nothing ("public domain"), since links are more exact.
    """
    text, url = text.strip(), url.strip()
    said, linked = _find(text), _find(url)
    if said and linked and said.read_on and _grants(said) != _grants(linked):
        note = f"its text says {said.id}, its link {linked.id}; correct the one that is wrong"
        return _unread(f"{text} ({url})", url, note)
    return linked or said or _unread(UNKNOWN if _plain(text) in ("", UNKNOWN) else text, url, "")


def check_allowed(names: Sequence[str]) -> tuple[str, ...]:
    """The ids that `[licenses] allow` means, each once. "unknown" lets items without a licence in and is never implied.

    A last `*` stands for a version where versions fit, so that `CC-BY-*` does not let CC-BY-NC in, else for anything.

    Raises:
        ConfigError: a name fits nothing; the message suggests the nearest.
    """
    return tuple(dict.fromkeys(id_ for name in names for id_ in _fitting(name)))


def _fitting(name: str) -> list[str]:
    if _plain(name) == UNKNOWN:
        return [UNKNOWN]
    if name.strip().endswith("*"):
        stem = re.sub(r"[\s_]+", "-", name.strip()[:-1]).casefold()
        rests = {id_: id_[len(stem) :] for id_ in licenses() if id_.casefold().startswith(stem)}
        fits = [id_ for id_, rest in rests.items() if VERSION.fullmatch(rest)] or list(rests)
    else:
        found = _find(name)
        fits = [found.id] if found else []
    if not fits:
        near = _nearest(name.rstrip("* "))
        hint = f"did you mean {near!r}? " if near else ""
        known = ", ".join([UNKNOWN, *licenses()])
        raise ConfigError(f"allow: no licence is called {name!r}; {hint}There are: {known}")
    return fits


def _nearest(name: str) -> str:
    ids = {id_.casefold(): id_ for id_ in licenses()}
    near = difflib.get_close_matches(name.casefold(), ids, n=1)
    return ids[near[0]] if near else ""


def _grants(license_: License) -> list[Grant]:
    return [getattr(license_, name) for name in GRANTS]


def _unread(id_: str, url: str, note: str) -> License:
    return License(id_, id_, url, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, read_on="", note=note)


def _find(text: str) -> License | None:
    return next((_by_key()[key] for key in _keys(text) if key in _by_key()), None)


@cache
def _by_key() -> Mapping[str, License]:
    return _index(licenses().values())


def _plain(text: str) -> str:
    """A name without case, spaces, hyphens and marks; the dots stay, since 2.5 is not 25."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("licence", "license")
    return re.sub(r"[^\w.]|_", "", text).strip(".")


def _keys(text: str) -> list[str]:
    """What to look a text up under, the most exact first; an address is tried with its `#part`, then without."""
    address = ADDRESS.fullmatch(text.strip().casefold())
    if not address or not (address["scheme"] or address["path"]):  # "apache-2.0" alone would pass for a host
        return [_plain(text)]
    page = address["host"] + LEGAL_PAGE.sub("", (address["path"] or "").rstrip("/")).rstrip("/")
    return [page + address["part"], page] if address["part"] else [page]


def read_table(text: str) -> dict[str, License]:
    """The licences of a table by id.

    Raises:
        ValueError: the table is wrong (a misspelt grant, one name for two licences); it says where.
    """
    entries = tomllib.loads(text)["license"]
    found = [_license(version) for entry in entries for version in _versions(entry)]
    _index(found)
    return {license_.id: license_ for license_ in found}


def _index(found: Iterable[License]) -> dict[str, License]:
    """Licences by everything that means them; no key may mean two, and none may mean "unknown"."""
    by_key: dict[str, License] = {}
    for license_ in found:
        for name in filter(None, (license_.id, license_.name, license_.url, *license_.aliases)):
            key = _keys(name)[0]
            other = by_key.setdefault(key, license_)
            if other is not license_:
                raise ValueError(
                    f"licenses.toml: {name!r} means both {other.id} and {license_.id}; it may mean one only"
                )
            if key in ("", UNKNOWN):
                raise ValueError(f"licenses.toml: {name!r} is what stands for no licence; {license_.id} may not use it")
    return by_key


def _versions(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One entry for each version of a family, its texts filled in; an entry without versions as it is."""
    rest = {key: value for key, value in entry.items() if key != "versions"}
    if "versions" not in entry:
        yield rest
    for version, edition in entry.get("versions", {}).items():
        filled = {key: rest[key].format(version=version, edition=edition) for key in ("id", "name", "url")}
        aliases = [alias.format(version=version, edition=edition) for alias in rest.get("aliases", ())]
        yield {**rest, **filled, "aliases": aliases}


def _license(entry: Mapping[str, Any]) -> License:
    where = f"licenses.toml, {entry.get('id', entry)!r}"
    grants, read_on = entry.get("grants", {}), entry.get("read_on")
    if set(entry) - {"aliases", "read_on"} != {"id", "name", "url", "grants", "note"} or set(grants) != set(GRANTS):
        raise ValueError(f"{where}: needs id, name, url, note, and grants with {', '.join(GRANTS)}, and nothing else")
    if wrong := {key: value for key, value in grants.items() if value not in get_args(Grant)}:
        raise ValueError(f"{where}: a grant is one of {', '.join(get_args(Grant))}, not {wrong}")
    if read_on is None and set(grants.values()) != {UNKNOWN}:
        raise ValueError(f"{where}: who has not read the terms (no read_on) knows no grant")
    if read_on is not None and not isinstance(read_on, date):
        raise ValueError(f"{where}: read_on must be a date such as 2026-11-24, not {read_on!r}")
    texts = {key: entry[key] for key in ("id", "name", "url", "note")}
    return License(**texts, **grants, read_on=str(read_on or ""), aliases=tuple(entry.get("aliases", ())))
