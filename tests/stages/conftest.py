"""Where crawl stages run in tests: a run, a folder source "mine", and a site that can misbehave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.stage import Context
from builder.storage import Storage
from builder.web.limits import Limits
from loopback import Site


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    (tmp_path / "videos").mkdir()
    context = Context(Storage(tmp_path / "run"), base=tmp_path, roots={"mine": tmp_path / "videos"})
    yield context
    context.close()


@pytest.fixture
def videos(context: Context) -> Path:
    return context.roots["mine"]


@pytest.fixture(autouse=True)
def private_hosts_are_allowed(context: Context) -> None:
    """The site of tests is on the loopback interface."""
    context.web = Limits(allow_private_hosts=True, requests_per_s=1000, wait_s=0.01, attempts=2)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site
