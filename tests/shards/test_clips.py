"""What a sample is made into: frames, captions, batches of one kind."""

import io
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from open_sora_dataset import stream
from shards.captions import chosen
from shards.clips import Sampling
from shards.samples import BadSampleError
from streamed_dataset import in_turn, sample_of, write_dataset

SIZES = [(96, 64), (64, 96), (96, 64), (64, 64)]
FRAMES = [20, 30, 40, 9]


def mp4(frames: int, size: tuple[int, int]) -> bytes:
    """Frame n is gray of 5 n."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = 1
        for n in range(frames):
            picture = np.full((size[1], size[0], 3), 5 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = [
        sample_of(f"c{n}-0", mp4(count, size), frames=count, fps=24.0, width=size[0], height=size[1])
        for n, (count, size) in enumerate(zip(FRAMES, SIZES, strict=True))
    ]
    return write_dataset(tmp_path_factory.mktemp("clips") / "dataset", [made[:2], made[2:]])


def shades(video: Any) -> list[float]:
    return [float(frame.mean()) / 5 for frame in np.asarray(video)]


def test_frames_from_the_middle_at_a_rate(folder: Path) -> None:
    units = list(stream(folder, shuffle=False, num_frames=5, fps=8, start="center"))
    assert [unit["__key__"] for unit in units] == ["c0-0", "c1-0", "c2-0"]  # nine frames are too few for 13
    assert [unit["frames"] for unit in units] == [[3, 6, 9, 12, 15], [8, 11, 14, 17, 20], [13, 16, 19, 22, 25]]
    for unit in units:
        width, height = SIZES[int(unit["__key__"][1])]
        assert unit["video"].dtype == torch.uint8
        assert unit["video"].shape == (5, height, width, 3)
        assert shades(unit["video"]) == pytest.approx(unit["frames"], abs=0.8)


def test_a_random_place_is_the_same_again_and_another_in_the_next_epoch(folder: Path) -> None:
    data = stream(folder, shuffle=False, num_frames=4, output="numpy", seed=3)
    epochs = [[unit["frames"] for unit in data] for _ in range(8)]
    assert all(isinstance(unit["video"], np.ndarray) for unit in data)
    data.load_state_dict({"seed": 3, "epoch": 1, "consumed": 2})
    assert [unit["frames"] for unit in data] == epochs[1][2:]
    assert len({tuple(epoch[2]) for epoch in epochs}) > 4
    assert all(frames[0] >= 0 and frames[-1] < count for e in epochs for frames, count in zip(e, FRAMES, strict=True))


def test_all_frames(folder: Path) -> None:
    assert [len(unit["video"]) for unit in stream(folder, shuffle=False)] == FRAMES
    assert [len(unit["video"]) for unit in stream(folder, shuffle=False, fps=12, start="center")] == [10, 15, 20, 5]


def test_rates_that_do_not_divide() -> None:
    sampling = Sampling((16,), 8.0, "center")
    frames = sampling.frames(200, 24000 / 1001, 16, 0)
    assert np.diff(frames).min() >= 2
    assert frames[-1] - frames[0] == int(15 * 24000 / 1001 / 8)
    assert Sampling((4,), 48.0, "center").frames(2, 24.0, 4, 0).tolist() == [0, 0, 1, 1]  # slower than it is: repeated


def test_batches_of_one_aspect_and_length(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stream(folder, num_frames=(8, 16), aspects=(2 / 3, 1, 3 / 2), batch_size=2, start="center")
    for workers in (0, 2):
        data.set_epoch(workers + 1)
        units = list(in_turn(data, workers, monkeypatch))
        kinds = Counter((unit["bucket"][0], tuple(unit["video"].shape)) for unit in units)
        assert kinds == {
            ((3 / 2, 16), (2, 16, 64, 96, 3)): 1,
            ((2 / 3, 16), (2, 16, 96, 64, 3)): 1,
            ((1, 8), (2, 8, 64, 64, 3)): 1,
        }
        assert sum(int(unit["pad"].sum()) for unit in units) == 2
        assert all(unit["bucket"][0] == unit["bucket"][1] for unit in units)


def test_a_transform_in_the_worker_and_what_is_stacked(folder: Path) -> None:
    def half(sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "video": sample["video"][:, :32, :32], "tokens": torch.tensor([len(sample["txt"])])}

    plain = next(iter(stream(folder, num_frames=4, batch_size=4, shuffle=False)))
    assert isinstance(plain["video"], list)  # of four sizes
    batch = next(iter(stream(folder, num_frames=4, batch_size=4, shuffle=False, transform=half)))
    assert batch["video"].shape == (4, 4, 32, 32, 3)
    assert batch["tokens"].shape == (4, 1)


def test_captions_by_weight(folder: Path) -> None:
    said_all = {f"llava says c{n}-0" for n in range(4)}
    assert {u["txt"] for u in stream(folder, captions="llava", num_frames=1)} == said_all
    data = stream(folder, captions={"describe": 1, "llava": 3}, num_frames=1)
    said = Counter(unit["captioner"] for _ in range(25) for unit in data)
    assert 60 <= said["llava"] <= 90
    assert all(unit["txt"].startswith(unit["captioner"]) for unit in data)
    even = Counter(chosen({"a": 0.5, "b": 0.0, "c": 0.5}, n << 24, ["a"])[0] for n in range(256))
    assert even == {"a": 128, "c": 128}


def test_a_clip_that_cannot_be_decoded(tmp_path: Path) -> None:
    videos = [mp4(6, (64, 48)), b"#EXTM3U\nfile:///etc/passwd", mp4(6, (64, 48))[:900], mp4(3, (64, 48))]
    folder = write_dataset(tmp_path / "d", [[sample_of(f"k{n}", video) for n, video in enumerate(videos)]])
    for n, complaint in ((1, "these bytes are no mp4"), (2, "cannot be decoded"), (3, "cannot be decoded")):
        data = stream(folder, shuffle=False)
        data.load_state_dict({"seed": 0, "epoch": 0, "consumed": n})
        with pytest.raises(BadSampleError, match=rf"pexels-train-000000\.tar: sample k{n}: .*{complaint}"):
            next(iter(data))
    units = list(stream(folder, shuffle=False, on_error="skip"))
    assert [(unit["__key__"], unit["skipped"]) for unit in units] == [("k0", 0), ("k0", 1), ("k0", 1), ("k0", 1)]
