"""The one abstraction: a Stage turns rows of one table into rows of another, an input at a time.

A stage is a frozen dataclass. Its fields are its settings (checked by pydantic, one section of build.toml); those made
with `execution(default=...)` say how it runs and never what comes out, so changing them recomputes nothing.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast, dataclass_transform

import pydantic.dataclasses
from pydantic import ConfigDict

from builder.digests import short_hash
from builder.errors import Filtered, ItemError, RunError
from builder.layout import bucket
from builder.meter import Meter
from builder.records import Failure, Record
from builder.storage import Storage

if TYPE_CHECKING:
    from builder.media.guard import Guard
    from builder.web.client import Client
    from builder.web.limits import Limits

R = TypeVar("R", bound=Record)
In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record)
T = TypeVar("T")


def execution(*, default: Any) -> Any:
    """A setting that changes speed or memory but not results."""
    return field(default=default, metadata={"execution": True})


@dataclass_transform(frozen_default=True, field_specifiers=(field, execution))
def settings(cls: type[T]) -> type[T]:
    """Make a class's fields its settings: frozen, validated, unknown keys refused."""
    decorate = pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid"))
    return cast(type[T], decorate(cls))


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage takes."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 1 << 30


@dataclass(frozen=True)
class Item(Generic[In]):
    """One input: the row of the main table, the rows joined to it, and the digest of all of them."""

    row: In
    digest: str
    joined: Mapping[str, Record] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.row.id

    def find(self, record: type[R]) -> R | None:
        """The joined row of this type, if its table has one for this input."""
        return next((row for row in self.joined.values() if isinstance(row, record)), None)

    def get(self, record: type[R]) -> R:
        """The joined row of this type.

        Raises:
            ItemError: `not_joined`, when an earlier stage has no row for this input.
        """
        row = self.find(record)
        if row is None:
            raise ItemError("not_joined", f"{self.id} has no {record.__name__}; see `osd-build status RUN`")
        return row

    def all(self, record: type[R]) -> dict[str, R]:
        """All joined rows of this type, by table name, in the order in which the stage declares its joins."""
        return {name: row for name, row in self.joined.items() if isinstance(row, record)}


@dataclass
class Context:
    """Where a stage runs: the run's storage, its sources, the device, the guarded decoder, the web client.

    `base` is the folder of build.toml, against which its relative paths resolve; `sources` are the `[[source]]`s by
    name, and `roots` the folders of the local ones. Paths stay here: no table holds one. `web` are the limits of the
    client, `meter` hears of progress inside a unit.
    """

    storage: Storage
    base: Path = Path()
    sources: Mapping[str, Any] = field(default_factory=dict)
    roots: Mapping[str, Path] = field(default_factory=dict)
    device: str = "cpu"
    web: "Limits | None" = None
    meter: Meter = field(default_factory=Meter)
    _guard: "Guard | None" = None
    _client: "Client | None" = None
    _making: Lock = field(default_factory=Lock)

    @property
    def guard(self) -> "Guard":
        """The worker's one decoder process, started at first use."""
        if self._guard is None:
            from builder.media.guard import Guard

            self._guard = Guard()
        return self._guard

    @property
    def limits(self) -> "Limits":
        from builder.web.limits import Limits

        return self.web or Limits()

    @property
    def client(self) -> "Client":
        """The worker's one web client, made at first use."""
        with self._making:  # threads of one stage ask for it at the same time
            if self._client is None:
                from builder.web.client import Client

                self._client = Client(self.limits, self.meter)
        return self._client

    def cpu_s(self) -> float:
        """Processor time of this worker and of its decoder process."""
        return time.process_time() + (self._guard.cpu_s if self._guard else 0.0)

    def close(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._client is not None:
            self._client.close()
            self._client = None


@dataclass(frozen=True)
class Stage(Generic[In, Out]):
    """Subclasses are decorated with `@settings` and define `each` or `batch`."""

    # -- required
    name: ClassVar[str]
    reads: ClassVar[str]  # the main table
    writes: ClassVar[type[Record]]
    grain: ClassVar[str]  # how the written table is cut into parts: found, video, clip, shard, one
    # -- optional
    section: ClassVar[str] = ""  # of build.toml, where its settings are; its name if empty
    version: ClassVar[int] = 1  # raise it when the same settings begin to give other results
    needs: ClassVar[Resources] = Resources()
    whole: ClassVar[bool] = False  # sees the whole main table and runs once
    decides: ClassVar[tuple[str, ...]] = ()  # of a whole stage: the grains whose numbers of parts `parts` gives
    atomic: ClassVar[bool] = False  # one changed input redoes its whole unit (a shard is one file)
    flush_s: ClassVar[float] = 10.0  # a kill loses at most so many seconds of work, or one batch
    pinned: ClassVar[bool] = False  # main rows already hold the digest of all that is joined

    @property
    def table(self) -> str:
        """The table written; a stage that may occur twice in a pipeline overrides it."""
        return self.name

    @property
    def joins(self) -> tuple[str, ...]:
        """Side tables, joined by id; a later one may be keyed by a field of an earlier one."""
        return ()

    @property
    def batch_size(self) -> int:
        """Inputs per call of `batch`; an execution setting where a stage has one."""
        return 1

    @property
    def context(self) -> Context:
        return cast(Context, vars(self)["_context"])

    # -- required: one of the two
    def each(self, item: Item[In]) -> Sequence[Out]:
        """Rows for one input. Raise ItemError to fail it, Filtered to leave it out."""
        raise NotImplementedError(f"{type(self).__name__} defines neither each nor batch")

    def batch(self, items: Sequence[Item[In]]) -> list[Sequence[Out] | Failure]:
        """One answer per input, in the same order."""
        return [self.answer(item.id, partial(self.each, item)) for item in items]

    # -- optional
    def setup(self) -> None:
        """On the worker, before the first batch: load the model onto `self.context.device`."""

    def close(self) -> None:
        """On the worker, when it is done with the stage."""

    def digest(self, row: Record) -> str:
        """Of what the stage makes use of in a main or joined row: an input is new when this is."""
        return row.digest()

    def parts(self, rows: Sequence[Out]) -> Mapping[str, int]:
        """Of a whole stage: the numbers of parts it decides, by grain, once all its rows are known."""
        return {}

    def place(self, row: Out, parts: int) -> int:
        """Of a whole stage: the part that a row goes to."""
        return bucket(row.id, parts)

    def files(self, row: Out) -> Mapping[str, int]:
        """The run's files that a row stands for, with their size in bytes (0: not known). Without them it is void."""
        return {}

    def identity(self) -> Mapping[str, str]:
        """What else decides the results: the revision or hash of a model, the hash of a prompt."""
        return {}

    # -- given
    def answer(self, item_id: str, work: Callable[[], Sequence[Out]]) -> Sequence[Out] | Failure:
        """Run `work` for one input; an ItemError, a Filtered or an empty result becomes its Failure."""
        try:
            rows = work()
        except ItemError as error:
            return Failure(item_id, error.kind, error.message, error.retryable)
        except Filtered as error:
            return Failure(item_id, error.kind, error.message, filtered=True)
        except Exception as error:  # a bug, which stops the run; whoever reports it can say on what
            error.add_note(f"{self.table}, while it worked on {item_id}")
            raise
        return rows or Failure(item_id, "nothing", f"{self.table} made nothing of it", filtered=True)

    def sift(
        self, items: Sequence[Item[In]], prepare: Callable[[Item[In]], T]
    ) -> tuple[dict[str, T], dict[str, Failure]]:
        """What `prepare` gives for each input of a batch, by id, and the failures of those it raises ItemError for."""
        ready: dict[str, T] = {}
        failed: dict[str, Failure] = {}
        for item in items:
            try:
                ready[item.id] = prepare(item)
            except ItemError as error:
                failed[item.id] = Failure(item.id, error.kind, error.message, error.retryable)
        return ready, failed

    @contextmanager
    def opened(self, context: Context) -> Iterator[None]:
        """Give the stage its place to run (settings stay frozen; this one slot is not a setting)."""
        vars(self)["_context"] = context
        self.setup()
        try:
            yield
        finally:
            self.close()

    def fingerprint(self) -> str:
        """16 hex digits: name, version, settings that differ from their default and are not execution, identity.

        Computed once: it is asked for with every part, and to hash a model's files takes long.
        """
        known = vars(self)
        if "_fingerprint" not in known:
            known["_fingerprint"] = self._fingerprint_anew()
        return cast(str, known["_fingerprint"])

    def _fingerprint_anew(self) -> str:
        return short_hash([self.name, type(self).__name__, self.version, self.chosen(), dict(self.identity())])

    def chosen(self) -> dict[str, Any]:
        """The settings that decide the results and differ from their default."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.metadata.get("execution")}
        return {k: v for k, v in given.items() if v != self._defaults().get(k, dataclasses.MISSING)}

    def _defaults(self) -> dict[str, Any]:
        return {
            f.name: f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
            for f in dataclasses.fields(self)
        }


def require(module: str, extra: str) -> None:
    """Say how to install what an optional stage needs.

    Raises:
        RunError: the module is not installed.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise RunError(f"{module} is not installed; run: pip install 'open-sora-dataset[{extra}]'")
