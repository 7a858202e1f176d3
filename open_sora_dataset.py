"""The format of an Open-Sora dataset and its loader. Needs only `datasets`; stands alone beside the shards.

    from open_sora_dataset import load

    for sample in load("LanguageBind/Open-Sora-Plan", decode=True):
        pixels = sample["video"].frames([0, 8, 16])     # uint8 (3, height, width, 3)
        print(sample["txt"], sample["json"]["license"], pixels.shape)

A dataset is a folder: README.md (the card), manifest.json, index.parquet and tar shards. A sample is a run
of members `<key>.json`, `<key>.mp4`, `<key>.txt`, then `<key>.<captioner>.txt` for every further captioner.
Plain `datasets.load_dataset(folder)` works too, through the card; this module adds what a card cannot say.
"""

import functools
import hashlib
import importlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import datasets
import fsspec
import numpy as np

FORMAT_VERSION = 1
MEMBERS = ("json", "mp4", "txt")

_ORIGIN = "video_id source site_id page_url media_url author author_url title license license_url source_sha256"
_MAKING = "cut cut_settings captioner caption_model caption_revision caption_prompt"
METADATA: Mapping[str, str] = {
    **dict.fromkeys(("clip_id", *_ORIGIN.split()), "string"),
    **dict.fromkeys(("start_s", "end_s", "duration_s", "lost_s", "fps"), "float64"),
    **dict.fromkeys(("start_frame", "end_frame", "frames", "width", "height"), "int64"),
    **dict.fromkeys(_MAKING.split(), "string"),
}
"""Fields of every `json` member and their types, in order; none is ever null. `scores` (float64) follow.

The clip shows frames start_frame <= f < end_frame of its source, at start_s <= t < end_s. `lost_s`: seconds of the span
chosen, which captions and scores are about, that cutting by stream copy left out at its ends.
"""


class NewerFormatError(ValueError):
    """The dataset was written by a later version than this one can read."""


def check_format_version(version: int, what: object) -> None:
    """Refuse what a later version wrote: reading it by today's rules could be silently wrong."""
    if version > FORMAT_VERSION:
        raise NewerFormatError(
            f"{what} has format_version {version}; this open_sora_dataset reads up to {FORMAT_VERSION}: "
            "use the open_sora_dataset.py that lies beside the shards, or `pip install -U open-sora-dataset`"
        )


def score_fields(scores: Iterable[str]) -> list[str]:
    """Sorted field names of the struct `scores`: `text.area` becomes `text_area`, as others nest at a dot."""
    names = list(scores)
    fields = sorted(name.replace(".", "_") for name in names)
    if len(set(fields)) != len(names):
        raise ValueError(f"score names {sorted(names)} are not distinct with '_' for '.': rename one")
    return fields


def member_names(captioners: Sequence[str]) -> tuple[str, ...]:
    """Members of a sample in order; the first captioner's text is `txt`."""
    return (*MEMBERS, *(f"{captioner}.txt" for captioner in captioners[1:]))


def features(scores: Sequence[str], captioners: Sequence[str], *, binary: bool = False) -> datasets.Features:
    """Columns of a dataset with these scores and captioners, the caption of `txt` first.

    `binary=False` is the card's form (the Hub's viewer plays `Video`). `binary=True` gives the mp4 as bytes:
    a `Video` column imports torchcodec where it is installed, even to pass bytes through, and fails where it
    is broken.
    """
    record: dict[str, Any] = {name: datasets.Value(dtype) for name, dtype in METADATA.items()}
    if scores:  # Arrow writes no struct without fields
        record["scores"] = {field: datasets.Value("float64") for field in score_fields(scores)}
    columns = {
        "json": record,
        "mp4": datasets.Value("binary") if binary else datasets.Video(decode=False),
        **{name: datasets.Value("string") for name in member_names(captioners)[2:]},
        "__key__": datasets.Value("string"),
        "__url__": datasets.Value("string"),  # the shard; before datasets 4 every column must be declared
    }
    return datasets.Features(columns)


def load(  # noqa: PLR0913  (mirrors datasets.load_dataset)
    path: str | os.PathLike[str] = "LanguageBind/Open-Sora-Plan",
    name: str | None = None,
    split: str = "train",
    *,
    streaming: bool = True,
    decode: bool = False,
    min_scores: Mapping[str, float] | None = None,
    **options: Any,
) -> datasets.Dataset | datasets.IterableDataset:
    """Open a local dataset folder or one on the Hub; `mp4` comes as bytes.

    `name` is a config of the card (a source; default: all). `decode` adds a column `video` of `Video`s,
    decoded when asked. `min_scores` keeps the samples that have at least these scores. `options` (revision,
    token, cache_dir, ...) go to `load_dataset`. Raises NewerFormatError, and ValueError for a dataset without
    our card or for unknown scores.
    """
    path = os.fspath(path)
    builder = datasets.load_dataset_builder(path, name, **options)
    check_format_version(datasets.Version(str(builder.config.version)).major, path)
    columns = builder.info.features
    if not columns or "json" not in columns or "mp4" not in columns:
        raise ValueError(f"{path} is not an Open-Sora dataset: its card declares no columns `json` and `mp4`")
    thresholds = _thresholds(columns["json"].get("scores", {}), min_scores or {})
    columns = datasets.Features({**columns, "mp4": datasets.Value("binary")})
    loaded = datasets.load_dataset(path, name, split=split, streaming=streaming, features=columns, **options)
    if thresholds:
        loaded = loaded.filter(functools.partial(_reaches, thresholds), input_columns=["json"])
    if not decode:
        return loaded
    if streaming:
        return loaded.map(_with_video)
    return loaded.with_transform(_with_videos)  # applied on access: a map would store what it returns


def _thresholds(known: Mapping[str, Any], wanted: Mapping[str, float]) -> dict[str, float]:
    thresholds = {score.replace(".", "_"): least for score, least in wanted.items()}
    unknown = sorted(set(thresholds) - set(known))
    if unknown:
        raise ValueError(f"no such scores: {', '.join(unknown)}; there are: {', '.join(sorted(known)) or 'none'}")
    return thresholds


def _reaches(thresholds: Mapping[str, float], metadata: Mapping[str, Any]) -> bool:
    return all(metadata["scores"][score] >= least for score, least in thresholds.items())


def _with_video(sample: dict[str, Any]) -> dict[str, Any]:
    return {"video": Video(sample["mp4"], sample["json"]["frames"])}


def _with_videos(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    if "mp4" not in batch or "json" not in batch:  # one column was asked for: dataset["txt"]
        return batch
    samples = zip(batch["mp4"], batch["json"], strict=True)
    return {**batch, "video": [Video(data, metadata["frames"]) for data, metadata in samples]}


class Video:
    """A clip as bytes, decoded on request by the first of torchcodec, decord and av that loads here."""

    def __init__(self, data: bytes, count: int) -> None:
        self.data, self.count = data, count

    def __len__(self) -> int:
        return self.count

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
        """RGB frames as uint8 (n, height, width, 3), all of them or those at `indices` (0 <= i < len)."""
        wanted = list(range(self.count)) if indices is None else [int(index) for index in indices]
        if any(not 0 <= index < self.count for index in wanted):
            raise IndexError(f"frame indices must lie in 0..{self.count - 1}, got {wanted}")
        return decoder()(self.data, wanted)


def _torchcodec(data: bytes, indices: list[int]) -> np.ndarray[Any, Any]:
    from torchcodec.decoders import VideoDecoder

    batch = VideoDecoder(data, dimension_order="NHWC").get_frames_at(indices=indices)
    return np.asarray(batch.data.numpy())


def _decord(data: bytes, indices: list[int]) -> np.ndarray[Any, Any]:
    import decord

    return np.asarray(decord.VideoReader(io.BytesIO(data), num_threads=1).get_batch(indices).asnumpy())


def _av(data: bytes, indices: list[int]) -> np.ndarray[Any, Any]:
    import av

    found: dict[int, np.ndarray[Any, Any]] = {}
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in indices:  # turned upright here; the other two do it themselves
                found[index] = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            if len(found) == len(set(indices)):
                break
    if missing := sorted(set(indices) - set(found)):
        raise IndexError(f"the clip ends before frames {missing}")
    return np.stack([found[index] for index in indices])


@functools.cache
def decoder() -> Callable[[bytes, list[int]], np.ndarray[Any, Any]]:
    """The first decoder that really loads (a torchcodec for another torch fails with OSError)."""
    failures = []
    for module, read in (("torchcodec.decoders", _torchcodec), ("decord", _decord), ("av", _av)):
        try:
            importlib.import_module(module)
        except Exception as error:
            failures.append(f"{module}: {type(error).__name__}: {str(error).splitlines()[:1]}")
        else:
            return read
    raise ImportError(f"no video decoder loads; `pip install av` is enough ({'; '.join(failures)})")


class OpenSoraDataset(datasets.GeneratorBasedBuilder):  # type: ignore[misc]  # datasets is not typed
    """The same dataset as a builder: `load_dataset("<folder>/open_sora_dataset.py", trust_remote_code=True)`
    before datasets 4, `OpenSoraDataset(base_path="<folder>").as_streaming_dataset("train")` since."""

    def __init__(self, *arguments: Any, base_path: str = ".", **options: Any) -> None:
        with fsspec.open(f"{base_path}/manifest.json", "r", encoding="utf-8") as file:
            text = file.read()
        self.manifest = json.loads(text)
        check_format_version(self.manifest["format_version"], base_path)
        # It names the cache: by the code's hash alone, one folder's rows would be given out for another's.
        options["hash"] = hashlib.sha256(text.encode()).hexdigest()
        super().__init__(*arguments, base_path=base_path, **options)

    def _info(self) -> datasets.DatasetInfo:
        columns = features(self.manifest["scores"], self.manifest["captioners"], binary=True)
        return datasets.DatasetInfo(features=columns)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        shards = dl_manager.download([shard["path"] for shard in self.manifest["shards"]])
        archives = [dl_manager.iter_archive(shard) for shard in shards]
        return [datasets.SplitGenerator(name="train", gen_kwargs={"shards": shards, "archives": archives})]

    def _generate_examples(
        self, shards: list[str], archives: list[Iterable[tuple[str, io.BufferedIOBase]]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for shard, archive in zip(shards, archives, strict=True):
            for key, members in itertools.groupby(archive, lambda member: member[0].partition(".")[0]):
                raw = {path.partition(".")[2]: file.read() for path, file in members}
                texts = {name: data.decode() for name, data in raw.items() if name.endswith("txt")}
                sample = {"json": json.loads(raw["json"]), "mp4": raw["mp4"], **texts}
                yield key, {**sample, "__key__": key, "__url__": shard}
