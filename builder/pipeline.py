"""From build.toml to jobs: which stages run, with which settings, over which tables."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from builder import registry, releases, takedown
from builder.captioning import presets
from builder.config import FILE, Config, RunSettings
from builder.digests import short_hash, utc_now
from builder.engine import Job
from builder.errors import ConfigError
from builder.layout import Layout
from builder.meter import Meter
from builder.rules import Rule, preset_lines
from builder.stage import Context, Stage
from builder.stages import STAGES, Step
from builder.stages.admit import Admit
from builder.stages.caption import Captioner, in_order
from builder.stages.dedupe import Dedupe
from builder.stages.detect import Detector
from builder.stages.find import Source, SourceSpec
from builder.stages.judge import ByHand, Conditions, Override
from builder.stages.match import Match
from builder.stages.merge import Merge
from builder.stages.pack import Pack, with_profile
from builder.stages.plan import Plan
from builder.stages.rank import Rank
from builder.stages.scan import Scan
from builder.stages.score import Scorer
from builder.storage import Storage
from builder.table import Answer, Stamp, Table
from builder.values import unfit
from builder.web.limits import Limits
from builder.wiring import KINDS, wire, with_ranks

if TYPE_CHECKING:
    from builder.decisions import Decision

DEFAULT_PLUGINS = {
    "detectors": "auto",
    "scorers": ("text", "motion", "sharpness", "brightness", "borders", "freeze", "shake", "flicker"),
    "captioners": ("describe",),
}
NAME = re.compile(r"[a-z0-9_-]+")
SETTLED = [step.stage for step in STAGES if not issubclass(step.stage, Rank)]  # the stages that have settings
SECTIONS = {"name", "run", "web", "source", "push", "card", *(stage.section or stage.name for stage in SETTLED)}
RENAMED = {"judge": "filter"}
TWINS = ("hash", "dedupe", "pick")  # the stages that look for near-duplicates


@dataclass(frozen=True)
class Run:
    """A run folder and its configuration. Cheap to make and to pickle: a worker makes its own."""

    root: Path
    config: Config

    def __reduce__(self) -> tuple[type["Run"], tuple[Path, Config]]:
        return Run, (self.root, self.config)  # without what is cached here

    @cached_property
    def storage(self) -> Storage:
        return Storage(self.root)

    @cached_property
    def settings(self) -> RunSettings:
        return self.config.build(RunSettings, "run", self.config.section("run"))

    @cached_property
    def web(self) -> Limits:
        return self.config.build(Limits, "web", self.config.section("web"))

    @cached_property
    def taken_down(self) -> tuple[str, ...]:
        """The entries of the takedown list; read whenever the run is opened, so that every build honours it."""
        name = self.config.section("licenses").get("takedown", "")
        entries = takedown.read(self.config.base / Path(str(name)).expanduser()) if name else ()
        return takedown.with_hashes(entries, self.storage)

    @cached_property
    def _decisions(self) -> "Mapping[str, Decision]":
        """What people decided about clips, by id; read whenever the run is opened, so that every build honours it."""
        from builder.decisions import Decisions

        return Decisions(self.storage).rows

    @property
    def by_hand(self) -> dict[str, ByHand]:
        return {key: cast(ByHand, row.decision) for key, row in self._decisions.items() if row.decision}

    @property
    def corrected(self) -> dict[str, dict[str, str]]:
        """Captions that people put right, by clip and captioner."""
        return {key: row.captions for key, row in self._decisions.items() if row.captioners}

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The `[[source]]` entries, by name.

        Raises:
            ConfigError: an entry has no kind, a bad name, or settings its kind does not know.
        """
        entries = self.config.values.get("source", [])
        if not isinstance(entries, list) or not entries:
            raise ConfigError(f"{self.config.path} names no [[source]]; add one with `kind` and `name`")
        named: dict[str, Source] = {}
        for nth, entry in enumerate(entries):
            kind, name = entry.get("kind", ""), str(entry.get("name", entry.get("kind", "")))
            if not NAME.fullmatch(name) or name in named:
                why = "is used twice" if name in named else "may hold a-z, 0-9, - and _ only"
                raise ConfigError(f"{self.config.where('source', 'name', nth)}: the source name {name!r} {why}")
            values = {k: v for k, v in entry.items() if k not in ("kind", "name")}
            try:
                found = registry.find("sources", Source, kind)
            except ConfigError as error:
                raise ConfigError(f"{self.config.where('source', 'kind', nth)}: {error}") from None
            named[name] = self.config.build(found, "source", values, nth)
        return named

    @cached_property
    def stages(self) -> list[tuple[str, Stage[Any, Any]]]:
        """Every stage of this run with its verb, in order."""
        self._check_sections()
        found = [(step.verb, stage) for step in STAGES for stage in self._instances(step)]
        if any(isinstance(stage, Dedupe) and not stage.on for _, stage in found):
            found = [(verb, stage) for verb, stage in found if stage.name not in TWINS]
        tables = {name: tuple(s.table for _, s in found if s.name == name) for name in KINDS}
        earlier = [[s for _, s in found[:n]] for n in range(len(found))]
        wired = [(verb, wire(stage, tables, before)) for (verb, stage), before in zip(found, earlier, strict=True)]
        content = any("content" in stage.wants for _, stage in found if isinstance(stage, Detector))
        pack = next(stage for _, stage in wired if isinstance(stage, Pack))
        pack.check_crop()
        return [(verb, self._obliging(stage, content, pack.made)) for verb, stage in with_ranks(wired)]

    def _check_sections(self) -> None:
        unknown = sorted(set(self.config.values) - SECTIONS)
        if unknown:
            now = f"; what it held is in [{RENAMED[unknown[0]]}] now" if unknown[0] in RENAMED else ""
            allowed = ", ".join(sorted(SECTIONS))
            raise ConfigError(f"{self.config.where(unknown[0])}: no section [{unknown[0]}]{now}; allowed: {allowed}")

    def _obliging(self, stage: Stage[Any, Any], content: bool, made: str) -> Stage[Any, Any]:
        """Tell the stages that honour the takedown list what is on it, `scan` what the detector wants of it, `plan`
        what was published, and how shards are `made` now; and those that write captions what people put right."""
        if isinstance(stage, (Admit, Merge)):
            return dataclasses.replace(stage, taken_down=self.taken_down)
        if isinstance(stage, Plan):
            closed = releases.digests(self.storage)
            return dataclasses.replace(stage, closed=closed, made=made, corrected=self.corrected)
        if isinstance(stage, Pack):
            return dataclasses.replace(stage, corrected=self.corrected)
        return dataclasses.replace(stage, content=True) if content and isinstance(stage, Scan) else stage

    def jobs(self) -> list[Job]:
        """Every stage with its tables, in order."""
        stages = [stage for _, stage in self.stages]
        tables: dict[str, Table[Any]] = {"sources": Table(self.storage, "sources", SourceSpec)}
        tables |= {stage.table: Table(self.storage, stage.table, stage.writes) for stage in stages}
        grains = {"sources": "one"} | {stage.table: stage.grain for stage in stages}
        layout = Layout(self.storage)
        return [
            Job(s, tables[s.reads], {n: tables[n] for n in s.joins}, tables[s.table], layout, grains) for s in stages
        ]

    def context(self, device: str = "cpu", meter: Meter | None = None) -> Context:
        folders = {name: source.root(self.config.base) for name, source in self.sources.items()}
        roots = {name: folder for name, folder in folders.items() if folder is not None}
        return Context(self.storage, self.config.base, self.sources, roots, device, self.web, meter or Meter())

    def write_sources(self, limit: int = 0, refresh: bool = False) -> None:
        """Bring the `sources` table up to date; its rows change when what a source would list has changed.

        With `refresh` those are asked again whose listing is otherwise asked for once.
        """
        table: Table[SourceSpec] = Table(self.storage, "sources", SourceSpec)
        before = {row.source: row.state for row in table.rows()}
        rows: dict[str, Answer[SourceSpec]] = {}
        for entry, (name, source) in zip(self.config.values["source"], self.sources.items(), strict=True):
            asked = utc_now() if refresh else before.get(name, "")
            state = source.state(self.config.base) or asked
            unasked = {f.name for f in dataclasses.fields(source) if f.metadata.get("execution")}
            asked_for = {key: value for key, value in entry.items() if key not in unasked}
            spec = SourceSpec(name, entry["kind"], short_hash(asked_for), state, limit)
            rows[name] = Answer(spec.digest(), [spec])
        if not table.parts() or table.read(0).answers != rows:
            table.write(0, Stamp("config", ""), rows)

    def _instances(self, step: Step) -> Iterator[Stage[Any, Any]]:
        name = step.stage.name
        if step.stage is Match:
            match = self.config.build(Match, name, self.config.section(name))
            captions = self._chosen(next(s for s in STAGES if s.plugins == "captioners"), "caption")
            yield from (dataclasses.replace(match, label=label) for label in captions if match.model)
        elif issubclass(step.stage, Conditions):
            yield self._judge(step.stage)
        elif not step.plugins:
            section = step.stage.section or name
            values = self.config.section(section)
            yield self.config.build(step.stage, section, with_profile(values) if step.stage is Pack else values)
        elif step.plugins == "detectors":
            values = self.config.section(name)
            method = values.pop("method", DEFAULT_PLUGINS["detectors"])
            yield self.config.build(self._find(step, method, name, "method"), name, values)
        else:
            chosen = [self._plugin(step, name, label) for label in self._chosen(step, name)]
            captioners = [stage for stage in chosen if isinstance(stage, Captioner)]
            yield from in_order(captioners) if captioners else chosen

    def _judge(self, kind: type[Conditions]) -> Conditions:
        """`[filter]`, and `[filter.source.NAME]` for the clips of one source."""
        section = kind.section or kind.name
        values = self.config.section(section)
        values.pop("source", None)
        overrides = {}
        for name in self.config.section(f"{section}.source"):
            own = f"{section}.source.{name}"
            if name not in self.sources:
                raise ConfigError(
                    f"{self.config.where(own)}: no [[source]] is called {name!r}; there are: {', '.join(self.sources)}"
                )
            overrides[name] = self.config.build(Override, own, self.config.section(own)).lines
        return dataclasses.replace(self.config.build(kind, section, values), overrides=overrides, by_hand=self.by_hand)

    def _chosen(self, step: Step, name: str) -> list[str]:
        """Scorers: the usual ones (or `[score] use`) and those with a section. Captioners: those with a section."""
        section = self.config.section(name)
        if step.plugins == "captioners":
            return list(section) or list(DEFAULT_PLUGINS["captioners"])
        use = section.pop("use", DEFAULT_PLUGINS["scorers"])
        if not all(isinstance(label, str) for label in use):
            raise ConfigError(f"{self.config.where(name, 'use')}: [{name}] use must be a list of scorers")
        return list(dict.fromkeys([*use, *section]))

    def _find(self, step: Step, name: str, section: str, key: str) -> type[Stage[Any, Any]]:
        try:
            return registry.find(step.plugins, step.stage, name)
        except ConfigError as error:
            raise ConfigError(f"{self.config.where(section, key)}: {error}") from None

    def _plugin(self, step: Step, name: str, label: str) -> Stage[Any, Any]:
        """`[score.text]`; `[caption.NAME]` with `engine`, so that one engine may caption twice."""
        section = f"{name}.{label}"
        values, kind = self.config.section(section), label
        if step.plugins == "captioners":
            values = self._preset(section, values)
            kind = values.pop("engine", label)
        also = presets.KEYS if step.plugins == "captioners" else ()
        stage = self.config.build(self._find(step, kind, section, "engine"), section, values, also=also)
        if not NAME.fullmatch(label):
            raise ConfigError(f"{self.config.where(section)}: a name may hold a-z, 0-9, - and _ only")
        return dataclasses.replace(stage, label=label) if isinstance(stage, Captioner) else stage

    def _preset(self, section: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """The section of a captioner with what its preset and its prompt file say."""
        try:
            return presets.filled(values, self.config.base)
        except ConfigError as error:
            key = next((key for key in presets.KEYS[1:] if key in values), "")
            raise ConfigError(f"{self.config.where(section, key)}: [{section}] {error}") from None


def check_conditions(run: Run) -> None:
    """Refuse a condition on something nobody measures.

    Raises:
        ConfigError: names the condition and the values there are.
    """
    for judge in (stage for _, stage in run.stages if isinstance(stage, Conditions)):
        for rule in judge.rules:
            if wrong := unfit(rule.condition, dict(judge.measured)):
                section = judge.section or judge.name
                own = f"{section}.source.{rule.source}" if rule.source else section
                key = "preset" if rule.line in preset_lines(judge.preset) else "keep"
                raise ConfigError(f"{run.config.where(own, key)}: {wrong}{switched_off(judge, rule)}")


def switched_off(judge: Conditions, rule: Rule) -> str:
    """How to have measured what a rule needs, if a scorer of that name is merely not on."""
    on = {name.partition(".")[0] for name, _ in judge.measured}
    there = registry.discover("scorers", Scorer)
    off = sorted({name.partition(".")[0] for name in rule.names()} & there.keys() - on)
    return "".join(f"; to have it measured, write [score.{name}] into {FILE}" for name in off)
