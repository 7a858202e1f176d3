"""osd-build against a peer of the Hub, each command in a process of its own.

The clients read `HF_ENDPOINT` when imported, and importing them takes seconds: a first process does that once and forks
one that runs the command line, or somebody's program, for every line of orders on its standard input.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Done:
    """How a command ended; negative codes are signals."""

    code: int
    out: str
    err: str


class HubClient:
    """`pid` is that of the command that is running."""

    def __init__(self, endpoint: str, home: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1"}
        self.environment = {**inherited, **own, "PYTHONPATH": str(REPOSITORY), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        self.home, self.pid = home, 0

    def __enter__(self) -> Self:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, str(Path(__file__)), "serve"]
        self.process = subprocess.Popen(command, env=self.environment, cwd=self.home, **pipes)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.communicate()

    def run(self, *arguments: object, token: str = "") -> Done:
        """A command line, `osd-build` left out."""
        return self.order(["osd-build", *map(str, arguments)], token)

    def python(self, code: str, *arguments: object, token: str = "") -> str:
        """Somebody else's program; what it printed."""
        done = self.order(["-c", *map(str, arguments)], token, code)
        assert done.code == 0, done.err
        return done.out

    def order(self, argv: list[str], token: str = "", code: str = "") -> Done:
        assert self.process.stdin
        assert self.process.stdout
        files = [self.home / name for name in ("out", "err")]
        order = {"argv": argv, "token": token, "code": code, "files": [*map(str, files)]}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        status = int(self.process.stdout.readline())
        self.pid = 0
        return Done(status, *(file.read_text(encoding="utf-8") for file in files))


def serve() -> None:
    """Answers each order with two lines: the process, and its exit code."""
    import builder.cli
    import builder.push  # noqa: F401  (this is what takes the time)

    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            obey(order)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def obey(order: Mapping[str, Any]) -> None:
    """In the forked process: never returns."""
    from builder.cli import main

    sleep, code = time.sleep, 1
    time.sleep = lambda seconds: sleep(min(seconds, 0.05))  # the clients wait seconds between attempts
    try:
        for number, file in enumerate(order["files"], 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        if order["token"]:
            os.environ["HF_TOKEN"] = order["token"]
        sys.argv = order["argv"]
        if order["code"]:
            exec(order["code"], {"__name__": "__main__"})
            code = 0
        else:
            main()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
