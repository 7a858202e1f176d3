"""A captioner that says what a test wants it to, and remembers what it was asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from builder.captioning.asking import Asking
from builder.captioning.engine import Question, Said, Sampling
from builder.errors import ItemError
from builder.stage import execution, settings

CUT, FAILS = "[cut]", "[fails]"
GOOD = "A woman in a red coat walks slowly along the river while the evening sun shines."


@settings
class Scripted(Asking):
    """The nth time it is asked it says `says[n]`, from the last one on always that. `#` is the clip's id.

    What ends in `[cut]` ran into the limit; `[fails]` is an error of the engine.
    """

    plugin: ClassVar[str] = "scripted"
    model: str = "script"
    says: tuple[str, ...] = (GOOD,)
    batch_size: int = execution(default=8)

    @property
    def model_revision(self) -> str:
        return "1"

    def engine(self) -> "Script":
        return Script(self.says)


class Script:
    """`asked` holds every call: the questions and how tokens were to be chosen."""

    dtype = "text"
    asked: ClassVar[list[tuple[list[Question], Sampling]]] = []

    def __init__(self, says: Sequence[str]) -> None:
        self.says = says
        self.times: dict[str, int] = {}
        Script.asked.clear()

    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        Script.asked.append((list(questions), sampling))
        return [self.answer(question) for question in questions]

    def answer(self, question: Question) -> Said | ItemError:
        nth = self.times[question.id] = self.times.get(question.id, -1) + 1
        text = self.says[min(nth, len(self.says) - 1)].replace("#", question.id)
        if text == FAILS:
            return ItemError("timeout", f"{question.id} took too long", True)
        return Said(text.removesuffix(CUT), not text.endswith(CUT), len(question.prompt), len(text))

    def close(self) -> None:
        pass


def install(folder: Path) -> Path:
    """Make a folder that, on the path, offers it as a third party's package would."""
    package = folder / "scripted-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[open_sora_dataset.captioners]\nscripted = scripted:Scripted\n")
    return folder
