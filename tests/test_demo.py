"""The demo's site: real footage with a licence each, made the same way every time, served whole and in part."""

import csv
import io
import itertools
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

import footage
import website


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return footage.ensure(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with website.serving(website.Server(0), folder.parent) as root:
        yield root


def fetch(url: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read()


def shapes(path: Path) -> list[tuple[int, int]]:
    """Height and width of every frame that decodes."""
    with av.open(str(path)) as container:
        found = []
        try:
            for frame in container.decode(video=0):
                found.append((frame.height, frame.width))
        except av.error.InvalidDataError:
            pass
    return found


def test_the_list_names_a_licence_an_author_and_a_page_for_every_video(site: str) -> None:
    rows = list(csv.DictReader(io.StringIO(fetch(f"{site}/list.csv")[1].decode())))
    assert len({row["id"] for row in rows}) == len({row["url"] for row in rows}) == 9
    for row in rows:
        assert all(row.values()), row
        assert fetch(row["url"])[0] == 200
        assert fetch(row["page_url"].partition("#")[0])[0] == 200


def test_a_download_can_go_on_from_a_byte(site: str) -> None:
    url = f"{site}/videos/bikes.mp4"
    whole = fetch(url)[1]
    assert fetch(url, Range="bytes=1000-") == (206, whole[1000:])
    assert fetch(url, Range="bytes=1000-", If_Range='"other bytes"') == (200, whole)
    with pytest.raises(urllib.error.HTTPError, match="416"):
        fetch(url, Range=f"bytes={len(whole)}-")


def test_an_unknown_page_is_not_found(site: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{site}/videos/../footage.py")


def test_a_taken_port_is_refused_at_once() -> None:
    with website.Server(0) as first, pytest.raises(OSError, match="in use"):
        website.Server(first.server_port)


@pytest.mark.parametrize(
    ("file", "frames", "shape"),
    [
        ("bunny.mp4", 132, (720, 1280)),
        ("bikes.mp4", 250, (272, 640)),
        ("city.mpg", 190, (405, 720)),
        ("carphone.mp4", 120, (144, 176)),
        ("portrait.mp4", 132, (720, 404)),
        ("subtitled.mp4", 190, (404, 720)),
        ("still.mp4", 125, (272, 640)),
    ],
)
def test_a_video_decodes_as_intended(folder: Path, file: str, frames: int, shape: tuple[int, int]) -> None:
    assert shapes(folder / file) == [shape] * frames


def test_the_duplicate_has_the_same_bytes(folder: Path) -> None:
    assert (folder / "copy-of-bunny.mp4").read_bytes() == (folder / "bunny.mp4").read_bytes()


def test_the_truncated_one_opens_promises_all_frames_and_breaks_off(folder: Path) -> None:
    with av.open(str(folder / "truncated.mp4")) as container:
        assert container.streams.video[0].frames == 250
    assert 100 < len(shapes(folder / "truncated.mp4")) < 200


def test_the_still_one_does_not_move_and_the_street_does(folder: Path) -> None:

    def change(file: str) -> float:
        images = [image.astype(np.float64) for image in footage.frames(folder / file)][:20]
        return float(np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(images)]))

    assert change("still.mp4") < 0.5 < 2 * change("bikes.mp4")


def test_made_again_the_files_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Law 11 begins at the demo's input: a rerun after `make clean` must find the same content ids."""
    again = footage.ensure(tmp_path)
    assert again.name == folder.name
    for video in footage.VIDEOS:
        assert (again / video.file).read_bytes() == (folder / video.file).read_bytes(), video.file


def test_what_a_killed_call_left_is_finished_not_made_again(folder: Path) -> None:
    kept = (folder / "bikes.mp4").stat().st_mtime_ns
    still = (folder / "still.mp4").read_bytes()
    (folder / "still.mp4").unlink()
    (folder / ".making-still.mp4").write_bytes(b"half")
    footage.ensure(folder.parent)
    assert (folder / "still.mp4").read_bytes() == still
    assert (folder / "bikes.mp4").stat().st_mtime_ns == kept
    assert list(folder.glob(".making-*")) == []
