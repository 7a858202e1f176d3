"""The writer: the same bytes always, and nothing that a reader would silently get wrong."""

import hashlib
import json
import math
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from open_sora_dataset import METADATA
from shards.write import Sample, ShardWritten, write_shard
from small_dataset import make_metadata, make_sample, read_with_webdataset


def write(path: Path, *samples: Sample) -> ShardWritten:
    return write_shard(path, samples)


def test_members_stand_in_order_and_say_only_name_and_size(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", make_sample("aa-1"), make_sample("aa-2"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    names = [f"{key}.{name}" for key in ("aa-1", "aa-2") for name in ("json", "mp4", "txt", "llava.txt")]
    assert [member.name for member in members] == names
    headers = {(m.type, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.linkname) for m in members}
    assert headers == {(tarfile.REGTYPE, 0o644, 0, 0, "", "", 0, "")}
    assert (tmp_path / "a.tar").stat().st_size % tarfile.RECORDSIZE == 0


def test_what_is_returned_describes_the_file(tmp_path: Path) -> None:
    written = write(tmp_path / "a.tar", make_sample("aa-1"), make_sample("aa-2"))
    data = (tmp_path / "a.tar").read_bytes()
    assert (written.size_bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    for member in written.members:
        content = data[member.offset : member.offset + member.size_bytes]
        assert hashlib.sha256(content).hexdigest() == member.sha256
    assert len(written.members) == 8


def test_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order of the dicts, the kind of the video and the state of its file."""
    sample = make_sample("aa-1")
    video = tmp_path / "clip.bin"
    assert isinstance(sample.video, bytes)
    video.write_bytes(sample.video)
    os.utime(video, (5, 5))
    scores = {"motion.flow": 5, "text.area": 0}
    shuffled = {**dict(reversed(sample.metadata.items())), "scores": scores}
    first = write(tmp_path / "a.tar", replace(sample, metadata={**sample.metadata, "scores": scores}))
    second = write(tmp_path / "b.tar", replace(sample, metadata=shuffled, video=video))
    assert first == second
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_whole_numbers_of_float_fields_are_written_as_floats(tmp_path: Path) -> None:
    """`datasets` takes the type from the first samples: 24 and then 23.976 would be read back as 23."""
    sample = make_sample("aa-1", fps=24, scores={"text.area": 0, "motion.flow": 3})
    written = write(tmp_path / "a.tar", sample)
    record = (tmp_path / "a.tar").read_bytes()[written.members[0].offset :][: written.members[0].size_bytes]
    assert b'"fps":24.0,' in record
    assert b'"scores":{"motion_flow":3.0,"text_area":0.0}' in record
    assert list(json.loads(record)) == [*METADATA, "scores"]


@pytest.mark.parametrize("field", ["start_s", "fps"])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "1.0", True, 2**70])
def test_a_float_field_takes_finite_numbers_only(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"sample aa-1: {field}:"):
        write(tmp_path / "a.tar", make_sample("aa-1", **{field: value}))


@pytest.mark.parametrize("value", [None, 1.0, "1", True, 2**63])
def test_an_integer_field_takes_int64_only(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="sample aa-1: width:"):
        write(tmp_path / "a.tar", make_sample("aa-1", width=value))


@pytest.mark.parametrize("value", [None, 1, b"x", "\ud800"])
def test_a_string_field_takes_text_only(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="sample aa-1: title:"):
        write(tmp_path / "a.tar", make_sample("aa-1", title=value))


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        ({"text.area": None, "motion.flow": 1.0}, "text_area"),
        ({"text.area": math.nan, "motion.flow": 1.0}, "text_area"),
        ({"a.b": 1.0, "a_b": 1.0}, "not distinct"),
        ({}, "scores"),
        (None, "scores"),
    ],
)
def test_bad_scores_are_refused(tmp_path: Path, scores: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        write(tmp_path / "a.tar", make_sample("aa-1", scores=scores))


def test_one_schema_for_all_samples(tmp_path: Path) -> None:
    first, second = make_sample("aa-1"), make_sample("aa-2")
    missing = {name: value for name, value in second.metadata.items() if name != "title"}
    for changed in (
        replace(second, metadata=missing),
        replace(second, metadata={**second.metadata, "more": 1}),
        replace(second, metadata={**second.metadata, "scores": {"text.area": 0.0}}),
        replace(second, metadata={name: value for name, value in second.metadata.items() if name != "scores"}),
        replace(second, captions={"describe": "only one"}),
        replace(second, captions=dict(reversed(second.captions.items()))),
    ):
        with pytest.raises(ValueError, match="sample aa-2"):
            write(tmp_path / "a.tar", first, changed)


@pytest.mark.parametrize("key", ["clip.v1", "", "A", "a/b", "../a", "__a", "a b", "a\n", "é", "k" * 100])
def test_keys_that_readers_misread_are_refused(tmp_path: Path, key: str) -> None:
    sample = replace(make_sample("aa-1"), key=key)
    with pytest.raises(ValueError, match="sample"):
        write(tmp_path / "a.tar", sample)


def test_the_rest_that_is_refused(tmp_path: Path) -> None:
    sample = make_sample("aa-1")
    for samples, complaint in (
        ([], "at least one sample"),
        ([sample, make_sample("aa-2"), sample], "sample aa-1: key given twice"),
        ([replace(sample, video=b"")], "sample aa-1: mp4"),
        ([replace(sample, captions={})], "sample aa-1: captions"),
        ([replace(sample, captions={"describe": None})], "sample aa-1: describe"),
        ([replace(sample, captions={"describe": "a", "a.b": "c"})], "sample aa-1: captions"),
        ([make_sample("aa-1", cut="maybe")], "sample aa-1: cut"),
    ):
        with pytest.raises(ValueError, match=complaint):
            write_shard(tmp_path / "a.tar", samples)  # type: ignore[arg-type]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    title=st.text(st.characters(exclude_categories=["Cs"])),
    caption=st.text(st.characters(exclude_categories=["Cs"])),
    start_s=st.floats(allow_nan=False, allow_infinity=False),
    video=st.binary(min_size=1, max_size=2000),
)
def test_webdataset_reads_back_what_was_written(
    tmp_path: Path, title: str, caption: str, start_s: float, video: bytes
) -> None:
    metadata = {**make_metadata("aa-1"), "title": title, "start_s": start_s}
    write(tmp_path / "a.tar", Sample("aa-1", metadata, video, {"describe": caption}))
    (sample,) = read_with_webdataset(tmp_path / "a.tar")
    record = json.loads(sample["json"])
    assert (sample["__key__"], sample["mp4"], sample["txt"].decode()) == ("aa-1", video, caption)
    assert (record["title"], record["start_s"]) == (title, start_s)
    assert isinstance(record["start_s"], float)
