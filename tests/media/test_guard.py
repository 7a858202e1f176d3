import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from builder.errors import ItemError
from builder.media.cut import CutSettings, Span, cut, index
from builder.media.decode import ScanSettings, scan
from builder.media.guard import Guard, Limits
from builder.media.probe import probe
from media import hostile

DEADLINE_S = 20


@pytest.fixture
def guard():
    with Guard() as guard:
        yield guard


def gone(pid: int) -> bool:
    """No such process, or one that only waits for its exit code to be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return gone(pid)


def test_results_and_item_errors_come_back(guard, make, tmp_path):
    path = make(frames=30)
    facts = guard.call(scan, path, tmp_path / "evidence", tmp_path / "strip", ScanSettings())
    assert facts == scan(path, tmp_path / "evidence2", tmp_path / "strip2", ScanSettings())
    assert guard.call(probe, path) == probe(path)
    packets = guard.call(index, path)
    made = guard.call(
        cut, path, tmp_path / "clip.mp4", Span(facts.start_pts, facts.end_pts, 30), CutSettings(), packets
    )
    assert (made.method, made.frames) == ("copy", 30)
    with pytest.raises(ItemError) as caught:
        guard.call(hostile.reject, path)
    assert (caught.value.kind, caught.value.retryable) == ("truncated", False)


def test_one_child_is_kept_and_replaced_after_enough_calls():
    with Guard(Limits(calls=2)) as guard:
        pids = [guard.call(os.getpid) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert os.getpid() not in pids
    assert all(wait_until_gone(pid) for pid in pids)


@pytest.mark.parametrize("hang", [hostile.hang_holding_the_gil, hostile.stop])
def test_a_hang_ends_at_the_wall_limit(guard, hang):
    pid = guard.call(os.getpid)
    with pytest.raises(ItemError) as caught:
        guard.call(hang, wall_s=1)
    assert (caught.value.kind, caught.value.retryable) == ("timeout", True)
    assert "wall_s" in caught.value.message
    assert wait_until_gone(pid)
    assert guard.call(os.getpid) != pid


def test_what_a_hanging_child_started_ends_with_it(guard, tmp_path):
    with pytest.raises(ItemError, match="timeout"):
        guard.call(hostile.hang_with_a_helper, tmp_path / "pid", wall_s=1)
    assert wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_loop_ends_at_the_processor_limit(guard):
    with pytest.raises(ItemError) as caught:
        guard.call(hostile.spin, wall_s=60, cpu_s=0.5)
    assert caught.value.kind == "timeout"
    assert "cpu_s" in caught.value.message


@pytest.mark.parametrize(("death", "how"), [(hostile.crash, "signal 11"), (hostile.leave, "exit code 3")])
def test_a_death_is_an_item_error_and_the_next_call_works(guard, death, how):
    for _ in range(2):
        with pytest.raises(ItemError) as caught:
            guard.call(death)
        assert caught.value.kind == "decoder_crash"
        assert how in caught.value.message
    assert guard.call(os.getpid) != os.getpid()


def test_a_child_that_died_between_calls_is_a_crash_once(guard):
    os.kill(guard.call(os.getpid), signal.SIGKILL)
    with pytest.raises(ItemError, match="decoder_crash"):
        guard.call(os.getpid)
    assert guard.call(os.getpid)


def test_memory_is_limited():
    with Guard(Limits(memory_bytes=256 << 20)) as guard:
        assert guard.call(hostile.eat, 64 << 20) == 64 << 20
        with pytest.raises(ItemError) as caught:
            guard.call(hostile.eat, 512 << 20)
        assert caught.value.kind == "out_of_memory"
        assert guard.call(hostile.eat, 64 << 20) == 64 << 20


def test_a_video_that_needs_too_much_memory_is_an_item_error(make, tmp_path):
    path = make(frames=30, size=(3840, 2160), options={"preset": "ultrafast"})
    with Guard(Limits(memory_bytes=48 << 20)) as guard, pytest.raises(ItemError) as caught:
        guard.call(scan, path, tmp_path / "evidence", tmp_path / "strip", ScanSettings())
    assert caught.value.kind == "out_of_memory"


def test_outputs_are_limited(tmp_path):
    with Guard(Limits(file_bytes=1 << 20)) as guard, pytest.raises(ItemError) as caught:
        guard.call(hostile.write, tmp_path / "large", 2 << 20)
    assert caught.value.kind == "output_too_large"


@pytest.mark.parametrize("fill", [hostile.fill_a_disk, hostile.fill_a_disk_while_muxing])
def test_a_full_disk_is_no_item_error(guard, fill):
    with pytest.raises(OSError) as caught:
        guard.call(fill)
    assert caught.value.errno == errno.ENOSPC


def test_a_bug_comes_back_as_itself_with_the_childs_traceback(guard):
    with pytest.raises(ZeroDivisionError) as caught:
        guard.call(hostile.break_down)
    assert "in break_down" in "".join(caught.value.__notes__)


def test_an_answer_that_cannot_be_sent_is_a_bug(guard):
    with pytest.raises(RuntimeError, match="cannot be sent"):
        guard.call(hostile.unpicklable)
    assert guard.call(os.getpid)


def test_the_child_imports_no_other_part_of_the_builder(guard, make):
    guard.call(probe, make(frames=2))
    assert guard.call(hostile.loaded, ["torch", "polars", "pydantic", "builder.storage", "builder.engine"]) == []


def test_it_works_inside_a_worker_of_a_pool(make, tmp_path):
    path = make(frames=30)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")) as pool:
        assert pool.submit(hostile.guarded_scan, path, tmp_path).result(timeout=60).frames == 30


PARENT = """
import os, sys
from builder.media.guard import Guard
from media import hostile
guard = Guard()
print(guard.call(os.getpid), guard.call(os.getppid), flush=True)
guard.call(getattr(hostile, sys.argv[1]), *map(float, sys.argv[2:]), wall_s=600)
"""


@pytest.mark.parametrize("busy", [["sleep", "600"], ["spin"], ["hang_holding_the_gil"], ["stop"]])
def test_no_process_outlives_a_killed_parent(busy):
    """Not even one that holds the GIL or is stopped: no thread of it could notice."""
    paths = os.pathsep.join(path for path in sys.path if path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *busy], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    assert parent.stdout is not None
    child, server = map(int, parent.stdout.readline().split())
    time.sleep(0.3)
    assert not gone(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until_gone(child)
    assert wait_until_gone(server)
