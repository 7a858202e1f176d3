"""How a command ends: 0 done, 1 stopped, 2 wrong configuration, 3 done but some items failed, 130 Ctrl-C."""

import errno
import os
import sys
from dataclasses import dataclass
from typing import NoReturn


@dataclass
class Debugging:
    """Whether a fault of osd-build itself shows its traceback: `osd-build --debug`."""

    on: bool = False


debugging = Debugging()


def bug(error: Exception) -> str:
    """What to tell of an error that nobody foresaw."""
    where = "; ".join(getattr(error, "__notes__", ()))
    said = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
    again = " ".join(sys.argv[1:])
    return (
        f"a fault of osd-build itself{f' ({where})' if where else ''}: {said}. Everything finished is kept. "
        f"Please report it with what this shows: osd-build --debug {again}"
    )


def unwritable(error: Exception) -> str:
    """What to tell where a folder cannot be written, which is no fault of ours; empty for anything else."""
    if not isinstance(error, OSError) or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ""
    return f"cannot write {error.filename or 'here'}: {error.strerror}; let this user write there, or move the run"


def fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"osd-build: {message}\n")
    leave(code)


def leave(code: int) -> NoReturn:
    """End here: as the interpreter shuts down, a library's thread may abort it, and the exit code would be a lie."""
    if "multiprocessing.util" in sys.modules:  # else its resource tracker complains of what is left over
        sys.modules["multiprocessing.util"]._run_finalizers(0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
