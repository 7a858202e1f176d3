from pathlib import Path

import pytest

from small_dataset import SmallDataset, write_small_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> SmallDataset:
    """A fresh copy that a test may damage."""
    return write_small_dataset(tmp_path / "dataset")


@pytest.fixture(scope="session")
def intact(tmp_path_factory: pytest.TempPathFactory) -> SmallDataset:
    """One for the tests that only read."""
    return write_small_dataset(tmp_path_factory.mktemp("intact") / "dataset")
