"""From boundaries to shots: what lies between two boundaries, and in none of them."""

from dataclasses import replace

from builder.detectors.fixed import Fixed
from builder.frames import Footage
from builder.records import Scanned
from builder.stages.detect import CUT, DISSOLVE, FADE, Boundary
from builder.storage import Storage

SCAN = Scanned(
    video_id="v",
    frames=100,
    width=64,
    height=48,
    fps=25.0,
    duration_s=4.0,
    start_pts=0,
    end_pts=100,
    time_base="1/25",
    vfr=False,
    decode_errors=0,
    strip_frames=1,
    evidence="",
    strip="",
)


def shots_of(*boundaries: Boundary, frames: int = 100) -> list[tuple[int, int, str, float]]:
    found = Fixed().between(Footage(replace(SCAN, frames=frames), Storage.__new__(Storage)), boundaries)
    return list(zip(found.starts, found.ends, found.kinds, found.scores, strict=True))


def test_frames_of_a_transition_are_in_no_shot() -> None:
    found = shots_of(Boundary(20, 20, CUT, 0.9), Boundary(40, 50, DISSOLVE, 0.7))
    assert found == [(0, 20, "", 1.0), (20, 40, "cut", 0.9), (50, 100, "dissolve", 0.7)]


def test_a_transition_at_an_end_leaves_no_empty_shot() -> None:
    assert shots_of(Boundary(0, 10, FADE), Boundary(90, 100, FADE)) == [(10, 90, "fade", 1.0)]
    assert shots_of(Boundary(30, 40, FADE), Boundary(40, 60, FADE)) == [(0, 30, "", 1.0), (60, 100, "fade", 1.0)]


def test_without_boundaries_the_video_is_one_shot() -> None:
    assert shots_of() == [(0, 100, "", 1.0)]


def test_the_frame_of_a_boundary() -> None:
    assert Boundary(20, 20).frame == 20
    assert Boundary(20, 31, DISSOLVE).frame == 25


def test_boundaries_that_leave_no_frame_to_any_shot_are_not_believed() -> None:
    assert shots_of(Boundary(0, 12, FADE), frames=12) == [(0, 12, "", 1.0)]
