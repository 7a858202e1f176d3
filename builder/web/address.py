"""Addresses: which URLs are accepted, and the one form in which each is known, stored and fetched.

The parser is the client's own, so that what was checked is what is connected to.
"""

import re

import httpx2

from builder.errors import ItemError

HOST = re.compile(rb"[a-z0-9._:-]+")
LAST_PORT = 65535


def normalised(text: str) -> str:
    """Scheme and host in lower case, no default port, no fragment, `/` for an empty path; the query stays as it is.

    Raises:
        ItemError: `bad_url`, if it is no http or https URL, or carries a password (tables would keep it).
    """
    try:
        url = httpx2.URL(text.strip())
    except httpx2.InvalidURL as error:
        raise ItemError("bad_url", f"{text[:200]!r} is no URL ({error}); correct it in the list") from None
    if url.scheme not in ("http", "https"):
        raise ItemError("bad_url", f"{text[:200]!r} is no http:// or https:// URL; correct it in the list")
    if url.userinfo:
        raise ItemError("bad_url", f"{shown(text)} carries a user name or password; take it out of the list")
    if "\\" in text or not HOST.fullmatch(url.raw_host) or (url.port or 1) > LAST_PORT:
        raise ItemError("bad_url", f"{text[:200]!r} has a host or port that cannot be; correct it in the list")
    return str(url.copy_with(raw_path=url.raw_path, fragment=None))


def shown(text: str) -> str:
    """A URL for messages: without what may be secret in it (user name, password, query)."""
    scheme, _, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    path, query, _ = path.partition("?")
    return f"{scheme}://{host.rpartition('@')[2].partition('?')[0]}{slash}{path}{query and '?...'}"
