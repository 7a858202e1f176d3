"""What `osd-build caption --show` does: captions of a few clips, before a long run. Nothing of it is kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.captioning import presets
from builder.captioning.asking import Asking
from builder.config import Config, apply
from builder.engine import Job
from builder.errors import ConfigError, Filtered, ItemError, RunError
from builder.execute import open_run
from builder.figures import one_line
from builder.frames import Frames, Timeline
from builder.layout import bucket
from builder.loose_videos import check_preview, device_for, look_at, shots_of, told_short
from builder.pipeline import DEFAULT_PLUGINS, Run
from builder.records import Caption, Clip, Failure, Scanned, Verdict
from builder.registry import find
from builder.shots import make_detector
from builder.stage import Item
from builder.stages.caption import Captioner
from builder.stages.split import Split
from builder.table import Table

TRIED = "try"  # the section of a captioner that the command line alone describes


@dataclass(frozen=True)
class Choice:
    """Which captioners: `captioner` by the name of its section, or what a preset or a model makes; else all.

    `sets` are settings: of a run SECTION.KEY=VALUE, of the captioner of a video KEY=VALUE.
    """

    captioner: str = ""
    preset: str = ""
    model: str = ""
    sets: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The section that is meant; empty for all there are."""
        return self.captioner or (TRIED if self.preset or self.model else "")

    def overrides(self) -> list[str]:
        """What they come to as settings of `label`."""
        engine = [] if self.captioner or self.preset else [f"caption.{TRIED}.engine=transformers"]
        file = self.preset.endswith(".toml")  # of the command line, so it is relative to where that was given
        named = {presets.PRESET: str(Path(self.preset).expanduser().absolute()) if file else self.preset}
        named |= {"model": self.model}
        found = [
            f"caption.{self.label}.{key}={json.dumps(value, ensure_ascii=False)}"
            for key, value in named.items()
            if value
        ]
        return [*engine, *found] if found else []


@dataclass(frozen=True)
class Tried:
    """One clip with what each captioner made of it."""

    frames: Frames
    outcomes: Mapping[str, Caption | Failure]

    @property
    def failed(self) -> bool:
        return any(isinstance(found, Failure) for found in self.outcomes.values())

    def to_text(self) -> str:
        clip = self.frames.clip
        lines = [f"clip {clip.clip_id}: {clip.start_s:.2f} to {clip.end_s:.2f} s"]
        for name, found in self.outcomes.items():
            lines += [f"  {name}: {facts(found)}", f"    {one_line(said(found))}"]
        return "\n".join(lines)


def facts(found: Caption | Failure) -> str:
    """How it was made, in a line."""
    if isinstance(found, Failure):
        return f"failed, {found.kind}"
    shown = ", ".join(f"{time:.2f}" for time in found.frames_s)
    parts = [found.status, found.language, f"{found.words} words", f"{found.tokens} tokens" if found.tokens else ""]
    parts += [f"attempt {found.attempts}" if found.attempts > 1 else "", f"frames at {shown} s" if shown else ""]
    return ", ".join(part for part in parts if part)


def said(found: Caption | Failure) -> str:
    return found.message if isinstance(found, Failure) else found.text


# -- of a run
def chosen(folder: Path, choice: Choice) -> tuple[Run, list[Captioner]]:
    """The run and its captioners that are meant.

    Raises:
        ConfigError: there is none of that name.
    """
    run = open_run(folder, [*choice.sets, *choice.overrides()])
    captioners = [stage for _, stage in run.stages if isinstance(stage, Captioner)]
    named = [stage for stage in captioners if choice.label in ("", stage.label)]
    if not named:
        there = ", ".join(stage.label for stage in captioners)
        raise ConfigError(f"{run.config.path} has no [caption.{choice.label}]; there are: {there}")
    return run, named


def kept_clips(run: Run) -> list[str]:
    """Their ids, sorted.

    Raises:
        RunError: no clip was judged yet, or none is kept.
    """
    rows = Table(run.storage, Captioner.reads, Verdict).columns(Verdict.KEY, "kept")
    kept = sorted(clip_id for clip_id, kept in rows if kept)
    if not kept:
        raise RunError(f"no clip of {run.root} is kept (yet); run: osd-build filter {run.root}")
    return kept


def items_of(job: Job, ids: Sequence[str]) -> list[Item[Any]]:
    """These inputs of a captioner, in the order of their ids."""
    units = {bucket(key, job.units() or 1) for key in ids}
    wanted = set(ids)
    found = [item for number in sorted(units) for item in at_hand(job, number).items(number) if item.id in wanted]
    return sorted(found, key=lambda item: item.id)


def at_hand(job: Job, number: int) -> Job:
    """The same without those captions that it is made of and that were not made yet for this unit."""
    needs, stage = job.needs(number) or {}, job.stage
    other = stage.rewrites if isinstance(stage, Captioner) else ()
    sides = {
        name: side for name, side in job.sides.items() if name not in other or set(needs[name]) <= set(side.parts())
    }
    return replace(job, sides=sides)


def try_run(folder: Path, choice: Choice, count: int) -> list[Tried]:
    """Captions of `count` clips, evenly spread over those that are kept. No table of the run is written."""
    run, captioners = chosen(folder, choice)
    ids = spread(kept_clips(run), count)
    jobs = {job.target.name: job for job in run.jobs()}
    outcomes: dict[str, dict[str, Caption | Failure]] = {key: {} for key in ids}
    shown: dict[str, Frames] = {}
    for captioner in captioners:
        context = run.context(device_for([captioner]))
        items = [with_tried(item, outcomes[item.id]) for item in items_of(jobs[captioner.table], ids)]
        with captioner.opened(context):
            for item, found in zip(items, batched(captioner, items), strict=True):
                outcomes[item.id][captioner.label] = found
                shown[item.id] = Frames(item.get(Clip), item.get(Scanned), run.storage)
        context.close()
    return [Tried(shown[key], outcomes[key]) for key in ids]


def with_tried(item: Item[Any], tried: Mapping[str, Caption | Failure]) -> Item[Any]:
    """What is made of other captions is made of those that were just tried, not of those that the run has."""
    now = {f"caption.{name}": found for name, found in tried.items()}
    had = {table: row for table, row in item.joined.items() if table not in now}
    return replace(item, joined={**had, **{table: row for table, row in now.items() if isinstance(row, Caption)}})


def batched(captioner: Captioner, items: Sequence[Item[Any]]) -> Iterator[Caption | Failure]:
    for start in range(0, len(items), captioner.batch_size):
        for answer in captioner.batch(items[start : start + captioner.batch_size]):
            yield answer if isinstance(answer, Failure) else answer[0]


def spread(ids: Sequence[str], count: int) -> list[str]:
    n = len(ids)
    return list(ids) if n <= count else [ids[(2 * i + 1) * n // (2 * count)] for i in range(count)]


# -- of a video
def make_captioner(choice: Choice) -> Captioner:
    """For a video outside of any run.

    Raises:
        ConfigError: there is no such captioner, or it has no such setting.
    """
    label = choice.captioner or choice.label or DEFAULT_PLUGINS["captioners"][0]
    overrides = [*choice.overrides(), *(f"caption.{label}.{setting}" for setting in choice.sets)]
    values: dict[str, Any] = {}
    for override in overrides:
        if override.count("=") == 0:
            raise ConfigError(f"--set {override.rpartition('.')[2]}: write KEY=VALUE, as --set frames_per_clip=3")
        apply(values, override)
    section = f"caption.{label}"
    config = Config(Path("the command line"), values, "", tuple(overrides))
    given = presets.filled(config.section(section), Path.cwd())
    kind: type[Captioner] = find("captioners", Captioner, given.pop("engine", label))
    captioner = config.build(kind, section, given, also=presets.KEYS)
    if isinstance(captioner, Asking):
        captioner.check()
    return captioner


def try_video(video: Path, captioner: Captioner, count: int, preview: Path | None) -> list[Tried]:
    """Captions of at most `count` clips, as the defaults of `detect` and `split` cut them; `preview` is drawn.

    Raises:
        ItemError: the video cannot be used.
    """
    from builder.media.decode import ScanSettings

    detector, name = make_detector("", ()), captioner.label or captioner.plugin

    def look(number: int, path: Path, scan: Scanned) -> list[Tried]:
        storage = detector.context.storage
        try:
            shots = shots_of(scan, detector)
            clips = Split().clips(shots, scan, Timeline(scan, storage), [(0, scan.frames)])
        except Filtered as error:
            raise ItemError(error.kind, f"there is no clip to caption: {error.message}") from None
        by_id = {clip.clip_id: clip for clip in clips}
        items = [
            Item(Verdict(key, kept=True), "", {"split": by_id[key], "scan": scan}) for key in spread([*by_id], count)
        ]
        found = zip(items, batched(captioner, items), strict=True)
        tried = [Tried(Frames(by_id[item.id], scan, storage), {name: outcome}) for item, outcome in found]
        if preview:
            draw(tried, " ".join([path.name, told_short(scan)]), preview)
        return tried

    settings = ScanSettings(content="content" in detector.wants)
    [found] = look_at([video], settings, [detector, captioner], look)
    if isinstance(found, Failure):
        raise ItemError(found.kind, found.message)
    return found


def draw(tried: Sequence[Tried], title: str, preview: Path) -> None:
    from builder.caption_sheet import draw as draw_sheet

    draw_sheet(tried, title, preview)


def show(path: Path, choice: Choice, count: int, preview: Path | None) -> list[Tried]:
    """Of a run folder, or of a video file. Its `preview` is drawn.

    Raises:
        OsdError: see those above.
    """
    if preview:
        check_preview(preview, [path])
    if not path.is_dir() and path.suffix != ".toml":
        return try_video(path, make_captioner(choice), count, preview)
    tried = try_run(path, choice, count)
    if preview:
        draw(tried, path.resolve().name, preview)
    return tried
