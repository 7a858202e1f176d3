"""The format of an Open-Sora dataset and its loader. Needs only `datasets`; stands alone beside the shards.

    from open_sora_dataset import load

    for sample in load("LanguageBind/Open-Sora-Plan", decode=True, keep=["motion.flow >= 1"]):
        pixels = sample["video"].frames([0, 8, 16])     # uint8 (3, height, width, 3)
        print(sample["txt"], sample["json"]["license"], pixels.shape)

A dataset is a folder: README.md (the card), manifest.json, index.parquet and tar shards. A sample is a run of members
`<key>.json`, `<key>.mp4`, `<key>.txt`, `<key>.<captioner>.txt` for every further captioner, then whatever others added.
Plain `datasets.load_dataset(folder)` works too, through the card; this module adds what a card cannot say. `stream()`,
for training, needs the whole package: `pip install open-sora-dataset`.
"""

import functools
import hashlib
import importlib.util
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import eq, ge, gt, le, lt, mul, ne, or_, truediv
from typing import Any

import datasets
import fsspec
import numpy as np
import pyarrow.parquet as pq

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

    `binary=False` is the card's form (the Hub's viewer plays `Video`). `binary=True` gives the mp4 as bytes: a `Video`
    column imports torchcodec where it is installed, even to pass bytes through, and fails where it is broken.
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
    keep: Sequence[str] = (),
    captioner: str | None = None,
    **options: Any,
) -> datasets.Dataset | datasets.IterableDataset:
    """Open a local dataset folder or one on the Hub; `mp4` comes as bytes.

    `name` is a config of the card (default: all). `decode` adds a column `video` of `Video`s. `keep` are conditions
    that all must hold, see `holds`. `captioner` names the one whose text `txt` is to be. `options` (revision, token,
    ...) go to `load_dataset`. What the dataset's removed.parquet lists today is left out, whatever the revision.
    Raises NewerFormatError, and ValueError for a dataset without our card, a wrong condition, or an unknown captioner.
    """
    path, keep = os.fspath(path), [keep] if isinstance(keep, str) else keep
    builder = datasets.load_dataset_builder(path, name, **options)
    check_format_version(datasets.Version(str(builder.config.version)).major, path)
    if not (columns := builder.info.features) or "json" not in columns or "mp4" not in columns:
        raise ValueError(f"{path} is not an Open-Sora dataset: its card declares no columns `json` and `mp4`")
    check_conditions(keep, columns["json"].get("scores", {}))
    columns = datasets.Features({**columns, "mp4": datasets.Value("binary")})
    loaded = datasets.load_dataset(path, name, split=split, streaming=streaming, features=columns, **options)
    local = os.path.isdir(path)  # noqa: PTH112  (so is it decided by `datasets`)
    gone = removed(path) if local else removed(f"hf://datasets/{path}", token=options.get("token"))
    if keep or gone:
        loaded = loaded.filter(functools.partial(_kept, tuple(keep), gone), input_columns=["json"])
    if captioner and f"{captioner}.txt" in columns:
        loaded = loaded.remove_columns("txt").rename_column(f"{captioner}.txt", "txt")
    elif captioner and captioner != (first := next(iter(loaded))["json"]["captioner"]):
        raise ValueError(f"no captioner {captioner!r}; `txt` is of {first!r}, others are columns <captioner>.txt")
    if not decode or streaming:
        return loaded.map(_with_video) if decode else loaded
    return loaded.with_transform(_with_videos)  # applied on access: a map would store what it returns


def stream(path: str | os.PathLike[str] = "LanguageBind/Open-Sora-Plan", **options: Any) -> Any:
    """A torch IterableDataset for training: see `shards.stream.stream`, which this is. Needs the whole package."""
    if not importlib.util.find_spec("shards"):
        raise ImportError("stream() is part of the package: pip install open-sora-dataset")
    return importlib.import_module("shards.stream").stream(path, **options)


_FACTS: Any = dict(aspect=truediv, pixels=mul, short_side=np.minimum, long_side=np.maximum)  # of width and height
_TESTS: Any = {"<=": le, ">=": ge, "<": lt, ">": gt, "==": eq, "!=": ne}
_LINE = re.compile(r"([\w.-]+)\s*(?:(<=|>=|==|!=|<|>)\s*(.+)|in\s+([-+.\de]+?)\s*\.\.\s*([-+.\de]+))")


def holds(condition: str, value: Callable[[str], Any]) -> Any:
    """Whether `motion.flow in 0.5..30`, `license == CC-BY-4.0`, `any(aspect > 1.7, frames >= 64)`, ... holds.

    These are the lines of `keep` in build.toml, without percentiles and `all`. Names are fields of METADATA, scores,
    aspect (width / height), pixels, short_side, long_side. `value` gives the value of a field or score (`text_area`),
    or an array of them: so does this then. ValueError for what is no condition.
    """
    if group := re.fullmatch(r"any\s*\((.*)\)", condition.strip()):
        return functools.reduce(or_, (holds(part, value) for part in group[1].split(",")))
    if not (line := _LINE.fullmatch(condition.strip())):
        raise ValueError("it is not like `motion.flow in 0.5..30` or `license == CC-BY-4.0`")
    name, test, limit, low, high = line.groups()
    if METADATA.get(name) == "string":
        if test not in ("==", "!="):
            raise ValueError(f"{name} is a text: compare it with == or !=")
        return _TESTS[test](value(name), limit.strip("'\""))
    found = _FACTS[name](value("width"), value("height")) if name in _FACTS else value(name.replace(".", "_"))
    return _TESTS[test](found, float(limit)) if test else (found >= float(low)) & (found <= float(high))


def check_conditions(keep: Sequence[str], scores: Iterable[str]) -> None:
    """ValueError for a condition that is none, or names what a dataset with these scores does not have."""
    types = {**METADATA, **dict.fromkeys(score_fields(scores), "float64")}
    examples = {name: "" if dtype == "string" else 1.0 for name, dtype in types.items()}
    for condition in [keep] if isinstance(keep, str) else keep:
        try:
            holds(condition, examples.__getitem__)
        except (KeyError, ValueError) as error:
            raise ValueError(f"keep: `{condition}`: {error}; names are: {', '.join(examples)}") from error


def _kept(keep: tuple[str, ...], removed: frozenset[str], metadata: Mapping[str, Any]) -> bool:
    value = {**metadata, **metadata.get("scores", {})}.__getitem__
    known = {metadata["clip_id"], metadata["source_sha256"]}
    return removed.isdisjoint(known) and all(holds(condition, value) for condition in keep)


def removed(root: str, **hub: Any) -> frozenset[str]:
    """Ids and hashes in removed.parquet, in all of its columns; none where there is no such file."""
    if root.startswith("hf://") and datasets.config.HF_HUB_OFFLINE:
        return frozenset()
    try:
        with fsspec.open(f"{root}/removed.parquet", "rb", **hub) as file:
            columns = pq.read_table(file).to_pydict().values()
    except FileNotFoundError:
        return frozenset()
    return frozenset(value for column in columns for value in column if isinstance(value, str))


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

    def frames(self, indices: Sequence[int] | None = None) -> np.ndarray[Any, Any]:
        """RGB frames as uint8 (n, height, width, 3), all of them or those at `indices` (0 <= i < count)."""
        wanted = list(range(self.count)) if indices is None else [int(index) for index in indices]
        if any(not 0 <= index < self.count for index in wanted):
            raise IndexError(f"frame indices must lie in 0..{self.count - 1}, got {wanted}")
        if self.data[4:8] != b"ftyp":  # decoders may open what else it is: a playlist of local files, say
            raise ValueError("these bytes are no mp4")
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
    wanted = set(indices)
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:  # turned upright here; the other two do it themselves
                found[index] = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            if len(found) == len(wanted):
                break
    if missing := sorted(wanted - set(found)):
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
    """`load_dataset("<folder>/open_sora_dataset.py", trust_remote_code=True)` runs this before datasets 4."""

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
        generators = []
        for split in ("train", "validation"):
            paths = [shard["path"] for shard in self.manifest["shards"] if f"-{split}-" in shard["path"]]
            if shards := dl_manager.download(paths):
                parts = {"shards": shards, "archives": [dl_manager.iter_archive(shard) for shard in shards]}
                generators.append(datasets.SplitGenerator(name=split, gen_kwargs=parts))
        return generators

    def _generate_examples(self, shards: list[str], archives: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        known = member_names(self.manifest["captioners"])
        for shard, archive in zip(shards, archives, strict=True):
            for key, members in itertools.groupby(archive, lambda member: member[0].partition(".")[0]):
                raw = {path.partition(".")[2]: file.read() for path, file in members}
                texts = {name: raw[name].decode() for name in known[2:]}
                sample = {"json": json.loads(raw["json"]), "mp4": raw["mp4"], **texts}
                yield key, {**sample, "__key__": key, "__url__": shard}
