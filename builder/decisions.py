"""What people decided about clips by hand: the table `overrides` of a run, which `osd-build view` writes.

It has one part and a row a clip. `filter` and `pack` obey `decision`. As CSV a decision is a line, and so is each
caption that was put right; the decision then stands in every line of its clip.
"""

import csv
import fcntl
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, get_args

from builder.digests import utc_now
from builder.errors import ConfigError, RunError
from builder.records import FACT, Record
from builder.stages.judge import ByHand
from builder.storage import Storage
from builder.table import Answer, Stamp, Table

TABLE = "overrides"
COLUMNS = ("clip_id", "decision", "captioner", "caption")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # a spreadsheet would take a cell that begins so for more than text


@dataclass(frozen=True, slots=True)
class Decision(Record):
    """`decision` is "keep" or "drop" whatever the conditions say, or ""; captions of `captioners[i]` are `texts[i]`."""

    KEY: ClassVar[str] = "clip_id"
    clip_id: str
    decision: str = ""
    captioners: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    decided_at: str = field(default="", metadata=FACT)

    @property
    def captions(self) -> dict[str, str]:
        return dict(zip(self.captioners, self.texts, strict=True))

    def shown(self) -> dict[str, Any]:
        """As the page takes it."""
        return {"decision": self.decision, "captions": self.captions}


def decision(clip_id: str, said: str, captions: Mapping[str, str]) -> Decision:
    """One that can be kept.

    Raises:
        ConfigError: it is none of those there are, or a text cannot be stored.
    """
    if said not in ("", *get_args(ByHand)):
        raise ConfigError(f"{said!r} is no decision about {clip_id}; write keep, drop, or nothing")
    if any(not text.strip() for text in captions.values()):
        raise ConfigError(f"a caption of {clip_id} is empty; to take a correction back, undo it, or leave its line out")
    texts = [clip_id, *captions, *captions.values()]
    if any("\x00" in text for text in texts) or not all(map(storable, texts)):
        raise ConfigError(f"a caption of {clip_id} holds characters that are no text; write it anew")
    return Decision(clip_id, said, tuple(captions), tuple(captions.values()))


def storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Decisions:
    """All of a run, by clip. Each change is on disk before the call returns."""

    def __init__(self, storage: Storage) -> None:
        self.table: Table[Decision] = Table(storage, TABLE, Decision)
        self.rows = {row.clip_id: row for row in self.table.rows()}

    def add(self, rows: Sequence[Decision]) -> None:
        """Replace what was said of these clips; a row that says nothing takes it back."""
        now = utc_now()
        found = self.rows | {row.clip_id: replace(row, decided_at=now) for row in rows}
        self.rows = {key: row for key, row in sorted(found.items()) if row.decision or row.captioners}
        answers = {key: Answer(row.digest(), [row]) for key, row in self.rows.items()}
        self.table.write(0, Stamp("view", "", of=1), answers)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process decides about this run meanwhile; the kernel lets go of it, however this one ends.

        Raises:
            RunError: another one does.
        """
        path = self.table.storage.path(f"{TABLE}/lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                run = self.table.storage.root
                raise RunError(f"another `osd-build view` has {run} open; stop it, or use its page") from None
            self.rows = {row.clip_id: row for row in self.table.rows()}
            yield


# -- CSV
def to_csv(rows: Mapping[str, Decision]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    table.writerow(COLUMNS)
    for row in rows.values():
        for captioner, caption in row.captions.items() or [("", "")]:
            table.writerow([plain(cell) for cell in (row.clip_id, row.decision, captioner, caption)])
    return text.getvalue()


def from_csv(text: str) -> list[Decision]:
    """What `to_csv` wrote, edited or not.

    Raises:
        ConfigError: names the line that cannot be understood.
    """
    found: dict[str, Decision] = {}
    try:
        table = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
        if set(table.fieldnames or ()) != set(COLUMNS):
            raise ConfigError(f"the first line must be {','.join(COLUMNS)}")
        for line in table:
            where = f"line {table.line_num}"
            if None in line or None in line.values():
                raise ConfigError(f"{where}: it has not {len(COLUMNS)} cells")
            clip, said, captioner, caption = (unplain(line[name]) for name in COLUMNS)
            before = found.get(clip, Decision(clip, said))
            if not clip or before.decision != said or captioner in before.captions or (caption and not captioner):
                raise ConfigError(f"{where}: no clip, two decisions about {clip!r}, or a caption without its captioner")
            found[clip] = decision(clip, said, before.captions | ({captioner: caption} if captioner else {}))
    except csv.Error as error:
        raise ConfigError(f"this is no CSV: {error}") from error
    return list(found.values())


def plain(cell: str) -> str:
    """A spreadsheet shows it and runs nothing."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def unplain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell
