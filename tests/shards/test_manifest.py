"""The manifest: complete, the same for the same dataset, and not trusted when it comes from elsewhere."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from open_sora_dataset import NewerFormatError
from shards.manifest import Header, Manifest, ShardEntry, build_manifest, read_manifest
from small_dataset import CAPTIONERS, LAYOUT, SCORES, SmallDataset

HEADER = Header("clips", "test 1", SCORES, CAPTIONERS)


def test_it_says_what_lies_in_the_folder(intact: SmallDataset) -> None:
    manifest = read_manifest(intact.folder)
    assert {entry.path: entry.samples for entry in manifest.shards} == {k: len(v) for k, v in LAYOUT.items()}
    for entry in manifest.shards:
        data = (intact.folder / entry.path).read_bytes()
        assert (entry.size_bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    index = (intact.folder / "index.parquet").read_bytes()
    assert manifest.index_sha256 == hashlib.sha256(index).hexdigest()
    assert manifest.totals.samples == 5
    assert manifest.totals.duration_s == 5 * 0.25
    assert manifest.licenses == {"CC-BY-4.0": 2, "Pexels": 3}
    assert (manifest.scores, manifest.captioners) == (tuple(sorted(SCORES)), CAPTIONERS)


def test_same_dataset_same_text_whatever_the_order_of_the_shards(intact: SmallDataset) -> None:
    manifest = read_manifest(intact.folder)
    again = build_manifest(intact.folder, HEADER, manifest.shards[::-1], manifest.index_sha256)
    assert again.to_json() == (intact.folder / "manifest.json").read_text()
    assert Manifest.from_json(again.to_json()) == again


def test_shards_that_the_index_does_not_know_are_refused(intact: SmallDataset) -> None:
    manifest = read_manifest(intact.folder)
    extra = ShardEntry("data/x/x.tar", 1, 1, "")
    wrong = dataclasses.replace(manifest.shards[0], samples=9)
    for shards in ([*manifest.shards, extra], manifest.shards[1:], [wrong, *manifest.shards[1:]]):
        with pytest.raises(ValueError, match="disagree about data/"):
            build_manifest(intact.folder, HEADER, shards, "")


@pytest.mark.parametrize("path", ["../a.tar", "/data/a/a.tar", "data/../a.tar", "data/a/a.zip", "data/a.tar", ""])
def test_paths_out_of_the_folder_are_refused(intact: SmallDataset, path: str) -> None:
    fields: dict[str, Any] = json.loads(read_manifest(intact.folder).to_json())
    fields["shards"][0]["path"] = path
    with pytest.raises(ValueError, match="shard path"):
        Manifest.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format_version": "1"}', '{"format_version": 1}'])
def test_what_is_no_manifest_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        Manifest.from_json(text)


def test_a_newer_one_is_refused_by_name(intact: SmallDataset) -> None:
    fields = {**json.loads(read_manifest(intact.folder).to_json()), "format_version": 2, "unheard": "of"}
    with pytest.raises(NewerFormatError, match=r"manifest\.json has format_version 2"):
        Manifest.from_json(json.dumps(fields))
