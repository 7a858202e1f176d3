"""A real browser for tests: Debian's Chromium, headless, driven by Playwright, which downloads nothing."""

import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("OSD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ASSETS = Path(os.environ.get("OSD_ASSETS") or Path(sys.prefix) / "assets")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]  # tests also run as root, in containers


@dataclass
class Seen:
    """A page, and what went on in it. `foreign` are requests for anything but what is on this machine."""

    page: Any
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def until(self, condition: str) -> None:
        """Until this expression is true; asked from here, as the page's policy lets nobody evaluate text inside it."""
        for _ in range(300):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {condition}")

    def look_at_clips(self) -> None:
        self.page.evaluate("document.getElementById('clips').scrollIntoView({behavior: 'instant'})")
        self.until("document.querySelectorAll('.card').length > 1 || !document.getElementById('empty').hidden")

    def count(self) -> int:
        """How many clips the gallery says it holds now."""
        return int(self.page.locator("#found").text_content().split(" of ")[0].replace(",", ""))

    def kept(self) -> int:
        """How many the sliders would keep."""
        return int(self.page.locator("#outcome strong").text_content().replace(",", ""))


@contextmanager
def browser() -> Iterator[Any]:
    """Skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium here; apt-get install chromium, or name one in OSD_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def opened(started: Any, url: str, **how: Any) -> Iterator[Seen]:
    """The page at `url`, loaded; nothing may be wrong in its console at the end, nothing may leave this machine."""
    context = started.new_context(**how)
    context.add_init_script("window.hits = 0; window.hit = () => { window.hits++; };")
    seen = Seen(context.new_page())
    seen.page.set_default_timeout(15_000)
    seen.page.on("console", lambda said: seen.errors.append(said.text) if said.type in ("error", "warning") else None)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    seen.page.on("dialog", lambda box: (seen.errors.append(box.message), box.dismiss()))
    here = ("file:", "data:", "http://127.0.0.1:")
    seen.page.on("request", lambda asked: None if asked.url.startswith(here) else seen.foreign.append(asked.url))
    seen.page.goto(url)
    seen.page.wait_for_selector("html[data-ready]")
    yield seen
    assert seen.errors == []
    assert seen.foreign == []
    assert seen.page.evaluate("window.hits") == 0
    context.close()


def violations(page: Any) -> list[str]:
    """What axe-core finds serious or critical, each with where."""
    wheel = next(iter(sorted(ASSETS.glob("axe_playwright_python-*.whl"))), None)
    if wheel is None:
        pytest.skip("no axe-core here; `make test` downloads what tests/assets.txt names")
    with zipfile.ZipFile(wheel) as files:
        page.evaluate(files.read("axe_playwright_python/axe.min.js").decode())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in serious]
