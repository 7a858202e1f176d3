"""Split and the detectors, on evidence written by a real decode pass over synthetic video."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from builder.detectors.adaptive import Adaptive
from builder.detectors.fixed import Fixed
from builder.errors import RunError
from builder.media.decode import ScanSettings, scan
from builder.media.evidence import EvidenceWriter, Row
from builder.records import Failure, Scanned, Shots, SourceVideo
from builder.stage import Context, Item
from builder.stages.split import Split
from builder.storage import Storage

FPS = 25
FILE = {"root": "", "path": "p", "sha256": "ab" * 32, "size_bytes": 1, "container": "mov", "codec": "h264"}
SHAPE = {"width": 160, "height": 96, "rotation": 0, "fps": 25.0, "duration_s": 1.0, "has_audio": False}
VIDEO = SourceVideo("ab" * 10, "00", "list", **FILE, **SHAPE)  # type: ignore[arg-type]


def write_video(path: Path, shots: list[int], step: int = 1) -> None:
    """One moving texture a shot, cut hard; `step` > 1 leaves frames out of the timeline (a variable rate)."""
    random = np.random.default_rng(7)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        pts = 0
        for length in shots:
            texture = random.integers(0, 255, (96, 400, 3), dtype=np.uint8)
            texture = np.kron(texture[::16, ::16], np.ones((16, 16, 1), np.uint8))
            for n in range(length):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(texture[:, n : n + 160]), format="rgb24")
                frame.pts, frame.time_base = pts, Fraction(1, FPS)
                pts += step if n % 2 else 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def scanned(folder: Path, shots: list[int], step: int = 1) -> tuple[Scanned, Context]:
    write_video(folder / "video.mp4", shots, step)
    evidence = f"evidence-{shots}"  # a name never means two contents
    facts = scan(folder / "video.mp4", folder / evidence, folder / "strip", ScanSettings())
    names = ("frames", "width", "height", "fps", "duration_s", "start_pts", "end_pts", "time_base", "vfr")
    row = Scanned(
        video_id="ab" * 10,
        **{name: getattr(facts, name) for name in names},
        decode_errors=0,
        strip_frames=1,
        evidence=evidence,
        strip="strip",
    )
    return row, Context(Storage(folder))


def shots_of(detector: Adaptive | Fixed, row: Scanned, context: Context) -> Shots:
    with detector.opened(context):
        return detector.each(Item(row, ""))[0]


def split(row: Scanned, shots: Shots, context: Context, stage: Split, *spans: tuple[float, float]) -> Any:
    starts, ends = tuple(start for start, _ in spans), tuple(end for _, end in spans)
    with stage.opened(context):
        answer = stage.batch([Item(shots, "", {"scan": row, "merge": replace(VIDEO, starts_s=starts, ends_s=ends)})])[0]
    return answer if isinstance(answer, Failure) else list(answer)


def test_adaptive_finds_hard_cuts_and_a_single_shot_video_has_none(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [30, 40, 35])
    assert shots_of(Adaptive(), row, context).starts == (0, 30, 70)
    row, context = scanned(tmp_path, [60])
    assert shots_of(Adaptive(), row, context) == Shots(
        row.video_id, "adaptive", (0,), (60,), ("",), (1.0,), seen_on="48x27 thumbnails"
    )


def test_fixed_cuts_every_64_frames_and_loses_no_tail(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [150])
    shots = shots_of(Fixed(), row, context)
    clips = split(row, shots, context, Split(min_s=0.5))
    assert isinstance(clips, list)
    assert [(c.start_frame, c.end_frame) for c in clips] == [(0, 64), (64, 128), (128, 150)]


def test_clips_lie_end_to_end_in_source_time(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [30, 40, 35])
    clips = split(row, shots_of(Adaptive(), row, context), context, Split())
    assert isinstance(clips, list)
    assert [(c.start_s, c.end_s) for c in clips] == [(0.0, 1.2), (1.2, 2.8), (2.8, 4.2)]
    assert clips[-1].end_pts == row.end_pts
    assert [c.clip_id for c in clips] == sorted(c.clip_id for c in clips)


def test_a_long_shot_becomes_equal_clips_of_at_most_max_s(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [130])
    clips = split(row, shots_of(Adaptive(), row, context), context, Split(max_s=2.0))
    assert isinstance(clips, list)
    assert [c.frames for c in clips] == [43, 43, 44]


def test_a_long_shot_is_not_lost_where_equal_clips_were_too_short(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [130])
    clips = split(row, shots_of(Adaptive(), row, context), context, Split(min_s=3.0, max_s=3.5))
    assert [(c.start_frame, c.frames) for c in clips] == [(0, 87)]
    assert isinstance(clips, list)
    assert 3.45 < clips[0].duration_s <= 3.5
    answer = split(row, shots_of(Adaptive(), row, context), context, Split(min_s=6.0, max_s=6.5))
    assert "is 5.20 s; min_s is 6" in answer.message


def test_short_shots_are_left_out_and_a_video_of_them_says_so(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [10, 40, 12])
    shots = shots_of(Adaptive(min_scene_s=0), row, context)
    clips = split(row, shots, context, Split())
    assert isinstance(clips, list)
    assert [(c.start_frame, c.end_frame, c.shot) for c in clips] == [(10, 50, 1)]  # shots 0 and 2 have no clip
    answer = split(row, shots, context, Split(min_s=2.0))
    assert isinstance(answer, Failure)
    assert answer.filtered
    assert "1.60 s" in answer.message


def test_trim_leaves_out_frames_at_cuts_but_not_at_the_ends_of_the_video(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [30, 40, 35])
    clips = split(row, shots_of(Adaptive(), row, context), context, Split(trim_frames=2, min_s=0.5))
    assert isinstance(clips, list)
    assert [(c.start_frame, c.end_frame) for c in clips] == [(0, 28), (32, 68), (72, 105)]


def test_listed_spans_bound_the_clips_and_cuts_divide_them(tmp_path: Path) -> None:
    row, context = scanned(tmp_path, [30, 40, 35])  # cuts at 1.2 s and 2.8 s
    shots = shots_of(Adaptive(), row, context)
    clips = split(row, shots, context, Split(min_s=0.3), (0.5, 2.0), (2.8, 3.6), (3.0, 99.0))
    assert [(c.start_s, c.end_s) for c in clips] == [(0.52, 1.2), (1.2, 2.0), (2.8, 3.6), (3.0, 4.2)]
    nothing = split(row, shots, context, Split(min_s=0.3), (9.0, 12.0))
    assert nothing.filtered and nothing.kind == "too_short"
    stage, other = Split(), replace(VIDEO, license="CC0-1.0")
    assert stage.digest(other) == stage.digest(VIDEO) != stage.digest(replace(VIDEO, starts_s=(1.0,), ends_s=(2.0,)))


def written(folder: Path, pts: list[int], damaged: tuple[int, ...] = ()) -> tuple[Scanned, Context]:
    """As a pass over a video with these timestamps (in 1/25 s) and damaged frames leaves it."""
    name = f"written-{len(pts)}-{damaged}"
    writer = EvidenceWriter(folder / name)
    for frame, shown in enumerate(pts):
        writer.add(Row(shown, key=frame == 0, damaged=frame in damaged), np.zeros((27, 48, 3), np.uint8))
    writer.close()
    row, context = scanned(folder, [2])
    end = pts[-1] + 1
    times = {"start_pts": pts[0], "end_pts": end, "time_base": "1/25", "duration_s": (end - pts[0]) / 25}
    facts = {"frames": len(pts), "fps": len(pts) * 25 / (end - pts[0]), "damaged_frames": len(damaged)}
    return replace(row, evidence=name, **times, **facts), context


def one_shot(row: Scanned, **changes: Any) -> Shots:
    return replace(Shots(row.video_id, "toy", (0,), (row.frames,), ("",), (1.0,)), **changes)


def spans(row: Scanned, shots: Shots, context: Context, stage: Split) -> list[tuple[int, int]]:
    return [(clip.start_frame, clip.end_frame) for clip in split(row, shots, context, stage)]


def test_no_clip_holds_a_damaged_frame(tmp_path: Path) -> None:
    row, context = written(tmp_path, list(range(100)), damaged=(0, 40, 41, 70))
    assert spans(row, one_shot(row), context, Split(min_s=0.2)) == [(1, 40), (42, 70), (71, 100)]
    assert spans(row, one_shot(row), context, Split(min_s=1.3)) == [(1, 40)]


def test_trim_leaves_edges_alone_where_no_transition_was_seen(tmp_path: Path) -> None:
    row, context = written(tmp_path, list(range(100)))
    kinds = {"starts": (0, 20, 50, 80), "ends": (20, 50, 75, 100), "kinds": ("", "", "cut", "dissolve")}
    shots = one_shot(row, **kinds, scores=(1.0,) * 4)
    found = spans(row, shots, context, Split(min_s=0.2, trim_frames=3))
    assert found == [(0, 20), (20, 47), (53, 72), (83, 100)]


def test_pieces_are_equal_in_time_and_none_is_longer_than_max_s(tmp_path: Path) -> None:
    pts = [*range(0, 50), *range(50, 150, 5)]  # 2 s at 25 fps, then 4 s at 5 fps
    row, context = written(tmp_path, pts)
    clips = split(row, one_shot(row), context, Split(min_s=0.2, max_s=2.0))
    assert [(c.start_frame, c.end_frame) for c in clips] == [(0, 36), (36, 54), (54, 61), (61, 70)]
    assert all(c.duration_s <= 2.0 for c in clips)
    row, context = written(tmp_path, [*range(30), *range(500, 530)])  # frame 29 alone is shown for 19 s
    assert spans(row, one_shot(row), context, Split(min_s=0, max_s=2.0)) == [(0, 29), (30, 60)]


def test_evidence_that_is_gone_or_of_another_video_stops_the_run(tmp_path: Path) -> None:
    row, context = written(tmp_path, list(range(100)))
    for other in (replace(row, evidence="gone"), replace(row, frames=99), replace(row, start_pts=5)):
        with pytest.raises(RunError, match="osd-build retry RUN scan"):
            split(other, one_shot(row), context, Split())


def test_a_video_of_one_shot_gives_a_clip(tmp_path: Path) -> None:
    row, context = written(tmp_path, list(range(25)))
    assert spans(row, one_shot(row), context, Split(min_s=1.0, trim_frames=5)) == [(0, 25)]


@pytest.mark.parametrize("step", [3])
def test_a_variable_frame_rate_is_split_by_timestamps(tmp_path: Path, step: int) -> None:
    row, context = scanned(tmp_path, [40], step)
    clips = split(row, shots_of(Fixed(frames=20), row, context), context, Split(min_s=0.5))
    assert isinstance(clips, list)
    assert [c.end_s - c.start_s for c in clips] == pytest.approx([1.6, 1.6], abs=0.1)
    assert row.vfr
