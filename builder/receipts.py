"""Receipts: what a unit came to, and, in a file that no stage reads, with how long it took and under which versions."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

from builder.storage import Storage
from builder.table import Stamp

LIBRARIES = ("accelerate", "av", "numpy", "onnxruntime", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Receipt:
    """What a unit came to. Inputs = kept + filtered + failed; `computed` counts what its shares computed, too."""

    table: str
    number: int
    inputs: int
    kept: int
    filtered: int
    failed: int
    computed: int
    cpu_s: float
    wall_s: float
    reasons: Mapping[str, int] = field(default_factory=dict)  # kinds of what was filtered or failed
    stamps: Mapping[int, Stamp] = field(default_factory=dict)


def file(storage: Storage, receipt: Receipt, stage: str, facts: Mapping[str, Any], share: str) -> Receipt:
    """Write `<table>.receipts/part-<number>.json`, with what its shares left there; that of a share beside it.

    Returns the receipt of the whole. Of its shares those count that the same `stage` (a fingerprint) made.
    """
    folder, name = f"{receipt.table}.receipts", f"part-{receipt.number:05d}"
    here = {"host": platform.node(), "pid": os.getpid(), "python": platform.python_version(), "versions": versions()}
    told: dict[str, Any] = {"stage": stage, **facts, **here}
    left = [] if share else [f"{folder}/{f}" for f in storage.list(folder) if f.startswith(f"{name}.share-")]
    shares = [json.loads(storage.read(path)) for path in left]
    if shares := [found for found in shares if found["stage"] == stage]:
        receipt = replace(receipt, computed=receipt.computed + sum(found["computed"] for found in shares))
        told["shares"] = shares
    told |= {key: value for key, value in asdict(receipt).items() if key != "stamps"}
    storage.write(f"{folder}/{name}{f'.share-{share}' if share else ''}.json", json.dumps(told, indent=1).encode())
    for path in left:
        storage.remove(path)
    return receipt


def versions() -> dict[str, str]:
    """Of the libraries that this process has loaded and that may decide what comes out."""
    return {name: version(name) for name in LIBRARIES if name in sys.modules}
