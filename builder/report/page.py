"""`osd-build report`: a run as one page of HTML that people look at, without a network.

The page's policy lets run one script and one style sheet, by their hashes, and forbids markup made of strings; data
stands in blocks that no browser executes (base64 of gzipped JSON), and becomes text. A page opened as a file cannot
fetch other files, nor read scripts without letting data run: so all data is in the page, and only pictures, which need
no permission to be shown, stand beside it where there are many.
"""

import base64
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from builder.conditions import Condition, Group, Same
from builder.decisions import Decisions
from builder.errors import ItemError, RunError
from builder.execute import of_split
from builder.figures import as_count, as_duration
from builder.pipeline import Run
from builder.query import Inputs
from builder.report import charts
from builder.report.clips import OF_CLIP, Gallery, everything, gallery, values_of
from builder.report.dry_run import judge_of, thresholds
from builder.report.funnel import funnel
from builder.report.pictures import FRAMES, Picture, Span, pictures
from builder.report.summary import failures, tiles
from builder.stages.fetch import local_path
from builder.stages.judge import Judge

if TYPE_CHECKING:
    import polars as pl

FOLDER = Path(__file__).with_name("html")
OURS = ".osd-build-report"  # a file in a folder of pictures: it may be replaced
INLINE = 500  # clips whose pictures stand in the page; of more, in a folder beside it


@dataclass(frozen=True)
class Written:
    """What was made: the page, the folder of pictures beside it if there is one, and how many clips lack a picture."""

    page: Path
    beside: Path | None
    clips: int
    lacking: int

    def __str__(self) -> str:
        notes = [f"its pictures: {self.beside}"] if self.beside else []
        if self.lacking:
            notes.append(f"{as_count(self.lacking)} clips have no picture: strips are gone or damaged")
        return "; ".join([f"wrote {self.page}, {as_count(self.clips)} clips", *notes])


def write_report(run: Run, out: Path | None = None) -> Written:
    """The page of a run, done or half done; by default RUN/report.html. An older one is replaced when it is whole.

    Raises:
        RunError: a part of a table is damaged, or the page cannot be written.
    """
    out = out or run.root / "report.html"
    inputs = everything(run)
    found = gallery(run, inputs)
    beside = out.with_name(f"{out.stem}_files") if len(found.rows) > INLINE else None
    make_room(out, beside)
    count = Counted()
    hrefs = {key: href(run, video, out.parent) for key, video in found.videos.items()}
    blocks = (packed(block) for block in shown(run, found, hrefs, beside, count))
    page = Page(run, inputs, found, pictures=f"{quote(out.stem)}_files/{{}}.jpg")
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(rendered(page.values(), page.settings(), blocks))
        temporary.replace(out)
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror}); name another place with --out") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Written(out, beside, len(found.rows), count.lacking)


def make_room(out: Path, beside: Path | None) -> None:
    """Remove what killed attempts left, and see that nobody else's folder is where the pictures go.

    Raises:
        RunError: it is.
    """
    for left in out.parent.glob(f".{out.stem}*"):
        if left.suffix[1:].isdigit() and not Path(f"/proc{left.suffix.replace('.', '/')}").exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    if beside and beside.exists() and not (beside / OURS).is_file():
        raise RunError(f"{beside} is where the pictures would go, and not of an earlier report; name another --out")


@dataclass
class Counted:
    lacking: int = 0


def href(run: Run, video: Mapping[str, Any], folder: Path) -> str:
    """The way from the page to the video, as a URL; empty where there is no such file."""
    try:
        if video["root"]:
            path = local_path(video["root"], video["path"], run.context())
        else:
            path = run.storage.path(video["path"])
        there = path.is_file()
    except (ItemError, OSError, ValueError):
        return ""
    return quote(os.fsencode(os.path.relpath(path.absolute(), folder.absolute()))) if there else ""


# -- the clips
def shown(
    run: Run, found: Gallery, hrefs: Mapping[str, str], beside: Path | None, count: Counted
) -> Iterator[dict[str, Any]]:
    """The blocks of the page, with the pictures of their clips: in them, or written to the folder `beside`."""
    fresh = beside.with_name(f".{beside.name}.{os.getpid()}") if beside else None
    try:
        for rows in found.blocks():
            block = block_of(found, rows, hrefs)
            made = list(pictures(run.storage, spans(found, rows)))
            block["pictures"] = [bool(picture.jpeg) for picture in made]
            count.lacking += block["pictures"].count(False)
            if fresh:
                keep(made, fresh)
            else:
                block["jpeg"] = [base64.b64encode(picture.jpeg).decode() for picture in made]
            yield block
        if beside and fresh and fresh.is_dir():
            (fresh / OURS).touch()
            shutil.rmtree(beside, ignore_errors=True)
            fresh.replace(beside)
    finally:
        if fresh:
            shutil.rmtree(fresh, ignore_errors=True)


def keep(made: Sequence[Picture], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in made:
        if picture.jpeg:
            (folder / f"{picture.clip_id}.jpg").write_bytes(picture.jpeg)


def spans(found: Gallery, rows: "pl.DataFrame") -> Iterator[Span]:
    for clip, video, start, end in rows.select("clip_id", "video_id", "clip start_pts", "clip end_pts").iter_rows():
        yield Span(clip, found.videos.get(video, {}).get("strip") or "", start, end)


def block_of(found: Gallery, rows: "pl.DataFrame", hrefs: Mapping[str, str]) -> dict[str, Any]:
    """Columns of some clips, and the videos they are from."""
    columns = ("clip_id", "video_id", "shard", "kept", "judged", "why")
    block: dict[str, Any] = {name: rows[name].to_list() for name in columns}
    block |= {name: rows[f"clip {name}"].to_list() for name in OF_CLIP}
    block["values"] = {name: rows[name].to_list() for name in found.names if rows[name].count()}
    block["captions"] = {
        name: rows[f"caption.{name}"].struct.unnest().to_dict(as_series=False)
        for name in found.captioners
        if rows[f"caption.{name}"].struct.field("text").count()
    }
    block["videos"] = {key: video_of(key, found, hrefs) for key in dict.fromkeys(block["video_id"])}
    return block


def video_of(key: str, found: Gallery, hrefs: Mapping[str, str]) -> dict[str, Any]:
    """As conditions see it: its licence is the one that was recognised."""
    video = dict(found.videos.get(key) or {"source": "", "path": key})
    video["license_text"], video["license"] = video.get("license", ""), video.pop("license_id", "")
    return video | {"href": hrefs.get(key, "")}


def packed(block: Mapping[str, Any]) -> str:
    """No character of it means anything in HTML."""
    text = json.dumps(block, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


# -- the page around them
@dataclass(frozen=True)
class Page:
    """What the template shows. `pictures` is where the picture of clip {} is, for those that are not in the page."""

    run: Run
    inputs: Inputs
    found: Gallery
    pictures: str
    view: bool = False

    def values(self) -> dict[str, Any]:
        counts = funnel(self.run)
        cost = charts.costs(self.run, self.run.jobs())
        css, script = [(FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")]
        return {
            "name": str(self.run.config.values.get("name") or self.run.root.name),
            "folder": self.run.root.name,
            "view": self.view,
            "policy": policy(css, script, self.view),
            "css": css,
            "script": script,
            "tiles": tiles(self.inputs, counts),
            "funnel": charts.funnel_rows(counts),
            "notes": [note.removeprefix("note: ") for note in of_split(self.run)],
            "kinds": charts.kinds(self.inputs),
            "failures": failures(counts),
            "costs": cost,
            "dearest": max((one.cpu_s + one.gpu_s for one in cost), default=0.0) or 1.0,
            "total": self.found.total,
            "shown": len(self.found.rows),
            "version": version("open-sora-dataset"),
        }

    def settings(self) -> dict[str, Any]:
        """What the script works with, beside the clips."""
        judge = judge_of(self.run)
        overrides = {name: self.run.config.section(f"filter.source.{name}") for name in judge.overrides}
        said = Decisions(self.run.storage).rows
        presets = {"": judge.preset} | {name: str(own.get("preset", "")) for name, own in overrides.items()}
        return {
            "folder": self.run.root.name,
            "view": self.view,
            "total": self.found.total,
            "captioners": self.found.captioners,
            "spreads": list(charts.spreads(self.inputs, values_of(self.run))),
            "rules": rules(self.run, judge),
            "others": list(judge.overrides),
            "presets": {name: preset for name, preset in presets.items() if preset},
            "pictures": self.pictures,
            "frames": FRAMES,
            "decisions": {key: row.shown() for key, row in said.items()},
        }


def rendered(values: Mapping[str, Any], settings: Mapping[str, Any], blocks: Iterable[str]) -> Iterator[str]:
    """The page in pieces. The blocks are asked for one by one."""
    import jinja2

    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=True)
    environment.filters |= {"count_of": as_count, "duration_of": as_duration}
    plain = base64.b64encode(json.dumps(settings, allow_nan=False).encode()).decode()
    yield from environment.get_template("page.html.j2").generate(**values, settings=plain, blocks=blocks)


def policy(css: str, script: str, view: bool = False) -> str:
    """What the browser lets the page do: show pictures and videos from beside it; one served, ask its server."""
    ours = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, css)]
    beside = "'self'" if view else "'self' file:"
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{ours[0]}'",
        "style-src": f"'sha256-{ours[1]}'",
        "img-src": f"data: {beside}",
        "media-src": beside,
        "connect-src": "'self'" if view else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {allowed}" for name, allowed in rules.items())


def rules(run: Run, judge: Judge) -> list[dict[str, Any]]:
    """The conditions of [filter] as the script reads them, percentiles with their numbers as far as they are known."""
    try:
        known = thresholds(run, {job.target.name: job for job in run.jobs()})
    except RunError:  # nothing is scored yet
        known = {}
    found = [rule.at(known) for rule in judge.rules]
    return [
        {"line": rule.line, "source": rule.source, "others": rule.others, "condition": tree(rule.condition)}
        for rule in found
    ]


def tree(condition: Condition) -> dict[str, Any]:
    if isinstance(condition, Group):
        return {"kind": condition.kind, "parts": [tree(part) for part in condition.parts]}
    if isinstance(condition, Same):
        return {"name": condition.name, "test": condition.test, "text": condition.text}
    return {"name": condition.name, "test": condition.test, "limits": [asdict(limit) for limit in condition.limits]}
