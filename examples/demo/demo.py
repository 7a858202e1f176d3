"""The whole pipeline on a few real videos, in about a minute. `make demo` runs this.

    python examples/demo/demo.py

Makes the footage, serves it on the loopback interface, builds runs/demo from it with the commands a user
would type, and reads a sample back. Kill it at any moment and start it again: it goes on where it was.
"""

import shutil
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import website

RUN = Path("runs/demo")
DATASET = RUN / "dataset"
OSD_BUILD = Path(sys.executable).with_name("osd-build")
SOME_ITEMS_FAILED = 3  # the exit code of a finished run with failures: here the truncated file, on purpose

NEXT = """
Now your own videos (they are read in place and never changed):

    .venv/bin/osd-build init runs/mine --folder /path/to/videos
    .venv/bin/osd-build run runs/mine
    .venv/bin/osd-build status runs/mine
"""


def main() -> None:
    started_s = time.monotonic()
    RUN.mkdir(parents=True, exist_ok=True)
    with website.serving(bind()) as site:
        write_config(site)
        osd_build("run", RUN, allowed=(0, SOME_ITEMS_FAILED))
    osd_build("verify", DATASET)
    osd_build("stats", RUN)
    show_sample()
    print("\nHere it is:")
    for path, what in (
        (DATASET, "the dataset: shards, index.parquet, manifest.json, README.md"),
        (RUN / "build.toml", "the settings it was made with; change one and run `make demo` again"),
        (RUN, "a table for every stage, in parquet, and the media"),
    ):
        print(f"    {path!s:<22}{what}")
    print(f"\nThe demo took {time.monotonic() - started_s:.0f} s.\n{NEXT}")


def bind() -> website.Server:
    """The site at its fixed port. Videos are known by URL: another port would be another set of videos."""
    try:
        return website.Server()
    except OSError as error:
        stop(
            f"port {website.PORT} of {website.HOST} cannot be had ({error.strerror}). Stop what uses it (an "
            "earlier demo?), or choose another and keep to it: OSD_DEMO_PORT=8766 make demo"
        )


def write_config(site: str) -> None:
    """Fill in the template; an unchanged file stays untouched, and so do your changes to it."""
    path = RUN / "build.toml"
    if not path.exists() or f"{site}/" not in path.read_text(encoding="utf-8"):
        template = string.Template((Path(__file__).with_name("build.toml")).read_text(encoding="utf-8"))
        making = path.with_suffix(".making")
        making.write_text(template.substitute(site=site), encoding="utf-8")
        making.replace(path)


def osd_build(verb: str, path: Path, allowed: tuple[int, ...] = (0,)) -> None:
    """Show the command and run it. It dies with this process: without the site its downloads would fail."""
    print(f"\n$ osd-build {verb} {path}", flush=True)
    setpriv = shutil.which("setpriv")  # util-linux, so on every Debian
    guarded = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    code = subprocess.run([*guarded, OSD_BUILD, verb, path], check=False).returncode
    if code not in allowed:
        stop(f"`osd-build {verb} {path}` ended with exit code {code}")


def show_sample() -> None:
    """Read one sample with nothing but `datasets`."""
    from datasets import load_dataset

    print(f"\n$ python: next(iter(load_dataset({str(DATASET)!r}, split='train', streaming=True)))")
    sample = next(iter(load_dataset(str(DATASET), split="train", streaming=True)))
    facts = sample["json"]
    print(
        f"    {sample['__key__']}: {facts['width']} x {facts['height']}, {facts['duration_s']:.1f} s, "
        f"{len(sample['mp4']['bytes']):,} bytes, {facts['license']}, {facts['author']}"
    )
    print(f"    {sample['txt']}")


def stop(message: str) -> NoReturn:
    sys.exit(f"demo: {message}")


if __name__ == "__main__":
    main()
