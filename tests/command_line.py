"""osd-build as a user runs it, and small runs for it. SETTINGS leave out what is slow: reading text, the classifier."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

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
[judge]
keep = ["motion.flow >= 0", "brightness.mean >= 0"]
[caption.describe]
tags = "off"
"""
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
