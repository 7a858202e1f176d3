"""What a site does not want: robots.txt (RFC 9309), and `noai` or `noimageai` in the header X-Robots-Tag."""

from collections.abc import Sequence
from typing import ClassVar

from protego import Protego

from builder.errors import Filtered
from builder.web.address import shown

AGENT = "open-sora-dataset"
OPT_OUTS = frozenset(["noai", "noimageai"])
MOST_DELAY_S = 60.0


class Rules:
    """A site's robots.txt."""

    MOST_BYTES: ClassVar[int] = 500 << 10  # RFC 9309: at least this much is read

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


def opted_out(tags: Sequence[str], url: str) -> None:
    """`tags` are the values of X-Robots-Tag: directives, or `agent: directives`.

    Raises:
        Filtered: `opted_out`, if one says so to all, or to us.
    """
    for tag in tags:
        agent, colon, rest = tag.partition(":")
        words = rest if colon and "," not in agent else tag
        spoken_to = not colon or "," in agent or agent.strip().lower() in (AGENT, "*")
        if spoken_to and OPT_OUTS & {word.strip().lower() for word in words.split(",")}:
            raise Filtered("opted_out", f"{shown(url)} is not offered for machine learning (X-Robots-Tag: {tag[:80]})")
