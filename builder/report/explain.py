"""Why a clip is kept or not: every condition with the clip's value, everything measured of it, and where it is from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from builder.engine import Job
from builder.errors import ConfigError, RunError
from builder.figures import one_line
from builder.layout import HASH, bucket, covering
from builder.licenses import license_of
from builder.pipeline import Run
from builder.query import Inputs
from builder.records import Clip, Failure, Record, Scanned, Score, SourceVideo, Verdict
from builder.report.dry_run import judge_of, left_out, present, thresholds, told
from builder.rules import verdicts
from builder.stages.judge import Judge, absence, instead
from builder.table import Table
from builder.values import CLIPS, SCANS, VIDEOS, gather

SHOWN = 5  # clips named when a prefix is not enough


@dataclass(frozen=True)
class Answer:
    """A condition, the clip's values of it (None: there is none), and why it fails; empty when it holds."""

    line: str
    values: Mapping[str, float | str | None]
    failed: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """Of one clip. `verdict` is by the settings of now; `recorded` is what the tables `judge` and `select` say."""

    clip_id: str
    kept: bool
    verdict: tuple[str, ...]
    conditions: tuple[Answer, ...]
    scores: Mapping[str, float]
    failures: Mapping[str, Failure]
    provenance: Mapping[str, Any]
    recorded: Mapping[str, Verdict]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def explain(run: Run, prefix: str) -> Explanation:
    """The clip whose id begins with `prefix`.

    Raises:
        ConfigError: there is no such clip, or several.
        RunError: there are no clips yet.
    """
    jobs = {job.target.name: job for job in run.jobs()}
    judge = judge_of(run)
    clip = find(jobs[CLIPS], prefix)
    inputs = around(jobs, jobs[judge.table], clip.clip_id)
    known = thresholds(run, jobs)
    answers = tuple(conditions(judge, inputs, clip.clip_id, known))
    twins = left_out(run, jobs, known)
    of_it = [] if twins is None else twins.filter(clip_id=clip.clip_id).iter_rows()
    against = [instead(group, covered) for _, group, covered in of_it]
    verdict = tuple(dict.fromkeys([*against, *(text for answer in answers for text in answer.failed)]))
    scores, failed = measurements(run, jobs, clip.clip_id)
    found = {name: row(jobs[name], clip.clip_id) for name in ("judge", "select")}
    return Explanation(
        clip_id=clip.clip_id,
        kept=not verdict,
        verdict=verdict,
        conditions=answers,
        scores=scores,
        failures=failed,
        provenance=provenance(clip, row(jobs[SCANS], clip.video_id), row(jobs[VIDEOS], clip.video_id)),
        recorded={name: verdict for name, verdict in found.items() if isinstance(verdict, Verdict)},
    )


def find(job: Job, prefix: str) -> Clip:
    """By id, or a part of it that no other id begins with."""
    root, parts = job.target.storage.root, present(job)
    if not parts:
        raise RunError(f"{root} has no clips yet; run: osd-build split {root}")
    if HASH.match(prefix):
        parts = [n for n in parts if n == bucket(prefix, job.layout.parts(job.stage.grain) or 1)]
    rows = Inputs(CLIPS, {CLIPS: job.target}, {CLIPS: parts}).frame(CLIPS).select("clip_id").collect()["clip_id"]
    found = sorted(rows.filter(rows.str.starts_with(prefix)).to_list())
    if len(found) != 1 and prefix not in found:
        if not found:
            raise ConfigError(f"no clip begins with {prefix!r}; their ids are in the tables of {root}/{CLIPS}")
        some = ", ".join(found[:SHOWN]) + ", ..." * (len(found) > SHOWN)
        raise ConfigError(f"{len(found)} clips begin with {prefix!r}: {some}; write more of the id")
    clip = row(job, prefix if prefix in found else found[0])
    assert isinstance(clip, Clip)
    return clip


def around(jobs: Mapping[str, Job], job: Job, clip: str) -> Inputs:
    """The parts of all that `job` reads which may hold something of a clip."""
    of = job.layout.parts(job.stage.grain) or 1
    tables: dict[str, Table[Any]] = {job.main.name: job.main, **job.sides}
    parts = {}
    for name in tables:
        cut = jobs[name].layout.parts(jobs[name].stage.grain) or 1
        parts[name] = [n for n in present(jobs[name]) if n in covering(bucket(clip, of), of, cut)]
    return Inputs(job.main.name, tables, parts)


def conditions(judge: Judge, inputs: Inputs, clip: str, known: Mapping[str, float]) -> Iterator[Answer]:
    """Those that are for clips of this source."""
    frame = gather(inputs, judge.values).filter(clip_id=clip).collect()
    absent = absence(inputs, dict(judge.measured))
    for rule in (rule.at(known) for rule in judge.rules):
        if frame.select("clip_id", mine=rule.where())["mine"][0]:
            values = {name: frame[name][0] for name in rule.names()}
            yield Answer(told(rule), values, tuple(verdicts(frame, [rule], absent)[0]))


def measurements(run: Run, jobs: Mapping[str, Job], clip: str) -> tuple[dict[str, float], dict[str, Failure]]:
    """Every score of a clip, and how scorers failed on it, by table."""
    scores: dict[str, float] = {}
    failed: dict[str, Failure] = {}
    for name in (stage.table for _, stage in run.stages if stage.name == "score"):
        found = row(jobs[name], clip)
        if isinstance(found, Score):
            scores |= {f"{name.removeprefix('score.')}.{key}": value for key, value in found.values().items()}
        elif isinstance(found, Failure):
            failed[name] = found
    return scores, failed


def row(job: Job, key: str) -> Record | None:
    """What a table says of an input: its row, or the failure; None where it has not been made."""
    number = bucket(key, job.layout.parts(job.stage.grain) or 1)
    if number not in present(job):
        return None
    answer = job.target.read(number).answers.get(key)
    rows = job.target.read(number).rows() if answer is None else answer.rows
    return answer.failure if answer and answer.failure else next((found for found in rows if found.id == key), None)


def provenance(clip: Clip, scan: Record | None, video: Record | None) -> dict[str, Any]:
    """Which span of which video, whose it is, and under which licence."""
    span = {"video_id": clip.video_id, "start_s": clip.start_s, "end_s": clip.end_s, "frames": clip.frames}
    size = {"width": clip.width, "height": clip.height, "fps": clip.fps}
    whole = {"source_duration_s": scan.duration_s} if isinstance(scan, Scanned) else {}
    if not isinstance(video, SourceVideo):
        return span | size | whole
    licence = license_of(video.license, video.license_url).id
    names = ("source", "path", "url", "page_url", "title", "author")
    return span | size | whole | {name: getattr(video, name) for name in names} | {"license": licence}


def render(found: Explanation, run: Run) -> str:
    """For people."""
    lines = [f"{found.clip_id}: {'kept' if found.kept else 'not kept'}", one_line(origin(found.provenance))]
    lines += map(told_answer, found.conditions)
    lines += [f"FAILS  {text}" for text in found.verdict if text.startswith("duplicate ")]
    lines.append("scores: " + (", ".join(f"{name} {value:.4g}" for name, value in found.scores.items()) or "none"))
    for table, failure in found.failures.items():
        lines.append(f"{table} failed: {failure.kind}: {one_line(failure.message)}")
        lines.append(f"  to try it again: osd-build retry {table} {run.root} --kind {failure.kind}")
    for table, verdict in found.recorded.items():
        if table != "judge" or (verdict.kept, verdict.failed) != (found.kept, found.verdict):
            said = "kept" if verdict.kept else f"not kept: {'; '.join(verdict.failed)}"
            lines.append(f"on record in {table}: {one_line(said)}")
    return "\n  ".join(lines)


def told_answer(answer: Answer) -> str:
    values = ", ".join(f"{name} {told_value(value)}" for name, value in answer.values.items())
    missing = "; ".join(text for text in answer.failed if text.startswith("no "))
    return f"{'FAILS' if answer.failed else 'holds'}  {answer.line}:  {values}" + (f"  ({missing})" if missing else "")


def told_value(value: float | str | None) -> str:
    if value is None:
        return "has no value"
    return one_line(value) if isinstance(value, str) else f"{value:.4g}"


def origin(known: Mapping[str, Any]) -> str:
    """The span, the video, whose it is."""
    size = f"{known['frames']} frames, {known['width']}x{known['height']}"
    where = known.get("page_url") or known.get("url") or known.get("path") or known["video_id"]
    whose = "".join(f", {known[name]}" for name in ("author", "license") if known.get(name))
    source = known.get("source", "unknown")
    return f"{known['start_s']:.2f} to {known['end_s']:.2f} s ({size}) of {where}, source {source}{whose}"
