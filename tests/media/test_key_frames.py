"""Key frames first: what is skipped, what is not, and that nothing else differs from a whole pass."""

from dataclasses import replace

import av
import numpy as np
import pytest

from builder.media.likeness import DOUBT, difference

FIRST = {"key_frames_first": True}
GOP = {"g": "24", "keyint_min": "24", "sc_threshold": "0"}
OF_PAIRS = ("diff", "shift_x", "shift_y", "response", "residual")


def calm(**how):
    return {"frames": 240, "options": GOP} | how


@pytest.fixture
def both(scanned):
    """both(video): facts and columns of a whole pass, and of one with key frames first."""

    def run(video):
        found = []
        for settings in ({}, FIRST):
            facts, evidence, strip = scanned(video, **settings)
            names = ("pts", "key", "seen", "luma", *OF_PAIRS)
            columns = {name: getattr(evidence, name) for name in names} | {"thumbs": evidence.thumbs()}
            found += [facts, columns | {"strip": strip.frames}]
        return found

    return run


def test_one_shot_is_mostly_skipped_and_its_frames_keep_their_times(make, both):
    whole, every, facts, some = both(make(**calm()))
    assert whole.unseen_frames == 0
    assert every["seen"].all()
    assert facts.unseen_frames > 0.8 * facts.frames
    assert np.flatnonzero(some["seen"])[:3].tolist() == [0, 24, 48]
    assert np.array_equal(some["pts"], every["pts"])
    assert replace(facts, unseen_frames=0, strip_frames=0) == replace(whole, strip_frames=0)
    assert some["seen"][some["strip"]].all()


def test_what_was_seen_is_as_in_a_whole_pass_and_the_rest_is_no_number(make, both):
    _, every, _, some = both(make(**calm(shots=[100])))
    seen = some["seen"]
    pairs = seen & np.append(True, seen[:-1])
    assert 0 < pairs.sum() < len(pairs)
    for name in ("thumbs", "luma", "key"):
        assert np.array_equal(every[name][seen], some[name][seen])
    for name in OF_PAIRS:
        assert np.array_equal(every[name][pairs], some[name][pairs])
        assert np.isnan(some[name][~pairs]).all()
    assert np.isnan(some["luma"][~seen]).all()
    assert np.array_equal(some["thumbs"][25], some["thumbs"][24])


@pytest.mark.parametrize("options", [GOP, GOP | {"bf": "3"}, GOP | {"bf": "0"}])
@pytest.mark.parametrize("cut", [95, 96, 97, 110])
def test_the_group_that_holds_a_cut_is_decoded_with_the_one_before(make, scanned, options, cut):
    _, evidence, _ = scanned(make(**calm(shots=[cut], options=options)), **FIRST)
    assert evidence.seen[cut - 24 : cut + 8].all()
    assert not evidence.seen.all()


def test_a_cut_there_and_back_again_shows_in_the_size_of_packets(make, scanned):
    """Key frames on both sides are of the same shot."""
    _, evidence, _ = scanned(make(**calm(shots=[100, 103, 106, 109])), **FIRST)
    assert evidence.seen[99:110].all()


@pytest.mark.parametrize(
    "how",
    [
        {"codec": "libx264", "options": {"g": "1000"}},  # one group: nothing to compare
        {"codec": "mpeg4", "muxer": "avi"},
        {"codec": "libx264", "options": {"g": "24", "x264-params": "open-gop=1:scenecut=0:bframes=3"}},
    ],
)
def test_other_files_are_decoded_whole(make, scanned, how):
    facts, evidence, _ = scanned(make(**calm(**how)), **FIRST)
    assert facts.unseen_frames == 0 and evidence.seen.all()


def test_a_file_damaged_where_it_is_read_is_decoded_whole(make, both, tmp_path):
    video = make(**calm(shots=[100]))
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        at, size = packets[80].pos, packets[80].size
    data = bytearray(video.read_bytes())
    data[at + size // 4 : at + size] = bytes(size - size // 4)
    video.write_bytes(data)
    whole, _, facts, some = both(video)
    assert whole.decode_errors
    assert facts == whole
    assert some["seen"].all()


def test_a_picture_is_like_itself_moved_or_lit_and_unlike_another():
    rng = np.random.default_rng(0)
    field = np.kron(rng.integers(0, 256, (9, 20, 3)), np.ones((3, 3, 1))).astype(np.uint8)
    here, there = field[:, :48], field[:, 2:50]
    lighter = np.clip(here.astype(int) + 12, 0, 255).astype(np.uint8)
    other = np.kron(rng.integers(0, 90, (9, 16, 3)), np.ones((3, 3, 1))).astype(np.uint8)
    assert difference(here, here) < difference(here, lighter) < DOUBT
    assert difference(here, there) < difference(here, other)
    assert difference(here, other) > DOUBT
