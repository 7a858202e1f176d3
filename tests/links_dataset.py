"""A dataset of links to videos that are at hand, made as `pack` and `push` make them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import made_video
from builder.card import render
from builder.media.cut import CutFacts, CutSettings, Span, cut, index
from made_video import Made
from shards.index import Row, index_row, write_index
from shards.links import NAME, Links, write_links
from shards.manifest import Header, ShardEntry, build_manifest, read_manifest
from shards.write import Sample, write_shard
from small_dataset import CAPTIONERS, FACTS, SCORES, make_metadata

VIDEOS: Mapping[str, Made] = {  # name below the videos' folder: <source>/<site id>
    "pexels/101.mp4": Made(options={"g": "10", "bf": "2"}),
    "pexels/102-a.mp4": Made(options={"g": "10", "bf": "0"}, rate=30, frames=40),
    "nasa/201.mkv": Made(options={"g": "12"}, muxer="matroska", rate=24),
    "nasa/202.avi": Made(codec="mpeg4", muxer="avi", options={"g": "8", "bf": "2"}),  # no packet has a pts
}
CLIPS = {  # key -> video, frames, how
    "aa-000": ("pexels/101.mp4", (10, 30), "auto"),
    "aa-001": ("pexels/101.mp4", (33, 47), "encode"),
    "ab-000": ("pexels/102-a.mp4", (0, 40), "auto"),
    "ba-000": ("nasa/201.mkv", (12, 36), "auto"),
    "bb-000": ("nasa/202.avi", (5, 25), "encode"),
}


@dataclass(frozen=True)
class LinksDataset:
    """`folder` holds links and no video, `packed` is the same dataset with videos; `mp4s` their hashes by key."""

    folder: Path
    packed: Path
    videos: Path
    mp4s: Mapping[str, str]


def write_links_dataset(root: Path, media: str = "https://media.example") -> LinksDataset:
    videos = root / "videos"
    for name, made in VIDEOS.items():
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        made_video.write(videos / name, made)
    packed, folder = root / "packed", root / "links"
    rows: dict[str, list[Row]] = {}
    entries = []
    for source in ("nasa", "pexels"):
        shard = f"data/{source}/r0001/{source}-train-000000.tar"
        samples = [sample(root, key, media) for key, clip in CLIPS.items() if clip[0].startswith(source)]
        (packed / shard).parent.mkdir(parents=True)
        written = write_shard(packed / shard, samples)
        entries.append(ShardEntry(shard, len(samples), written.size_bytes, written.sha256))
        for made in samples:
            members = [member for member in written.members if member.key == made.key]
            rows.setdefault(shard, []).append(index_row(shard, made.metadata, made.captions, members))
    finish(packed, rows, entries)
    linked = []
    for entry in entries:
        path = entry.path.replace("data/", "links/")
        (folder / path).parent.mkdir(parents=True)
        size_bytes, sha256 = write_links(folder / path, rows[entry.path], SCORES, CAPTIONERS)
        linked.append(ShardEntry(path, entry.samples, size_bytes, sha256))
    links = Links(tuple(linked))
    (folder / NAME).write_text(links.to_json())
    finish(folder, {}, [])
    totals = read_manifest(packed)
    whole = replace(read_manifest(folder), totals=totals.totals, licenses=totals.licenses)
    (folder / "README.md").write_text(render(packed, whole, replace(FACTS, repo_id=str(folder)), links))
    mp4s = {str(row["key"]): str(row["mp4_sha256"]) for listed in rows.values() for row in listed}
    return LinksDataset(folder, packed, videos, mp4s)


def finish(folder: Path, rows: Mapping[str, list[Row]], entries: list[ShardEntry]) -> None:
    """Index, manifest and card."""
    listed = [row for shard in sorted(rows) for row in rows[shard]]
    sha256 = write_index(folder / "index.parquet", listed, SCORES, CAPTIONERS)
    manifest = build_manifest(folder, Header("clips", "test 1", SCORES, CAPTIONERS), entries, sha256)
    (folder / "manifest.json").write_text(manifest.to_json())
    (folder / "README.md").write_text(render(folder, manifest, replace(FACTS, repo_id=str(folder))))


def sample(root: Path, key: str, media: str) -> Sample:
    name, (start, end), mode = CLIPS[key]
    path, made = root / "videos" / name, VIDEOS[name]
    target = root / f"{key}.mp4"
    facts, times_s = cut_clip(path, target, (start, end), CutSettings("encode" if mode == "encode" else "auto"))
    assert facts.method == ("copy" if mode == "auto" else "encode")
    shown = {n: getattr(facts, n) for n in ("duration_s", "fps", "frames", "width", "height")}
    origin: dict[str, Any] = {
        "source": name.split("/")[0],
        "site_id": Path(name).stem,
        "media_url": f"{media}/{name}",
        "page_url": f"https://pages.example/{name}",
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    span = {
        "start_frame": start + facts.head_frames,
        "end_frame": end - facts.tail_frames,
        "start_s": times_s[0] + facts.head_s,
        "end_s": times_s[1] - facts.tail_s,
        "lost_s": facts.head_s + facts.tail_s,
    }
    ways = {"cut": facts.method, "cut_settings": facts.settings}
    metadata = {**make_metadata(key, origin["source"]), **origin, **span, **shown, **ways}
    assert made.frames >= end
    return Sample(key, metadata, target, {"describe": f"A bar in {key}.", "llava": f"It moves in {key}."})


def cut_clip(
    path: Path, target: Path, frames: tuple[int, int], settings: CutSettings
) -> tuple[CutFacts, tuple[float, float]]:
    """As `pack` does, which knows from `scan` when each frame is shown: of these videos, evenly."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [frame.pts for frame in container.decode(stream) if frame.pts is not None]
        base = stream.time_base
    assert base is not None
    pts = np.array([*shown, shown[-1] + shown[-1] - shown[-2]])
    start, end = (int(pts[frame]) for frame in frames)
    times_s = tuple(float((at - shown[0]) * base) for at in (start, end))
    return cut(path, target, Span(start, end, frames[1] - frames[0]), settings, index(path)), (times_s[0], times_s[1])


def relink(dataset: LinksDataset, **changes: Any) -> None:
    """Write the links anew with other metadata of every clip."""
    import pyarrow.parquet as pq

    listed = pq.read_table(dataset.packed / "index.parquet").to_pylist()
    entries = []
    for entry in Links.from_json((dataset.folder / NAME).read_text()).shards:
        rows = [row | changes for row in listed if row["shard"] == entry.path.replace("links/", "data/")]
        size_bytes, sha256 = write_links(dataset.folder / entry.path, rows, SCORES, CAPTIONERS)
        entries.append(replace(entry, size_bytes=size_bytes, sha256=sha256))
    (dataset.folder / NAME).write_text(Links(tuple(entries)).to_json())
    json.loads((dataset.folder / NAME).read_text())
