"""The report in a real browser: choosing, sliders, playing, with the mouse and without, and with hostile data."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Seen, browser, opened, violations
from builder.execute import open_run
from builder.report.dry_run import forecast
from builder.report.page import write_report
from injections import INJECTIONS
from pictured_run import Pictured, Texts, flow, pictured, write_run

SHOWN = """(() => {
    const fact = [...document.querySelectorAll("dialog dt")].find((node) => node.textContent === "author");
    const links = [...document.querySelectorAll("dialog a")].map((node) => node.href);
    return [document.getElementById("clip-title").textContent, fact.nextSibling.textContent, links];
})()"""
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pictured:
    texts = [Texts(f"title {n}", caption=f"Caption of {'boats' if n < 4 else 'trees'}.") for n in range(12)]
    made = pictured(tmp_path_factory.mktemp("pictured"), texts, clips_each=5)
    write_report(open_run(made.run))
    return made


@pytest.fixture
def seen(chromium: Any, whole: Pictured) -> Iterator[Seen]:
    with opened(chromium, (whole.run / "report.html").as_uri(), viewport=WIDE) as found:
        yield found


def test_choosing_and_sorting(seen: Seen, whole: Pictured) -> None:
    page = seen.page
    assert seen.count() == 60
    page.select_option("#verdict", "kept")
    assert seen.count() == 28
    page.fill("#words", "BOATS caption")
    seen.until("document.getElementById('found').textContent.startsWith('10 of')")
    page.fill("#words", "")
    page.select_option("#verdict", "lost")
    page.select_option("#reason", "no score: motion")
    assert seen.count() == 2
    page.select_option("#reason", "")
    page.select_option("#licence", "CC0-1.0")
    page.select_option("#source", "mine")
    assert seen.count() == 0
    assert page.locator("#empty").text_content().startswith("No clip is like that")
    page.select_option("#licence", "")
    page.select_option("#source", "")
    page.select_option("#verdict", "all")
    seen.look_at_clips()
    page.select_option("#sort", "motion.flow")
    page.check("#falling")
    flows = [float(text.split("motion.flow ")[1]) for text in page.locator(".about").all_text_contents()]
    assert flows[:6] == [0.9] * 4 + [0.8] * 2
    assert flows == sorted(flows, reverse=True)
    page.uncheck("#falling")
    assert page.locator(".about").first.text_content().endswith("motion.flow 0")


def test_a_slider_says_what_would_be_kept_and_prints_lines_that_do_it(seen: Seen, whole: Pictured) -> None:
    page = seen.page
    slider = page.get_by_label("motion.flow >=", exact=True)
    assert seen.kept() == 28
    slider.focus()
    for _ in range(3):
        page.keyboard.press("PageDown")
    page.get_by_label("sharpness.laplacian >=, as a number").fill("20")
    page.get_by_label("sharpness.laplacian >=, as a number").press("Tab")
    keep = tomllib.loads(page.locator("#lines").text_content())["filter"]["keep"]
    assert re.fullmatch(r"motion\.flow >= 0\.[0-4]\d*", keep[0])
    assert keep[1] == "any(sharpness.laplacian >= 20, source == other)"
    assert seen.kept() == forecast(open_run(whole.run, [f"filter.keep={keep!r}"])).kept != 28
    page.select_option("#verdict", "more")
    assert 0 < seen.count() <= sum(flow(n) < 0.5 for n in range(60))
    page.click("#reset")
    assert seen.kept() == 28
    page.locator("#conditions input[type=checkbox]").first.uncheck()
    keep = tomllib.loads(page.locator("#lines").text_content())["filter"]["keep"]
    assert keep == ["any(sharpness.laplacian >= 4, source == other)"]
    assert seen.kept() == 60


def test_a_condition_can_be_added(seen: Seen, whole: Pictured) -> None:
    page = seen.page
    page.select_option("#add", "duration_s")
    number = page.get_by_label("duration_s >=, as a number")
    number.fill("0.7")
    number.press("Enter")
    page.locator("#outcome").click()
    keep = tomllib.loads(page.locator("#lines").text_content())["filter"]["keep"]
    assert keep[-1] == "duration_s >= 0.7"
    assert seen.kept() == forecast(open_run(whole.run, [f"filter.keep={keep!r}"])).kept == 0


def test_a_clip_plays_in_its_span(seen: Seen) -> None:
    page = seen.page
    seen.look_at_clips()
    page.locator(".card").nth(1).click()
    page.locator("dialog video").wait_for()
    span = page.locator("dialog dd", has_text=" of 0:03").text_content()
    assert span == "0:00.60 – 0:01.20 of 0:03.00"
    page.evaluate("document.querySelector('dialog video').muted = true")
    page.evaluate("document.querySelector('dialog video').play()")
    seen.until("document.querySelector('dialog video').currentTime > 0.7")
    seen.until("document.querySelector('dialog video').paused")  # at the end of the span
    assert page.evaluate("document.querySelector('dialog video').currentTime") < 1.3


def test_the_strip_follows_the_pointer(seen: Seen) -> None:
    seen.look_at_clips()
    frame = seen.page.locator(".frame").first
    seen.until("document.querySelector('.window img').naturalWidth > 0")
    box = frame.bounding_box()
    seen.page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 20)
    assert frame.locator("img").evaluate("image => image.style.transform").startswith("translateX(-83.3")
    seen.page.mouse.move(0, 0)
    assert frame.locator("img").evaluate("image => image.style.transform") == "translateX(0%)"


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.dataset.n ?? document.activeElement.id"))


def test_without_a_mouse(seen: Seen) -> None:
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the clips"
    page.keyboard.press("/")
    assert focused(page) == "words"
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == "0":
            break
    assert focused(page) == "0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "5"
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()
    assert "6 of 60" in page.locator("dialog header").text_content()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert "7 of 60" in page.locator("dialog header").text_content()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert focused(page) == "6"
    page.keyboard.press("End")
    assert focused(page) == "59"
    assert page.locator('[data-n="59"]').is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_keeps_anybody_out(chromium: Any, whole: Pictured, scheme: str) -> None:
    with opened(chromium, (whole.run / "report.html").as_uri(), viewport=WIDE, color_scheme=scheme) as found:
        assert violations(found.page) == []
        found.page.locator(".card").first.click()
        assert violations(found.page) == []


def test_a_narrow_screen_scrolls_one_way(chromium: Any, whole: Pictured) -> None:
    with opened(chromium, (whole.run / "report.html").as_uri(), viewport=NARROW) as found:
        assert found.page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        found.page.locator(".card").first.click()
        assert found.page.locator("dialog").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_nothing_that_strangers_wrote_runs(chromium: Any, tmp_path: Path) -> None:
    """Each is seen on its card and in its dialog, letter by letter, and none has done anything."""
    texts = [Texts(text, author=text, page_url=text, caption=text) for text in INJECTIONS]
    odd = pictured(tmp_path, texts)
    (tmp_path / "videos" / "a b.mp4").unlink()  # to play it is not what is asked here
    out = write_report(open_run(odd.run)).page
    with opened(chromium, out.as_uri(), viewport=WIDE) as found:
        page = found.page
        page.locator(".card").first.click()
        titles, authors, links = set(), set(), set()
        for _ in INJECTIONS:
            title, author, hrefs = page.evaluate(SHOWN)
            titles.add(title)
            authors.add(author)
            links |= set(hrefs)
            page.keyboard.press("ArrowRight")
        assert titles == authors == set(INJECTIONS)
        assert all(link.startswith("https://127.0.0.1:1/") for link in links)


def test_ten_thousand_clips_stay_few_nodes(chromium: Any, tmp_path: Path) -> None:
    many = pictured(tmp_path, [Texts(f"title {n}") for n in range(400)], clips_each=25)
    for strip in (many.run / "media").glob("*.strip"):
        strip.unlink()  # drawing is not what is asked here
    out = write_report(open_run(many.run)).page
    with opened(chromium, out.as_uri(), viewport=WIDE) as found:
        page = found.page
        assert found.count() == 10_000
        seen = found
        page.evaluate("scrollTo({top: document.getElementById('gallery').offsetTop + 40000, behavior: 'instant'})")
        seen.until("[...document.querySelectorAll('.card')].some(card => card.dataset.n > 500)")
        assert page.locator("#gallery li").count() < 100
        page.select_option("#sort", "sharpness.laplacian")
        page.check("#falling")
        page.locator(".card").first.focus()
        page.keyboard.press("End")
        assert focused(page) == "9999"
        assert page.locator("#gallery li").count() < 100


def test_a_run_that_has_done_nothing(chromium: Any, tmp_path: Path) -> None:
    out = write_report(open_run(write_run(tmp_path))).page
    with opened(chromium, out.as_uri(), viewport=WIDE) as found:
        assert found.page.locator("#empty").text_content() == "No clips yet: osd-build split run makes them."
        assert "no value yet" in found.page.locator("#conditions").text_content()
        assert violations(found.page) == []
