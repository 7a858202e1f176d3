"""Files out of a local Xet store: hf_xet writes one, with its real chunks, where a token route says `local://FOLDER`."""

import hashlib
import struct
import tempfile
import time
from pathlib import Path

HEADER, ENTRY, END = 48, 48, b"\xff" * 32
VERIFIED, HASHED = 1 << 31, 1 << 30  # flags of a file in a shard of the store


def rebuilt(store: Path, sha256: str) -> dict[str, bytes]:
    """The file of this sha256, by it; empty if the store has none."""
    import hf_xet

    found = [(xet, size) for shard in store.rglob("*.mdb") for known, xet, size in files(shard) if known == sha256]
    if not found:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "file")
        wanted = [hf_xet.PyXetDownloadInfo(str(target), *found[0])]
        token = ("x", int(time.time()) + 3600)
        hf_xet.download_files(
            wanted, endpoint=f"local://{store}", token_info=token, token_refresher=None, progress_updater=None
        )
        data = target.read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    return {sha256: data}


def files(shard: Path) -> list[tuple[str, str, int]]:
    """sha256, hash in Xet and size of the files that a shard of the store lists."""
    data, at, found = shard.read_bytes(), HEADER, []
    while (key := data[at : at + 32]) != END:
        flags, entries = struct.unpack("<II", data[at + 32 : at + 40])
        at += ENTRY
        size = sum(struct.unpack("<I", data[at + ENTRY * n + 36 : at + ENTRY * n + 40])[0] for n in range(entries))
        at += ENTRY * entries * (2 if flags & VERIFIED else 1)
        if flags & HASHED:
            found.append((words(data[at : at + 32]), words(key), size))
            at += ENTRY
    return found


def words(data: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", data))
