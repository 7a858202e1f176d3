"""Runs functions of this package in one child process that may crash, hang or eat memory without harm.

A decoder that hangs can hold the GIL, so only killing its process ends it; it leads a process group, so that what it
started ends with it. The child is limited, not jailed: it runs as the same user. It is started by multiprocessing's
forkserver, so it inherits no model, thread or open file, and imports only what the functions it is given need (and the
program's main module, as every multiprocessing child does).
"""

import contextlib
import errno
import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from builder.errors import ItemError

T = TypeVar("T")
POLL_S = 0.25
CPU_GRACE_S = 5  # the kernel's own limit, for a child that outlives the parent watching it
PRELOAD = ["builder.media.cut", "builder.media.decode", "builder.media.guard", "builder.media.probe"]


@dataclass(frozen=True)
class Limits:
    """Of one child. Memory counts address space on top of what the imports take."""

    memory_bytes: int = 4 << 30
    file_bytes: int = 32 << 30
    open_files: int = 256
    calls: int = 200


class Guard:
    """One long-lived child; not for use by several threads at once. Close it, or use it in a `with` statement.

    `cpu_s` is the processor time that finished calls took, of all children so far.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.cpu_s = 0.0
        self._child: _Child | None = None

    def call(self, function: Callable[..., T], *args: Any, wall_s: float = 600.0, cpu_s: float = 600.0) -> T:
        """The result of function(*args), computed in the child. Arguments and result are pickled.

        Raises what the function raises, with the child's traceback as a note, and ItemError `timeout` (retryable),
        `decoder_crash`, `out_of_memory`, `output_too_large`.
        """
        if self._child is None:
            self._child = _Child(self.limits)
        child = self._child
        child.calls += 1
        before = child.cpu_s()
        kept = False
        try:
            answer = child.ask((function, args, cpu_s), wall_s, cpu_s)
            kept = not isinstance(answer, _Raised) or not answer.fatal
        finally:
            self.cpu_s += max(0.0, child.cpu_s() - before)
            if not kept or child.calls >= self.limits.calls:
                self.close()
        if isinstance(answer, _Raised):
            raise answer.exception
        return answer  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the child; the next call starts another."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Raised:
    """The other kind of answer. After a `fatal` one the child is not used again."""

    exception: BaseException
    fatal: bool = False


class _Child:
    """The parent's end: the process, the pipe of questions and answers, and the pipe that only stays open."""

    def __init__(self, limits: Limits) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self._talk, theirs = context.Pipe()
        held, self._life = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, held, limits), daemon=False)
        self.process.start()
        theirs.close()
        held.close()
        self.calls = 0

    def ask(self, question: Any, wall_s: float, cpu_s: float) -> Any:
        self._send(question)
        started, cpu_before = time.monotonic(), self.cpu_s()
        while not wait([self._talk, self.process.sentinel], POLL_S):
            used = time.monotonic() - started
            if used > wall_s:
                raise _timeout(f"more than {wall_s:g} s", "wall_s")
            if self.cpu_s() - cpu_before > cpu_s:
                raise _timeout(f"more than {cpu_s:g} s of processor time", "cpu_s")
        try:
            return pickle.loads(self._talk.recv_bytes())
        except (EOFError, ConnectionError):
            raise self._died() from None

    def cpu_s(self) -> float:
        """Processor time used so far: fields 14 and 15 of proc(5)'s stat; 0 when it is dead."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        if self.process.pid:
            with contextlib.suppress(ProcessLookupError):  # it died, or did not get as far as leading a group
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.process.close()
        self._talk.close()
        self._life.close()

    def _send(self, question: Any) -> None:
        try:
            self._talk.send(question)
        except (BrokenPipeError, ConnectionError):
            raise self._died() from None

    def _died(self) -> ItemError:
        self.process.join(POLL_S * 4)
        code = self.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return ItemError("decoder_crash", f"the decoder process died ({how}) on this video; leave it out")


def _timeout(over: str, setting: str) -> ItemError:
    return ItemError("timeout", f"the video took {over} and was given up; raise {setting} or retry", retryable=True)


def _serve(talk: Connection, held: Connection, limits: Limits) -> None:
    """The child: answers until the parent closes its end, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.setsid()
    _end_with_parent(held)
    _limit(limits)
    while True:
        try:
            function, args, cpu_s = talk.recv()
        except EOFError:
            return
        _limit_cpu(cpu_s)
        try:
            answer = function(*args)
        except BaseException as error:
            answer = _told(error)
        talk.send_bytes(_packed(answer))
        function = args = answer = None


def _end_with_parent(held: Connection) -> None:
    """The kernel kills the group when the parent's end closes: while a call holds the GIL, nothing in here could."""
    pipe = held.fileno()
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if held.poll():  # closed before all that was said
        os.killpg(0, signal.SIGKILL)


def _limit(limits: Limits) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + limits.memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits.open_files,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def short_of_memory(size_bytes: int) -> bool:
    """Whether this process has come so close to its limit that so much more may have been refused.

    Decoders drop a frame that they find no memory for, and call it damaged.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.partition("VmPeak:")[2].split()[0])
    return limit != resource.RLIM_INFINITY and limit - 1024 * peak_kb < size_bytes


def _limit_cpu(cpu_s: float) -> None:
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + cpu_s) + CPU_GRACE_S, hard))


def _told(error: BaseException) -> _Raised:
    """The exception as the parent shall raise it."""
    text = traceback.format_exc()
    if isinstance(error, MemoryError):
        message = "the video needs more memory than memory_bytes allows; raise it or leave the video out"
        return _Raised(ItemError("out_of_memory", message), fatal=True)
    if isinstance(error, OSError):
        if error.errno == errno.EFBIG:
            message = "the video's outputs are larger than file_bytes allows; raise it or leave the video out"
            return _Raised(ItemError("output_too_large", message))
        error = OSError(error.errno, error.strerror, error.filename)  # the plain class: a decoder's may not unpickle
    elif isinstance(error, ItemError):
        return _Raised(error)
    error.add_note(f"In the guarded child:\n{text}")
    return _Raised(error)


def _packed(answer: Any) -> bytes:
    """Pickled, and proven to unpickle; else the reason why not."""
    try:
        packed = pickle.dumps(answer)
        pickle.loads(packed)
        return packed
    except Exception as error:
        what = repr(answer.exception) if isinstance(answer, _Raised) else repr(answer)
        reason = RuntimeError(f"the child's answer cannot be sent back ({error!r}): {what[:2000]}")
        for note in getattr(answer.exception, "__notes__", []) if isinstance(answer, _Raised) else []:
            reason.add_note(note)
        return pickle.dumps(_Raised(reason))
