"""Pack: a sample says what was really written, whatever was planned."""

import json
import tarfile
from pathlib import Path

import pytest

from builder.records import Caption, Clip, Failure, Packed, Planned, Scanned, SourceVideo
from builder.stage import Context, Item
from builder.stages.pack import Pack
from made_video import Made, write

FPS, FRAMES = 25, 60
NO_B = {"g": "20", "keyint_min": "20", "sc_threshold": "0", "bf": "0"}


@pytest.fixture
def packed(context: Context, videos: Path):
    """packed({clip id: (first frame, end frame)}, **settings): the answers, and the metadata in the shard by clip."""
    path = write(videos / "it's; a %d video.mp4", Made(frames=FRAMES, options=NO_B))

    def run(spans, **settings):
        stage = Pack(captions=("caption.describe",), **settings)
        with stage.opened(context):
            answers = stage.batch([item(path, clip, *frames) for clip, frames in spans.items()])
        shard = context.storage.path("dataset/data/mine/mine-0.tar")
        if not shard.exists():
            return answers, {}
        with tarfile.open(shard) as tar:
            names = [name for name in tar.getnames() if name.endswith(".json")]
            rows = [json.load(tar.extractfile(name)) for name in names]
        return answers, {row["clip_id"]: row for row in rows}

    return run


def item(path: Path, clip_id: str, first: int, last: int) -> Item[Planned]:
    """Frames at 1/25 s; the time base of MP4 is 1/12800."""
    video = SourceVideo(
        *("v", "f", "mine", "mine", path.name, "ab" * 32, path.stat().st_size, "mov", "h264", 160, 120, 0, 25.0, 2.4),
        has_audio=False,
        mtime_ns=path.stat().st_mtime_ns,
    )
    scan = Scanned("v", FRAMES, 160, 120, 25.0, 2.4, 0, 512 * FRAMES, "1/12800", False, 0, 8, "", "")
    times = (first * 512, last * 512, first / FPS, last / FPS)
    clip = Clip(clip_id, "v", first, last, *times, 25.0, 160, 120)
    caption = Caption(clip_id, "describe", "A bar moves.", "ok", "rule", "1", "", (), "{}")
    joined = {"split": clip, "scan": scan, "merge": video, "caption.describe": caption}
    return Item(Planned(clip_id, "data/mine/mine-0.tar", 0, "c"), "d", joined)


def told(row):
    names = ("cut", "start_frame", "end_frame", "frames", "start_s", "end_s", "duration_s", "lost_s", "fps")
    return [round(row[name], 9) if isinstance(row[name], float) else row[name] for name in names]


def test_metadata_tell_of_the_clip_as_written(packed) -> None:
    _, rows = packed({"v-exact": (20, 40), "v-near": (18, 40), "v-far": (5, 40)})
    assert told(rows["v-exact"]) == ["copy", 20, 40, 20, 0.8, 1.6, 0.8, 0.0, 25.0]
    assert told(rows["v-near"]) == ["copy", 20, 40, 20, 0.8, 1.6, 0.8, 0.08, 25.0]
    assert told(rows["v-far"]) == ["encode", 5, 40, 35, 0.2, 1.6, 1.4, 0.0, 25.0]
    assert "2 frames (0.080 s) at the start" in rows["v-near"]["cut_settings"]
    assert all(isinstance(row["lost_s"], float) for row in rows.values())


def test_a_clip_that_cannot_be_copied_is_a_failure_by_name(packed) -> None:
    answers, rows = packed({"v-far": (5, 40), "v-none": (21, 39)}, copy_only=True)
    assert told(rows["v-far"]) == ["copy", 20, 40, 20, 0.8, 1.6, 0.8, 0.6, 25.0]
    assert isinstance(answers[0][0], Packed)
    assert isinstance(answers[1], Failure)
    assert (answers[1].kind, answers[1].retryable) == ("no_copy", False)
    assert "'it's; a %d video.mp4' of source 'mine'" in answers[1].message.replace('"', "'")


def test_encoding_loses_nothing(packed) -> None:
    _, rows = packed({"v-near": (18, 40)}, video="h264")
    assert told(rows["v-near"]) == ["encode", 18, 40, 22, 0.72, 1.6, 0.88, 0.0, 25.0]


def test_only_known_ways_to_cut_are_accepted() -> None:
    with pytest.raises(ValueError, match="video"):
        Pack(video="smart")
