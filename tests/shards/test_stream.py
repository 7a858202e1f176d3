"""The raw reader gives what webdataset gives; a sample by its key is the same as in its stream."""

from pathlib import Path

import pytest

from shards.stream import read_sample, read_shard
from shards.write import write_shard
from small_dataset import LAYOUT, SmallDataset, make_sample, read_with_webdataset


@pytest.mark.parametrize("shard", LAYOUT)
def test_same_samples_as_webdataset(intact: SmallDataset, shard: str) -> None:
    theirs = read_with_webdataset(intact.folder / shard)
    assert list(read_shard(intact.folder / shard)) == theirs
    assert [sample["__key__"] for sample in theirs] == list(LAYOUT[shard])


def test_a_sample_by_its_key(intact: SmallDataset) -> None:
    for shard in LAYOUT:
        for sample in read_shard(intact.folder / shard):
            assert read_sample(intact.folder, str(sample["__key__"])) == sample
    with pytest.raises(KeyError, match="no sample 'zz'"):
        read_sample(intact.folder, "zz")


def test_members_of_any_size_around_the_block(tmp_path: Path) -> None:
    samples = [make_sample(f"aa-{size}") for size in (1, 511, 512, 513, 10_240)]
    sized = [type(s)(s.key, s.metadata, b"v" * int(s.key[3:]), s.captions) for s in samples]
    write_shard(tmp_path / "a.tar", sized)
    assert [sample["mp4"] for sample in read_shard(tmp_path / "a.tar")] == [sample.video for sample in sized]


def test_a_shard_that_breaks_off_is_an_error_at_every_length(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_sample("aa-1")])
    data = (tmp_path / "a.tar").read_bytes()
    end = len(data.rstrip(b"\0"))
    for length in range(0, end, 97):
        (tmp_path / "cut.tar").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"cut\.tar breaks off"):
            list(read_shard(tmp_path / "cut.tar"))
