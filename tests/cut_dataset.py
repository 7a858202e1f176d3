"""A dataset of clips of any length, rate and text, without a pipeline."""

from pathlib import Path
from typing import Any

import made_video
from shards.index import index_row, write_index
from shards.manifest import Header, ShardEntry, build_manifest
from shards.write import Sample, write_shard
from small_dataset import CAPTIONERS, make_metadata

CROP = ("text.s_x", "text.e_x", "text.s_y", "text.e_y", "aesthetic.mean")


def make_dataset(folder: Path, clips: dict[str, dict[str, Any]]) -> Path:
    """Clips by key: `made` is its video, `split` its side, the rest goes into its metadata."""
    entries, rows = [], []
    for split in ("train", "validation"):
        samples = []
        for key, clip in clips.items():
            if clip.get("split", "train") == split:
                made = clip["made"]
                path = made_video.write(folder.parent / f"{key}.mp4", made)
                fps = 24000 / 1001 if made.rate == 24000 else float(made.rate)
                known = {"frames": made.frames, "fps": fps, "duration_s": made.frames / fps}
                shape = dict(zip(("width", "height"), made.size, strict=True))
                more = {name: value for name, value in clip.items() if name not in ("made", "split", "texts")}
                metadata = {**make_metadata(key), **known, **shape, "scores": dict.fromkeys(CROP, 0.0), **more}
                texts = clip.get("texts") or [f"First of {key}.", f"Second of {key}."]
                samples.append(Sample(key, metadata, path, dict(zip(CAPTIONERS, texts, strict=True))))
        if samples:
            name = f"data/pexels/r0001/pexels-{split}-000000.tar"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            written = write_shard(folder / name, samples)
            entries.append(ShardEntry(name, len(samples), written.size_bytes, written.sha256))
            for sample in samples:
                members = [member for member in written.members if member.key == sample.key]
                rows.append(index_row(name, sample.metadata, sample.captions, members))
    sha256 = write_index(folder / "index.parquet", rows, CROP, CAPTIONERS)
    manifest = build_manifest(folder, Header("clips", "test 1", CROP, CAPTIONERS), entries, sha256)
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder
