"""Small datasets to publish: any shards, any licences."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import open_sora_dataset
from builder.card import render
from shards.index import index_row, write_index
from shards.manifest import Header, ShardEntry, build_manifest
from shards.write import write_shard
from small_dataset import FACTS, SCORES, make_sample

FREE, BARRED = "CC-BY-4.0", "LicenseRef-pexels"
LAYOUT: Mapping[str, Mapping[str, str]] = {  # shard -> key -> licence
    "data/pexels/r0001/pexels-train-000000.tar": {"aa-0001": FREE, "aa-0002": FREE},
    "data/pexels/r0001/pexels-train-000001.tar": {"ab-0001": FREE},
    "data/nasa/r0001/nasa-train-000000.tar": {"ba-0001": FREE, "bb-0001": FREE},
}
SECOND = {"data/nasa/r0002/nasa-train-000000.tar": {"bc-0001": FREE}}  # a release later
CAPTIONERS = ("describe", "llava")


def write_dataset(
    folder: Path, layout: Mapping[str, Mapping[str, str]] = LAYOUT, captioners: tuple[str, ...] = CAPTIONERS
) -> Path:
    """Write it anew; the same layout gives the same bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    entries, rows = [], []
    for path, licenses in sorted(layout.items()):
        made = [make_sample(key, path.split("/")[1], license=name, **WRITTEN) for key, name in licenses.items()]
        samples = [replace(s, captions={name: s.captions[name] for name in captioners}) for s in made]
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        written = write_shard(folder / path, samples)
        entries.append(ShardEntry(path, len(samples), written.size_bytes, written.sha256))
        for sample in samples:
            members = [member for member in written.members if member.key == sample.key]
            rows.append(index_row(path, sample.metadata, sample.captions, members))
    sha256 = write_index(folder / "index.parquet", rows, SCORES, captioners)
    manifest = build_manifest(folder, Header("clips", "test 1", SCORES, captioners), entries, sha256)
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    (folder / "README.md").write_text(render(folder, manifest, replace(FACTS, repo_id=str(folder))), encoding="utf-8")
    shutil.copy(open_sora_dataset.__file__, folder / "open_sora_dataset.py")
    return folder


WRITTEN = {"caption_model": "describe", "license_url": ""}
