"""`osd-build export`: annotations, and the videos they name, or a table.

    OUT/train.json, validation.json      what the loader of that version of Open-Sora-Plan reads
    OUT/data.txt                         `folder,annotations` of the training split, for its --data (from v1.1 on)
    OUT/videos/<source>/<xx>/<key>.mp4
    OUT/clips.parquet, .csv, .jsonl      captions, metadata and scores; no videos

Annotations come last and at once, so a run that was stopped goes on where it was; nothing there is ever overwritten.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pyarrow as pa

from builder.errors import ConfigError, RunError
from builder.export.annotations import ITEMS
from builder.export.clips import Dataset, open_dataset
from builder.export.files import TABLES, JsonLists, check_new, new_file
from builder.export.videos import Extraction, check_there, name_of
from builder.storage import make_output

FORMATS = (*ITEMS, *TABLES)
VIDEOS, DATA = "videos", "data.txt"
LISTS = ("train.json", "validation.json")
ABSOLUTE = "open-sora-plan-v1.0"  # its loader opens paths as they are, and knows no folder
PLACE = re.compile(r"(_offset|_size)$")  # columns that say where in a shard something is
UNREADABLE = re.compile(r"[,\r\n]|^\s|\s$")  # the loaders cut a line of data.txt at commas and strip it
DELETED = "_resize_1080p"  # the loader of v1.1.0 deletes a file with that in its path when anything goes wrong


def export(path: Path, form: str, out: Path, captioner: str = "", videos: Path | None = None) -> str:
    """Write a dataset, or that of a run, in another form into the folder `out`; the line to tell the user.

    `captioner` names the one whose captions are wanted (annotations: else all, tables have all). `videos` is where an
    earlier export put the mp4s.

    Raises:
        ConfigError: there is no such form or captioner, an option does not fit, or something is there already.
        RunError: the dataset is damaged, or a video is missing.
    """
    if form not in FORMATS:
        raise ConfigError(f"there is no format {form!r}; there are: {', '.join(FORMATS)}")
    if str(path).startswith("hf:"):
        advice = "hf download OWNER/NAME --repo-type dataset --local-dir FOLDER"
        raise ConfigError(f"only a dataset on this machine can be exported; run first: {advice}")
    dataset = open_dataset(path)
    if form in TABLES:
        if captioner or videos:
            raise ConfigError(f"a {form} table holds all captions and no videos; leave --captioner and --videos out")
        return export_table(dataset, form, out)
    return export_annotations(dataset, form, out, dataset.texts(captioner), videos)


def export_table(dataset: Dataset, form: str, out: Path) -> str:
    name = f"clips.{form}"
    check_new(out, [name])
    with new_file(make_output(out), name) as temporary:
        count = TABLES[form](temporary, without_places(dataset))
    tidy(out)
    return f"wrote {count} clips to {out / name}"


def without_places(dataset: Dataset) -> Iterator[pa.RecordBatch]:
    for batch in dataset.batches():
        scores = [name for name in batch.schema.names if name.startswith("score_")]
        yield batch.select([name for name in batch.schema.names if name in scores or not PLACE.search(name)])


def export_annotations(dataset: Dataset, form: str, out: Path, texts: list[str], videos: Path | None) -> str:
    if not dataset.manifest.shards:
        advice = f"run first: osd-build rehydrate {dataset.folder} --videos FOLDER"
        raise RunError(f"{dataset.folder} holds no video, but links; {advice}")
    folder = (videos or out / VIDEOS).resolve()
    if form != ABSOLUTE and (UNREADABLE.search(str(out.resolve())) or UNREADABLE.search(str(folder))):
        raise ConfigError(f"a path with a comma or at its ends a space cannot stand in {DATA}; choose another --out")
    if DELETED in str(folder):
        raise ConfigError(f"the loader of v1.1.0 may delete files below {folder} for its name; choose another folder")
    check_new(out, [*LISTS] if form == ABSOLUTE else [DATA])  # the file that appears last
    storage = make_output(out)
    storage.sweep()
    item = ITEMS[form]
    extraction = Extraction(dataset, storage, VIDEOS) if videos is None else None
    with ExitStack() as stack, extraction or nullcontext():
        lists = JsonLists(storage, stack)
        for row in dataset.rows():
            if extraction:
                extraction.extract(row)
            else:
                check_there(folder, row)
            name = name_of(row)
            shown = str(folder / name) if form == ABSOLUTE else name
            lists.add(f"{row['split']}.json", item(row, shown, [row[column] for column in texts]))
        lists.close()
    if form != ABSOLUTE:
        trained = [name for name in LISTS[:1] if name in lists.counts]
        with new_file(storage, DATA) as temporary:
            temporary.write_text("".join(f"{folder},{(out / name).resolve()}\n" for name in trained), encoding="utf-8")
    tidy(out)
    made = f"{extraction.written} videos written, {extraction.kept} were there" if extraction else f"videos in {folder}"
    told = ", ".join(f"{count} clips in {out / name}" for name, count in lists.counts.items())
    return f"wrote {told}; {made}"


def tidy(out: Path) -> None:
    """The folder for temporary files goes, unless somebody else uses it."""
    try:
        (out / ".scratch").rmdir()
    except OSError:
        return
