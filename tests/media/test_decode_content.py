"""PySceneDetect's statistic, taken in the pass, is what PySceneDetect takes itself."""

import cv2
import numpy as np
import pytest
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, SceneManager, open_video

REAL = [  # and how far apart their decoders leave the scores; 0 where the pictures are the same
    ("edit_bikes.mp4", 0),
    ("edit_bbb_intro.webm", 0),
    ("edit_sintel_10s.mp4", 0),
    ("edit_pyscenedetect_fades_wm.mp4", 0),
    ("shot_carphone.mp4", 0),
    ("codec_vp9_square.webm", 0),
    ("codec_hevc10_rot_2shots.mp4", 0),
    ("rot90.mov", 0),
    ("codec_mpeg4_xvid.avi", 1e-3),
    ("edit_city_cc0.mpg", 0.2),
]


class Kept(ContentDetector):
    """Remembers what it sees and finds."""

    def __init__(self):
        super().__init__()
        self.deltas = []

    def _calculate_frame_score(self, timecode, frame_img):
        before = self._last_frame
        score = super()._calculate_frame_score(timecode, frame_img)
        now = self._last_frame
        channels = ("hue", "sat", "lum") if before else ()
        pairs = [(getattr(now, name).astype(int), getattr(before, name).astype(int)) for name in channels]
        self.deltas.append([float(np.sum(np.abs(a - b)) / a.size) for a, b in pairs] or [0.0, 0.0, 0.0])
        return score


def fed(detector, scores):
    """Takes its scores from a list."""
    left = iter(scores)
    detector._calculate_frame_score = lambda timecode, frame_img: next(left)
    return detector


def found_by(detector, path):
    manager = SceneManager()
    manager.add_detector(detector)
    manager.detect_scenes(open_video(str(path)))
    return [start.frame_num for start, _ in manager.get_scene_list()][1:]


def cuts(detector, facts):
    found = []
    for n in range(facts.frames):
        found += detector.process_frame(FrameTimecode(n, facts.fps), None)
    return [cut.frame_num for cut in found]


def check(path, scanned, tolerance):
    facts, evidence, _ = scanned(path, content=True)
    kept = Kept()
    content_cuts, adaptive_cuts = found_by(kept, path), found_by(AdaptiveDetector(), path)
    deltas = np.array(kept.deltas)
    ours = evidence.content_deltas
    assert ours.shape == (facts.frames, 3)
    assert len(deltas) == facts.frames
    assert np.abs(ours - deltas).max() <= tolerance
    scores = ours.mean(axis=1).tolist()
    assert cuts(fed(ContentDetector(), scores), facts) == content_cuts
    assert cuts(fed(AdaptiveDetector(), scores), facts) == adaptive_cuts


def test_on_a_made_video(make, scanned):
    check(make("made.mp4", frames=90, size=(400, 226), shots=[30, 61]), scanned, 0)


def test_on_one_smaller_than_it_is_reduced_to(make, scanned):
    check(make("small.mp4", frames=60, shots=[30]), scanned, 0)


@pytest.mark.parametrize(("name", "tolerance"), REAL)
def test_on_real_files(footage, scanned, name, tolerance):
    check(footage(name), scanned, tolerance)


def test_it_changes_nothing_else(make, scanned):
    path = make(frames=40, shots=[20])
    facts, evidence, strip = scanned(path)
    thumbs, jpegs = evidence.thumbs(), [strip.jpeg(i) for i in range(len(strip))]
    with_content = scanned(path, content=True)
    assert with_content[0] == facts
    assert np.array_equal(with_content[1].thumbs(), thumbs)
    assert [with_content[2].jpeg(i) for i in range(len(strip))] == jpegs
    assert cv2.norm(with_content[1].content_deltas[0]) == 0
