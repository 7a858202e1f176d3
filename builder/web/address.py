"""Addresses: which URLs and hosts are accepted, and the one form in which each is known, stored and shown.

The parser is the client's own, so that what was checked is what is connected to.
"""

import ipaddress
import re
from urllib.parse import unquote

import httpx2

from builder.errors import ItemError

HOST = re.compile(rb"[a-z0-9._:-]+")
WEB_PORTS = (80, 443)
FIRST_FREE_PORT, LAST_PORT = 1024, 65535  # below the first, other services answer
SLASHES = 3  # of a URL with a path
MASK = "***"
# Parameters that sign a URL or hold a key, by the end of their name. The first kind never tells two videos apart.
SIGNING = re.compile(r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|key-pair-id|.*signature|policy|.*sig|hdnts|hdnea")
SECRETS = "key|token|secret|pass(w(or)?d)?|pwd|auth(orization)?|code|credentials?|session(id)?|jwt|hmac"
SECRET = re.compile(rf"{SIGNING.pattern}|.*({SECRETS})")
PARAMETER = re.compile(r"([?&;#])([^=?&;#]*)=([^?&;#]*)")  # also inside of a value
# Python 3.11 takes some of these for global; 192.0.0.192 is a cloud's metadata service.
NOT_GLOBAL = ("192.0.0.0/24", "192.88.99.0/24", "::/96", "64:ff9b:1::/48", "3fff::/20", "5f00::/16", "fec0::/10")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NEVER = tuple(map(ipaddress.ip_network, NOT_GLOBAL))
# This machine (servers print that they listen on 0.0.0.0), private networks, and those that providers share.
PRIVATE = ("127.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128",
           "::/128", "fc00::/7")  # fmt: skip
NEAR = tuple(map(ipaddress.ip_network, PRIVATE))


def normalised(text: str) -> str:
    """Scheme and host in lower case, no dot at its end, no default port, no fragment, `/` for an empty path; the query
    stays as it is.

    Raises:
        ItemError: `bad_url`, if it is no http or https URL, or carries a password (tables would keep it).
    """
    told = told_of(text)
    try:
        url = httpx2.URL(text.strip())
        if url.raw_host.endswith(b"."):
            url = url.copy_with(host=url.raw_host.decode().rstrip("."))
        if b":" in url.raw_host:
            url = url.copy_with(host=str(ipaddress.IPv6Address(url.raw_host.decode())))
    except httpx2.InvalidURL:
        raise ItemError("bad_url", f"{told!r} is no URL; correct it in the list") from None
    if url.userinfo:
        raise ItemError("bad_url", f"{told!r} carries a user name or password; take it out of the list")
    if url.scheme not in ("http", "https"):
        raise ItemError("bad_url", f"{told!r} is no http:// or https:// URL; correct it in the list")
    if "\\" in text or not HOST.fullmatch(url.raw_host) or (url.port or 1) > LAST_PORT:
        raise ItemError("bad_url", f"{told!r} has a host or port that cannot be; correct it in the list")
    if url.port is not None and url.port < FIRST_FREE_PORT and url.port not in WEB_PORTS:
        text = f"{told!r} has port {url.port}, where no web server is; correct it in the list"
        raise ItemError("bad_url", text)
    plain = str(url)
    if "#" not in plain and plain.count("/") >= SLASHES:
        return plain  # lists have millions: to copy a URL is to read it again
    return str(url.copy_with(raw_path=url.raw_path, fragment=None))


def origin(url: str) -> str:
    """Scheme, host and port, as `https://example.org` (of a normalised URL)."""
    return "/".join(url.split("/")[:3])


def shown(text: str) -> str:
    """A URL for messages: without what may be secret in it (user name, password, query)."""
    scheme, host, path = parts(text)
    path, query, _ = path.partition("?")
    return f"{scheme}{host.rpartition('@')[2].partition('?')[0]}{path}{query and '?...'}"


def parts(text: str) -> tuple[str, str, str]:
    """What comes before the host, with its slashes; the host; and the rest. Of any text, also if it is no URL."""
    scheme, slashes, rest = text.partition("//")
    if not slashes or (scheme and not scheme.endswith(":")):
        scheme, slashes, rest = "", "", text
    host, slash, path = rest.partition("/")
    return scheme + slashes, host, slash + path


def told_of(text: str) -> str:
    """As `shown`, of what may be no URL: where it has an @, all before that may be a password."""
    front, at, rest = text.strip()[:200].rpartition("@")
    scheme, slashes, _ = front.partition("://")
    hidden = f"{scheme + slashes if slashes else ''}{MASK}@" if at else ""
    address = re.split("[?#]", rest, maxsplit=1)[0]
    return f"{hidden}{address}{'?...' if address != rest else ''}"


def masked(url: str) -> str:
    """A URL for tables: `***` for a password, and for the values of parameters that look like a key or a signature."""
    scheme, host, path = parts(url)
    if "@" in host:
        host = f"{MASK}@{host.rpartition('@')[2]}"
    elif not host.startswith("[") and not host.partition(":")[2].isdecimal():
        host = host.partition(":")[0] + (f":{MASK}" if ":" in host else "")  # no port: a password with a slash in it
    text = f"{scheme}{host}{path}"
    return PARAMETER.sub(lambda m: f"{m[1]}{m[2]}={MASK}" if is_secret(m) else m[0], text)


def is_secret(found: re.Match[str]) -> bool:
    """Whether a parameter is one by its name, or is a URL that holds one."""
    inner = PARAMETER.finditer(unquote(found[3])) if "%" in found[3] else ()
    return bool(SECRET.fullmatch(name_of(found[2]))) or any(map(is_secret, inner))


def name_of(parameter: str) -> str:
    """In lower case, without %XX and the `[]` of lists."""
    return unquote(parameter).lower().partition("[")[0].strip("_")


def unsigned(url: str) -> str:
    """A URL to tell videos apart by: without the parameters that sign it, which are new each time it is listed."""
    rest = PARAMETER.sub(lambda m: m[1] if SIGNING.fullmatch(name_of(m[2])) else m[0], url)
    return re.sub(r"([?&])&+", r"\1", rest).rstrip("?&")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, also where it wraps another (mapped, 6to4, Teredo, NAT64)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return "%" not in address and is_public(str(inner))
    if "%" in address or any(ip.version == net.version and ip in net for net in NEVER):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_link_local)


def is_near(address: str) -> bool:
    """Whether an IP address is this machine's or one of a private network (IPv6 with a zone is of neither)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip
    return "%" not in address and any(ip.version == net.version and ip in net for net in NEAR)
