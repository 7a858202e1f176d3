"""Remove what we wrote and no table refers to any more. A user's own files are never below these folders."""

from pathlib import PurePosixPath

from builder.pipeline import Run
from builder.records import Fetched, Found, Scanned
from builder.stages.fetch import NOTES, PARTS, noted
from builder.stages.find import LISTINGS, SourceSpec, earlier, listing_of
from builder.storage import SCRATCH
from builder.table import Table


def clean(run: Run) -> tuple[int, int]:
    """Returns how many files were removed, and their bytes."""
    scans = Table(run.storage, "scan", Scanned).rows()
    fetched = Table(run.storage, "fetch", Fetched).rows()
    wanted = {name for row in scans for name in (row.evidence, row.strip)}
    wanted |= {row.path for row in fetched if not row.root and f"sha256:{row.sha256}" not in run.taken_down}
    admitted = (noted(run.storage, row.id) for row in Table(run.storage, "admit", Found).rows())
    wanted |= {  # what a crawl that goes on has fetched, and not put into a table yet
        note["path"] for note in admitted if "address" in note and f"sha256:{note['sha256']}" not in run.taken_down
    }
    listed = {row.key for row in Table(run.storage, "find", Found).rows()}  # notes also of what was taken down since
    run.storage.sweep()
    stale = [
        name for name in run.storage.walk("media") if name not in wanted and SCRATCH not in PurePosixPath(name).parts
    ]
    stale += [n for folder in (NOTES, PARTS) for n in run.storage.walk(folder) if PurePosixPath(n).stem not in listed]
    stale += [  # answers nobody asks for now: they may name what goes
        f"{table}/{name}" for table in ("fetch", "scan") for name in run.storage.list(table) if name.startswith("memo-")
    ]
    specs = Table(run.storage, "sources", SourceSpec).rows()
    kept = {listing_of(spec) for spec in specs} | {earlier(run.storage, spec) for spec in specs}
    stale += [name for name in run.storage.walk(LISTINGS) if name not in kept]
    size_bytes = sum(run.storage.path(name).stat().st_size for name in stale)
    for name in stale:
        run.storage.remove(name)
    return len(stale), size_bytes
