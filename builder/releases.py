"""Releases: what was published, so that it is never given other bytes."""

import dataclasses
import json

from builder.pipeline import Run
from shards.manifest import read_manifest


def close(run: Run, repo: str, commit: str) -> None:
    """Record that the dataset of a run is in `repo` since `commit`."""
    entries = read_manifest(run.storage.path("dataset")).shards
    published = {"repo": repo, "commit": commit, "shards": [dataclasses.asdict(entry) for entry in entries]}
    name = f"releases/{repo.replace('/', '--')}.json"
    run.storage.write(name, f"{json.dumps(published, indent=1, sort_keys=True)}\n".encode())
