"""A run that asks a server, killed and gone on with: what was paid for is kept, and told at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from builder.records import Caption
from builder.storage import Storage
from builder.table import Table
from command_line import OSD_BUILD, SETTINGS, STOPPED, osd_build
from made_video import Made, write
from talking_server import Talking, says

CLIPS, BATCH = 11, 2
CAPTION = """
[detect]
method = "fixed"
frames = 10
[caption.openai]
model = "toy"
url = "{url}"
concurrency = 2
batch_size = {batch}
attempts = 1
price_in = 1000.0
price_out = 10000.0
"""
READY = """
import sys
from pathlib import Path
from builder.execute import execute
if __name__ == "__main__":
    sys.exit(execute(Path(sys.argv[1]), ("crawl", "split", "filter")))
"""


def ready(folder: Path, url: str) -> Path:
    """A run of one video of CLIPS clips, to be captioned."""
    run, videos = folder / "run", folder / "videos"
    run.mkdir()
    videos.mkdir()
    write(videos / "0.mp4", Made(frames=110))
    text = SETTINGS.format(videos=videos).partition("[caption.describe]")[0]
    (run / "build.toml").write_text(text + CAPTION.format(url=url, batch=BATCH))
    (folder / "ready.py").write_text(READY)
    subprocess.run([sys.executable, folder / "ready.py", run], check=True, capture_output=True)
    return run


def killed(run: Path, server: Talking, answers: int) -> None:
    """A caption command, killed with all its processes once the server has been asked so much."""
    process = subprocess.Popen([OSD_BUILD, "caption", run], start_new_session=True, stderr=subprocess.DEVNULL)
    while len(server.chats) < answers and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_what_is_paid_for_is_kept(tmp_path: Path) -> None:
    with Talking("toy") as server:
        run = ready(tmp_path, server.address)
        server.faults.extend([replace(says("A slow answer."), silent_s=0.5)] * 99)
        killed(run, server, 6)
        asked = len(server.chats)
        server.faults.clear()
        stopped = osd_build("caption", run, "--set", "caption.openai.url=http://127.0.0.1:1111/v1")
        assert stopped.returncode == STOPPED and "no server answers at http://127.0.0.1:1111/v1" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        done = osd_build("caption", run)
        assert done.returncode == 0, done.stderr
        assert asked < CLIPS <= len(server.chats) <= CLIPS + BATCH
        rows = Table(Storage(run), "caption.openai", Caption).rows()
        assert len({row.clip_id for row in rows}) == len(rows) == CLIPS
        [clips] = re.findall(r"answers: (\d+) clips, (?:[\d,]+) tokens in and (?:[\d,]+) out, cost ", done.stderr)
        assert int(clips) == len(server.chats) - asked
        [receipt] = [json.loads(p.read_text()) for p in (run / "caption.openai.receipts").iterdir()]
        assert receipt["clips"] == int(clips)
        assert receipt["cost"] == (receipt["tokens_in"] * 1000 + receipt["tokens_out"] * 10000) / 1e6
        again = osd_build("caption", run, "--set", "caption.openai.url=http://127.0.0.1:1111/v1")
        assert again.returncode == 0, "a finished table needs no server"
