"""What a user sees of a fault of osd-build itself."""

import errno
import subprocess
import sys

from builder.endings import unwritable

FAULT = """
import sys
from builder import cli
from builder.report import stats

def broken(path):
    error = IndexError("list index\\nout of range")
    error.add_note("stats, while it worked on 1234")
    raise error

stats.stats = broken
sys.argv = ["osd-build", *sys.argv[1:]]
cli.main()
"""


def broken(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", FAULT, *arguments], capture_output=True, text=True, check=False)


def test_a_fault_is_one_paragraph_that_says_how_to_report_it() -> None:
    done = broken("stats", "runs/mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "osd-build: a fault of osd-build itself (stats, while it worked on 1234): IndexError: list index. Everything "
        "finished is kept. Please report it with what this shows: osd-build --debug stats runs/mine\n"
    )


def test_debug_shows_the_traceback() -> None:
    done = broken("--debug", "stats", "runs/mine")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "in broken" in done.stderr


def test_a_folder_that_cannot_be_written_is_no_fault() -> None:
    said = unwritable(OSError(errno.EROFS, "Read-only file system", "/mnt/run/x"))
    assert said.startswith("cannot write /mnt/run/x: Read-only file system; ")
    assert unwritable(OSError(errno.ENOENT, "No such file", "/x")) == unwritable(ValueError("x")) == ""
