"""Caption: text for each kept clip. A captioner is one file in `builder/captioners`; several may run on one set."""

from typing import ClassVar

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
    # set by the pipeline: the score tables there are, for captioners that join some of them
    scores: tuple[str, ...] = execution(default=())

    @property
    def table(self) -> str:
        return f"caption.{self.label or self.plugin}"

    @property
    def joins(self) -> tuple[str, ...]:
        return ("split", "scan")

    def frames(self, item: Item[Verdict]) -> Frames:
        return Frames(item.get(Clip), item.get(Scanned), self.context.storage)
