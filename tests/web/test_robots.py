"""robots.txt and X-Robots-Tag, as a server sees that they are obeyed."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import pytest

from builder.errors import Filtered, ItemError
from builder.web import robots
from builder.web.access import Access
from builder.web.client import Client, Later
from builder.web.limits import Limits
from builder.web.robots import Rules, Sites, opted_out
from loopback import MUTE, Answer, Site

DISALLOW = b"User-agent: *\nDisallow: /private/\n"


def text(body: str) -> Answer:
    return Answer(body.encode(), headers={"Content-Type": "text/plain"})


def refused(client: Client, url: str) -> Filtered:
    with pytest.raises(Filtered) as caught:
        client.get(url)
    return caught.value


def failed(client: Client, url: str) -> ItemError:
    with pytest.raises(ItemError) as caught:
        client.get(url)
    assert not isinstance(caught.value, Later)
    return caught.value


def test_what_a_site_forbids_is_not_asked_for(site: Site, client: Client) -> None:
    site.at("/robots.txt", Answer(DISALLOW))
    error = refused(client, site.at("/private/a.mp4?key=sesame", Answer(b"x")))
    assert error.kind == "robots"
    assert "/private/a.mp4" in error.message and "sesame" not in error.message
    assert client.get(site.at("/public/a.mp4", Answer(b"x"))).body == b"x"
    assert [path for path, _, _ in site.requests] == ["/robots.txt", "/public/a.mp4"]


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ("", True),
        ("User-agent: *\nDisallow:\n", True),
        ("User-agent: *\nDisallow: /", False),
        ("User-agent: open-sora-dataset\nDisallow: /", False),
        ("user-agent: Open-Sora-Dataset\ndisallow: /a", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: open-sora-dataset\nAllow: /", True),
        ("User-agent: GPTBot\nDisallow: /", True),
        ("User-agent: *\nDisallow: /*.mp4$", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a.mp4", True),
        ("\ufeffUser-agent: *\nDisallow: /", False),
        ("<!doctype html><p>Not found</p>", True),
        ("User-agent: *\r\nDisallow: /\r\n", False),
    ],
)
def test_the_rules_are_read_as_they_are_meant(site: Site, client: Client, rules: str, allowed: bool) -> None:
    site.at("/robots.txt", text(rules))
    url = site.at("/a.mp4", Answer(b"x"))
    if allowed:
        assert client.get(url).body == b"x"
    else:
        refused(client, url)


def test_a_crawl_delay_is_kept(site: Site, client: Client) -> None:
    site.at("/robots.txt", text("User-agent: *\nCrawl-delay: 0.4"))
    urls = [site.at(f"/{n}", Answer(b"x")) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(client.get, urls))
    times = sorted(site.times(f"/{n}")[0] for n in range(3))
    assert all(later - sooner >= 0.39 for sooner, later in pairwise(times))


@pytest.mark.parametrize(("delay", "seconds"), [("1e9", 60), ("nan", 0), ("-5", 0), ("inf", 0), ("soon", 0), ("2", 2)])
def test_a_crawl_delay_that_nobody_can_mean(delay: str, seconds: float) -> None:
    assert Rules(f"User-agent: *\nCrawl-delay: {delay}").admit("https://example.org/") == seconds


def test_a_text_that_is_too_long_is_read_in_part(site: Site, client: Client) -> None:
    site.at("/robots.txt", Answer(b"#" * 1000 + b"\n" + DISALLOW, endless=True, announced=-1))
    refused(client, site.at("/private/a", Answer(b"x")))


def test_a_pattern_takes_no_longer_for_being_evil() -> None:
    rules = Rules("User-agent: *\nDisallow: /" + "*a" * 5000 + "b$\n")
    began = time.process_time()
    assert rules.admit(f"https://example.org/{'a' * 60_000}") == 0
    assert time.process_time() - began < 1


# -- when there is none
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_no_robots_txt_allows_everything(site: Site, client: Client, status: int) -> None:
    site.at("/robots.txt", Answer(b"<!doctype html>", status))
    assert client.get(site.at("/a", Answer(b"x"))).body == b"x"
    assert site.asked("/robots.txt") == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_site_that_cannot_answer_is_left_alone(site: Site, client: Client, status: int) -> None:
    """Tried as often as anything, and then no more: the URLs after it find out at once."""
    site.at("/robots.txt", Answer(b"busy", status))
    for n in range(3):
        error = failed(client, site.at(f"/{n}", Answer(b"x")))
        assert (error.kind, error.retryable) == (f"http_{status}", True)
        assert "/robots.txt" in error.message
    assert [path for path, _, _ in site.requests] == ["/robots.txt"] * client.limits.attempts


def test_a_site_that_recovers_is_asked(site: Site, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    site.at("/robots.txt", Answer(b"busy", 503), Answer(DISALLOW))
    assert client.get(site.at("/a", Answer(b"x"))).body == b"x"
    refused(client, site.at("/private/a", Answer(b"x")))
    monkeypatch.setattr(robots, "FAILED_S", 0.0)
    site.at("/robots.txt", Answer(b"busy", 503))
    with Client(client.limits) as other:
        failed(other, site.at("/a", Answer(b"x")))
        site.at("/robots.txt", Answer(b"", 404))
        assert other.get(site.at("/a", Answer(b"x"))).body == b"x"


SILENT = {"never": MUTE, "byte by byte": Answer(b"x", header_pause_s=0.02), "cut": Answer(b"x", cut=0)}


@pytest.mark.parametrize("name", SILENT)
def test_a_site_that_is_silent_holds_nobody_up(site: Site, limits: Limits, name: str) -> None:
    site.at("/robots.txt", SILENT[name])
    urls = [site.at(f"/{n}", Answer(b"x")) for n in range(20)]
    with Client(replace(limits, silence_s=0.2, attempts=2)) as client, ThreadPoolExecutor(8) as pool:
        kinds = {type(future.exception()) for future in [pool.submit(client.get, url) for url in urls]}
    assert kinds == {ItemError}
    assert site.asked("/robots.txt") == len(site.requests) == 2


# -- who asks, and how often
def test_each_site_is_asked_once(site: Site, client: Client) -> None:
    with Site() as other, ThreadPoolExecutor(8) as pool:
        urls = [place.at(f"/{n}", Answer(b"x", silent_s=0.01)) for n in range(20) for place in (site, other)]
        list(pool.map(client.get, urls))
        assert site.asked("/robots.txt") == other.asked("/robots.txt") == 1


def test_a_redirect_is_allowed_by_the_site_it_leads_to(site: Site, client: Client) -> None:
    with Site() as other:
        other.at("/robots.txt", Answer(DISALLOW))
        refused(client, site.at("/a", Answer(b"", 302, {"Location": other.at("/private/a", Answer(b"x"))})))
        assert other.asked("/private/a") == 0
        assert client.get(site.at("/b", Answer(b"", 302, {"Location": other.at("/c", Answer(b"x"))}))).body == b"x"


def test_robots_txt_may_be_somewhere_else(site: Site, client: Client) -> None:
    site.at("/robots.txt", Answer(b"", 301, {"Location": "/other.txt"}))
    site.at("/other.txt", Answer(DISALLOW))
    refused(client, site.at("/private/a", Answer(b"x")))


def test_apis_and_sites_that_agreed_are_not_asked(site: Site, limits: Limits) -> None:
    site.at("/robots.txt", Answer(DISALLOW))
    url = site.at("/private/a", Answer(b"x", headers={"X-Robots-Tag": "noai"}))
    with Client(limits) as client:
        assert client.get(url, access=Access("Site", "k")).body == b"x"
    with Client(replace(limits, robots=False)) as client:
        assert client.get(url).body == b"x"
    assert site.asked("/robots.txt") == 0


def test_rules_are_asked_for_again_after_a_day_and_not_all_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(url: str) -> str:
        asked.append(url)
        return "User-agent: *\nDisallow: /x" + "#" * 1000

    sites = Sites(ask)
    for n in range(3):
        for _ in range(2):
            sites.rules(f"https://{n}.example/a")
    assert asked == [f"https://{n}.example/robots.txt" for n in range(3)]
    monkeypatch.setattr(robots, "MOST_KEPT_BYTES", 10_000)
    for n in range(3, 100):
        sites.rules(f"https://{n}.example/a")
    assert len(sites.sites) <= 5
    assert sites.size_bytes == sum(site.size_bytes for site in sites.sites.values()) <= 10_000
    sites.sites["https://99.example"].until = 0.0
    sites.rules("https://99.example/b")
    assert asked[-1] == "https://99.example/robots.txt" and len(asked) == 101


# -- X-Robots-Tag
@pytest.mark.parametrize(
    "tags",
    [
        ["noai"],
        ["noimageai"],
        ["NoAI, NoImageAI"],
        ["noindex, noai"],
        ["noindex", "nofollow, noimageai"],
        ["noai;noimageai"],
        ["noarchive noai"],
        ["open-sora-dataset: noai"],
        ["Open-Sora-Dataset: noindex, noai"],
        ["*: noai"],
        ["otherbot: noindex", "noai"],
        ["otherbot: noindex, open-sora-dataset: noai"],
        ["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"],
        ["max-snippet: -1, max-image-preview:large, noai"],
    ],
)
def test_who_opted_out_is_left_out(site: Site, client: Client, tags: list[str]) -> None:
    with pytest.raises(Filtered) as caught:
        opted_out(tags, "https://example.org/a.mp4?key=sesame")
    assert caught.value.kind == "opted_out"
    assert "sesame" not in caught.value.message
    if len(tags) == 1:
        assert refused(client, site.at("/a", Answer(b"x", headers={"X-Robots-Tag": tags[0]}))).kind == "opted_out"


NOT_OUT = ["", "noindex, nofollow", "all", "otherbot: noai", "otherbot: noindex, noai", "noaim", "x: y: noai", ",,:,:"]


@pytest.mark.parametrize("tag", [*NOT_OUT, "unavailable_after: 25 Jun 2010 15:00:00 PST", "noai: maybe"])
def test_who_did_not_is_not(tag: str) -> None:
    opted_out([tag, "all"], "https://example.org/a.mp4")
