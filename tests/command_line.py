"""osd-build as a user runs it, and small runs for it. SETTINGS leave out what is slow (reading text, the classifier),
and let videos be alike, as those made here are."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.execute import open_run
from builder.records import Failure, Fetched, Found, Record, SourceVideo
from builder.report.funnel import funnel
from builder.storage import Storage
from builder.table import Table

OSD_BUILD = Path(sys.executable).with_name("osd-build")
SETTINGS = """
name = "zoo"
[[source]]
kind = "folder"
name = "zoo"
path = "{videos}"
license = "CC0-1.0"
[split]
min_s = 0.2
[score]
use = ["motion", "brightness"]
[dedupe]
on = false
[filter]
keep = ["motion.flow >= 0", "brightness.mean >= 0"]
[caption.describe]
tags = "off"
"""
CRAWL = """
name = "crawl"
[web]
requests_per_s = 10000
attempts = 2
wait_s = 0.05
{settings}
"""
TABLES: Mapping[str, type[Record]] = {"find": Found, "admit": Found, "fetch": Fetched, "merge": SourceVideo}
SOME_FAILED, STOPPED, WRONG = 3, 1, 2


def osd_build(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    return subprocess.run(
        [OSD_BUILD, *args], check=False, capture_output=True, text=True, env=environment, cwd=cwd, timeout=100
    )


def write_run(folder: Path, videos: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "build.toml").write_text(SETTINGS.format(videos=videos))
    return folder


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and modification time of every file."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


# -- runs that crawl
def write_crawl(folder: Path, *sources: Mapping[str, Any], settings: str = "") -> Path:
    """A run over these sources. `settings` are more lines of [web], then other sections."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = ("\n".join(f"{name} = {json.dumps(value)}" for name, value in source.items()) for source in sources)
    text = CRAWL.format(settings=settings) + "".join(f"\n[[source]]\n{entry}\n" for entry in entries)
    (folder / "build.toml").write_text(text)
    return folder


def listing(path: Path, *rows: str | Mapping[str, str]) -> dict[str, Any]:
    """Write a list, of URLs or of rows, beside the run folder; its source."""
    entries = [{"url": row} if isinstance(row, str) else row for row in rows]
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(name for entry in entries for name in entry)))
    table.writeheader()
    table.writerows(entries)
    path.write_text(text.getvalue())
    return {"kind": "urls", "name": path.stem, "path": f"../{path.name}"}


def stock(url: str) -> list[dict[str, Any]]:
    """A source for each of the three sites that `stock_sites` serves there."""
    apis = [{"kind": kind, "query": "sea", "api": url} for kind in ("pexels", "pixabay")]
    return [*apis, {"kind": "mixkit", "categories": ["nature"], "address": url}]


def crawl(run: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Of sites on this machine."""
    return osd_build("crawl", run, "--allow-private-hosts", *args)


def rows(run: Path, table: str) -> list[Any]:
    return Table(Storage(run), table, TABLES[table]).rows()


def left_out(run: Path, table: str) -> dict[str, Failure]:
    """What has no row in a table of the crawl, by id."""
    found: Table[Any] = Table(Storage(run), table, TABLES[table])
    return {key: failure for n in found.parts() for key, _, failure in found.outcomes(n) if failure}


def counts(run: Path) -> dict[str, tuple[int, int, int, int]]:
    """Of each stage of the crawl: in, kept, filtered, failed."""
    return {c.table: (c.inputs, c.kept, c.filtered, c.failed) for c in funnel(open_run(run)) if c.table in TABLES}


def lost(run: Path) -> list[str]:
    """Files that the videos of a run should have and have not."""
    return [row.path for row in rows(run, "merge") if not row.root and not (run / row.path).is_file()]
