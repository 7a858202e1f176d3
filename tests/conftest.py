"""What holds for all tests."""

import pytest
from hypothesis import settings

from builder.web.state import shared_folder

settings.register_profile("project", deadline=None)  # tests are of behaviour; a busy machine is no failure
settings.load_profile("project")


@pytest.fixture(autouse=True)
def shared_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What crawls of one user share (paces, uses of keys, answers kept) is every test's own."""
    monkeypatch.setenv("OSD_CACHE", str(tmp_path_factory.mktemp("cache")))
    shared_folder.cache_clear()
