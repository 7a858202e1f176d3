"""A server to be asked, and where captioners run that ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.stage import Context
from builder.storage import Storage
from builder.web.limits import Limits
from talking_server import Talking


@pytest.fixture
def server() -> Iterator[Talking]:
    with Talking("toy", "other") as talking:
        yield talking


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Storage(tmp_path), web=Limits(wait_s=0.01, patience_s=2.0))
