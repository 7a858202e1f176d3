"""What the card of a run's dataset tells of the run: its funnel, conditions, settings, captioners and limits."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from builder.card import CaptionerFacts, CardFacts, FunnelStep, StageFacts, captions_are
from builder.config import INTERNAL
from builder.errors import ConfigError, OsdError
from builder.pipeline import Run
from builder.records import Caption
from builder.report.funnel import funnel
from builder.stage import Stage
from builder.stages.caption import Captioner
from builder.stages.dedupe import Dedupe
from builder.stages.detect import Detector
from builder.stages.judge import Judge
from builder.table import Table

RULE_BASED = frozenset(["describe"])  # models that are none
ELSEWHERE = frozenset([*INTERNAL, "keep", "conditions", "prompt"])  # told in other parts of the card
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
LONGEST = 200  # characters of a setting
NO_SOUND = "Clips have no sound."
UNCOMPARED = "Clips were not compared with each other: near-duplicates are not left out."
FROM_FRAMES = "A caption is about the frames its captioner was shown, not about all of the clip."


def card_facts(run: Run, captioners: Sequence[str]) -> CardFacts:
    """`[card]` of build.toml may give `title`, `repo`, `contact` and `languages`.

    Raises:
        ConfigError: `languages` are no codes of languages.
    """
    section = run.config.section("card")
    name = str(run.config.values.get("name") or run.root.name)
    facts = [captioner_facts(run, captioner) for captioner in captioners]
    return CardFacts(
        pretty_name=str(section.get("title", name)),
        repo_id=str(section.get("repo", f"OWNER/{name}")),
        captions_are=captions_are(facts),
        funnel=[FunnelStep(c.table, c.inputs, c.kept, c.filtered, c.failed) for c in funnel(run)],
        filters=[text for _, stage in run.stages if isinstance(stage, Judge) for text in stage.written],
        captioners=facts,
        settings=[StageFacts(stage.table, found) for _, stage in run.stages if (found := settings_of(stage))],
        languages=languages(run, section),
        contact=str(section.get("contact", "")),
        limits=list(limits(run)),
    )


def languages(run: Run, section: Mapping[str, Any]) -> tuple[str, ...]:
    found = section.get("languages", ["en"])
    if not isinstance(found, list) or not found or not all(LANGUAGE.fullmatch(str(code)) for code in found):
        where = run.config.where("card", "languages")
        raise ConfigError(f'{where}: [card] languages must be codes as in ["en", "zh"], got {found!r}')
    return tuple(found)


def captioner_facts(run: Run, name: str) -> CaptionerFacts:
    table: Table[Caption] = Table(run.storage, f"caption.{name}", Caption)
    row = next((row for n in table.parts() for row in table.read(n).rows()), None)
    if row is None:
        return CaptionerFacts(name, "none")
    return CaptionerFacts(name, row.model, row.revision, row.prompt, row.model in RULE_BASED)


def settings_of(stage: Stage[Any, Any]) -> dict[str, str]:
    """What decides a stage's results, as short texts. Of files the name alone is told, of servers nothing."""
    found = {
        field.name: getattr(stage, field.name)
        for field in dataclasses.fields(stage)
        if not field.metadata.get("execution") and field.name not in ELSEWHERE
    }
    try:
        identity = dict(stage.identity())
    except OsdError:  # a model that is not at hand now decided what was made all the same
        identity = {}
    hashes = {name: value for name, value in identity.items() if name not in found}
    texts = {name: shown(value) for name, value in {**found, **hashes}.items()}
    return {name: text for name, text in texts.items() if text}


def shown(value: Any) -> str:
    """A setting as a text; empty for one that is not set, or is nobody else's business."""
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(shown, value)))
    text = str(value)
    if "://" in text or isinstance(value, dict):
        return ""
    private = text.startswith(("/", "~", "./", "../"))
    return (PurePath(text).name if private else text)[:LONGEST]


def limits(run: Run) -> Iterator[str]:
    stages = [stage for _, stage in run.stages]
    if not any(getattr(stage, "audio", "") == "copy" for stage in stages):
        yield NO_SOUND
    for stage in stages:
        if isinstance(stage, Detector):
            yield f"Clips were told apart by the detector `{stage.plugin}`; a clip may still hold a boundary it missed."
    if not any(isinstance(stage, Dedupe) for stage in stages):
        yield UNCOMPARED
    if any(isinstance(stage, Captioner) and stage.plugin not in RULE_BASED for stage in stages):
        yield FROM_FRAMES
