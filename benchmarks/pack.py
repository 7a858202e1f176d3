"""What packing by stream copy costs, against `cp` and `sha256sum` of the shard it makes; and how much it writes.

    python benchmarks/pack.py VIDEO...
    python benchmarks/pack.py --camera VIDEO...     encoded first with more bits, as cameras do

Clips begin at key frames, so that all are copied; each video is cut again and again until the shard has --megabytes.
The two take turns, round by round. CPU-seconds of this process, of the decoder process and of the programs; bytes
written are those that the kernel counts as going to storage (write_bytes of proc(5)'s io), of both processes.
"""

import argparse
import hashlib
import itertools
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import av
import numpy as np

from builder.media.packets import index
from builder.media.probe import probe
from builder.records import Caption, Clip, Packed, Planned, Scanned, SourceVideo
from builder.stage import Context, Item
from builder.stages.pack import Pack
from builder.storage import Storage

DEMO = Path(".venv/demo-videos")
SHARD = "data/mine/r0001/mine-train-000000.tar"


def clips(path: Path, seconds: float) -> Iterator[Item[Planned]]:
    """Spans of about so many seconds from key frame to key frame."""
    found, facts = index(path), probe(path)
    if found.refused:
        return
    video_id = hashlib.sha256(path.name.encode()).hexdigest()[:20]
    shown = np.sort(found.pts)
    starts = sorted(found.pts[found.starts].tolist())
    edges = starts[:1]
    for pts in starts[1:]:
        if (pts - edges[-1]) * found.time_base >= seconds:
            edges.append(pts)
    edges.append(int(2 * shown[-1] - shown[-2]))
    stat = path.stat()
    video = SourceVideo(
        *(video_id, "f", "mine", "mine", path.name, "ab" * 32, stat.st_size, "mov", facts.codec),
        *(facts.width, facts.height, facts.rotation, facts.fps, facts.duration_s, False),
        mtime_ns=stat.st_mtime_ns,
    )
    base = f"{found.time_base.numerator}/{found.time_base.denominator}"
    size = facts.width, facts.height
    scan = Scanned(video_id, len(shown), *size, facts.fps, facts.duration_s, 0, edges[-1], base, False, 0, 8, "", "")
    for start, end in itertools.pairwise(edges):
        first, last = (int(np.searchsorted(shown, pts)) for pts in (start, end))
        times = (float(start * found.time_base), float(end * found.time_base))
        clip = Clip(f"{video_id}-{first}", video_id, first, last, start, end, *times, facts.fps, *size)
        caption = Caption(clip.clip_id, "describe", "A clip.", "ok", "rule", "1", "", (), "{}")
        joined = {"split": clip, "scan": scan, "merge": video, "caption.describe": caption}
        yield Item(Planned(clip.clip_id, SHARD, 0, "c"), "d", joined)


def as_a_camera(path: Path, target: Path, crf: str = "10") -> Path:
    """The same pictures with the bits that cameras and stock sites give them: web video has few."""
    options = {"preset": "veryfast", "crf": crf, "g": "50", "keyint_min": "25"}
    with av.open(str(path)) as source, av.open(str(target), "w", "mp4") as out:
        shown = source.streams.video[0]
        track = out.add_stream("libx264", rate=shown.average_rate, options=options)
        track.width, track.height, track.pix_fmt = shown.width & ~1, shown.height & ~1, "yuv420p"
        for frame in source.decode(shown):
            frame.pict_type = 0
            out.mux(track.encode(frame))
        out.mux(track.encode(None))
    return target


def enough(paths: Sequence[Path], seconds: float, megabytes: float) -> list[Item[Planned]]:
    """The clips of all videos, again and again under other names."""
    once = [item for path in paths for item in clips(path, seconds)]
    size_bytes = sum(path.stat().st_size for path in paths)
    items = []
    for number in range(max(1, round(megabytes * 1e6 / size_bytes))):
        for item in once:
            key = f"{item.id}-{number}"
            items.append(Item(Planned(key, SHARD, 0, "c"), "d", item.joined))
    return items


def written_bytes(context: Context) -> int:
    """Of this process and the decoder process, so far."""
    child = context.guard._child
    pids = ["self", *([str(child.process.pid)] if child else [])]
    return sum(int(Path(f"/proc/{pid}/io").read_text().partition("\nwrite_bytes: ")[2].split()[0]) for pid in pids)


def programs(commands: Sequence[Sequence[str | Path]]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(context: Context, items: Sequence[Item[Planned]]) -> tuple[float, int]:
    """CPU-seconds and bytes written."""
    stage = Pack(captions=("caption.describe",), copy_only=True)
    context.guard.call(time.process_time)  # started, as it is after the first shard
    with stage.opened(context):
        cpu_s, bytes_written = context.cpu_s(), written_bytes(context)
        answers = stage.batch(items)
        cpu_s = context.cpu_s() - cpu_s
    failed = [answer for answer in answers if not isinstance(answer, list) or not isinstance(answer[0], Packed)]
    if failed:
        raise SystemExit(f"{len(failed)} clips failed: {failed[0]}")
    return cpu_s, written_bytes(context) - bytes_written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="the demo's, unless given (run `make demo` first)")
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=4, help="of a clip, about")
    parser.add_argument("--camera", action="store_true", help="encode the videos first, at crf 10")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    paths = [path.absolute() for path in options.videos or sorted(DEMO.glob("*.mp4"))]
    with tempfile.TemporaryDirectory(dir=".") as folder, ExitStack() as closing:
        if options.camera:
            paths = [as_a_camera(path, Path(folder, path.name)).absolute() for path in paths]
        roots = {path.name: path for path in paths}
        linked = Path(folder, "videos")
        linked.mkdir()
        for name, path in roots.items():
            (linked / name).symlink_to(path)
        items = enough([linked / name for name in roots], options.seconds, options.megabytes)
        context = Context(Storage(Path(folder, "run").absolute()), roots={"mine": linked.absolute()})
        closing.callback(context.close)
        shard, copied = Path(folder, "run/dataset", SHARD), Path(folder, "copy.tar")
        rounds: list[tuple[float, float, float, float]] = []
        for _ in range(options.rounds):
            cost, bytes_written = ours(context, items)
            size = shard.stat().st_size
            cp = programs([["cp", shard, copied]])
            rounds.append((cost, cp, programs([["sha256sum", shard]]), bytes_written / size))
    print(f"{len(items)} clips copied into a shard of {size / 1e6:.0f} MB, {options.rounds} rounds, medians\n")
    print("| what | CPU-s | CPU-s a GB |\n|---|---:|---:|")
    for number, name in enumerate(("pack", "cp", "sha256sum")):
        cpu_s = median(r[number] for r in rounds)
        print(f"| {name} | {cpu_s:.2f} | {cpu_s / size * 1e9:.2f} |")
    print(f"\nspeed: {median((cp + sha) / cost for cost, cp, sha, _ in rounds):.2f} x cp + sha256sum")
    print(f"bytes written / bytes of the shard: {median(r[3] for r in rounds):.3f}")


if __name__ == "__main__":
    main()
