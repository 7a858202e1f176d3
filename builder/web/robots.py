"""What a site does not want: robots.txt (RFC 9309), and `noai` or `noimageai` in the header X-Robots-Tag."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from protego import Protego

from builder.errors import Filtered, ItemError
from builder.web.address import origin, shown

AGENT = "open-sora-dataset"
OPT_OUTS = frozenset(["noai", "noimageai"])
WITH_VALUE = frozenset(["unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"])
MOST_DELAY_S = 60.0
MOST_BYTES = 500 << 10  # RFC 9309: at least this much is read
KEPT_S = 86_400.0  # RFC 9309: not longer
FAILED_S = 300.0  # after that long a site that did not answer is asked again
MOST_KEPT_BYTES = 16 << 20  # of all sites; parsed they take several times as much
SITE_BYTES = 1000  # of a site beside its text


class Rules:
    """A site's robots.txt."""

    def __init__(self, text: str) -> None:
        self.parsed = Protego.parse(text)

    def admit(self, url: str) -> float:
        """Seconds to leave between two requests.

        Raises:
            Filtered: `robots`.
        """
        if not self.parsed.can_fetch(url, AGENT):
            text = f"robots.txt of the site forbids {shown(url)}; `web.robots = false` is for sites that agreed"
            raise Filtered("robots", text)
        return min(float(self.parsed.crawl_delay(AGENT) or 0.0), MOST_DELAY_S)


@dataclass
class Site:
    """What is known of a site until the time `until` (monotonic clock), and who is asking for it."""

    asking: Lock = field(default_factory=Lock)
    until: float = 0.0
    rules: Rules | None = None
    failure: ItemError | None = None
    size_bytes: int = 0


class Sites:
    """The rules of all sites, each asked for once a day by `ask`, which gets the URL of a robots.txt and gives its
    text. Of a site that gives no answer nothing may be fetched, and the next URL of it must not wait as long again."""

    def __init__(self, ask: Callable[[str], str]) -> None:
        self.ask = ask
        self.sites: OrderedDict[str, Site] = OrderedDict()
        self.changing = Lock()
        self.size_bytes = 0

    def rules(self, url: str) -> Rules:
        """The rules for a normalised URL.

        Raises:
            ItemError: as `ask` does, but for 4xx, which mean that everything is allowed; nothing to try again at once.
        """
        address = origin(url)
        site = self._known(address)
        with site.asking:
            if time.monotonic() >= site.until:
                self._update(address, site)
            if site.failure:
                raise ItemError(*site.failure.args)
            assert site.rules is not None
            return site.rules

    def _update(self, address: str, site: Site) -> None:
        text, site.failure = "", None
        try:
            text = self.ask(f"{address}/robots.txt")
        except ItemError as error:
            if not error.kind.startswith("http_4") or error.retryable:
                site.failure = ItemError(error.kind, error.message, error.retryable)
        site.rules = None if site.failure else Rules(text)
        site.until = time.monotonic() + (FAILED_S if site.failure else KEPT_S)
        self._weigh(address, site, len(text))

    def _known(self, address: str) -> Site:
        with self.changing:
            site = self.sites.setdefault(address, Site())
            self.sites.move_to_end(address)
            return site

    def _weigh(self, address: str, site: Site, size_bytes: int) -> None:
        """Drop the sites that were not asked of for the longest time, when all are too much."""
        with self.changing:
            if self.sites.get(address) is site:
                before, site.size_bytes = site.size_bytes, SITE_BYTES + size_bytes
                self.size_bytes += site.size_bytes - before
            while self.size_bytes > MOST_KEPT_BYTES and len(self.sites) > 1:
                self.size_bytes -= self.sites.popitem(last=False)[1].size_bytes


def opted_out(tags: Sequence[str], url: str) -> None:
    """`tags` are the values of X-Robots-Tag: directives, those after `agent:` for that agent alone.

    Raises:
        Filtered: `opted_out`, if one says so to all, or to us.
    """
    for tag in tags:
        agent = "*"
        for word in tag.lower().split(","):
            name, colon, rest = (part.strip() for part in word.partition(":"))
            if colon and name not in WITH_VALUE:
                agent, name = name, rest
            if agent in (AGENT, "*") and not OPT_OUTS.isdisjoint(name.replace(";", " ").split()):
                text = f"{shown(url)} is not offered for machine learning (X-Robots-Tag: {tag[:80]})"
                raise Filtered("opted_out", text)
