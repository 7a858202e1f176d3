"""Caption: text for each kept clip. A captioner is one file in `builder/captioners`; several may run on one set."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar

from builder.errors import ConfigError
from builder.frames import Frames
from builder.records import Caption, Clip, Scanned, Verdict
from builder.stage import Item, Stage, execution, settings


@settings
class Captioner(Stage[Verdict, Caption]):
    """Base of captioners: give `plugin` and `each` or `batch`. `label` names the table, so one engine may run twice."""

    name: ClassVar[str] = "caption"
    plugin: ClassVar[str]
    reads: ClassVar[str] = "judge"
    writes: ClassVar[type[Caption]] = Caption
    grain: ClassVar[str] = "clip"

    label: str = ""
    # set by the pipeline: the tables of scores and of other captioners, for captioners that join some of them
    scores: tuple[str, ...] = execution(default=())
    captions: tuple[str, ...] = execution(default=())

    @property
    def table(self) -> str:
        return f"caption.{self.label or self.plugin}"

    @property
    def joins(self) -> tuple[str, ...]:
        return ("split", "scan")

    @property
    def rewrites(self) -> tuple[str, ...]:
        """The caption tables it makes its own of; those are made before it."""
        return ()

    def frames(self, item: Item[Verdict]) -> Frames:
        return Frames(item.get(Clip), item.get(Scanned), self.context.storage)


def in_order(captioners: Sequence[Captioner]) -> list[Captioner]:
    """As they are given, but each after those whose captions it rewrites.

    Raises:
        ConfigError: some wait for each other.
    """
    by_table = {captioner.table: captioner for captioner in captioners}
    after = {name: [table for table in one.rewrites if table in by_table] for name, one in by_table.items()}
    try:
        return [by_table[name] for name in TopologicalSorter(after).static_order()]
    except CycleError as error:
        circle = " of ".join(f"[{name}]" for name in reversed(error.args[1]))
        raise ConfigError(f"captions are made of each other in a circle: {circle}") from None
