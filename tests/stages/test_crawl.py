"""Find, admit, fetch and merge together: counts add up, sources stay as they are, nothing is fetched twice."""

import dataclasses
import hashlib
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from builder import registry
from builder.engine import Job
from builder.layout import Layout
from builder.receipts import Receipt
from builder.records import Fetched, Found, SourceVideo
from builder.stage import Context, Stage
from builder.stages.admit import Admit
from builder.stages.fetch import Fetch
from builder.stages.find import Find, Source, SourceSpec
from builder.stages.merge import Merge
from builder.table import Answer as TableAnswer
from builder.table import Stamp, Table
from loopback import Answer, Site, video


class Crawl:
    """The tables of a run as the pipeline wires them."""

    def __init__(self, context: Context, **sources: dict[str, str]) -> None:
        storage = context.storage
        self.sources = Table(storage, "sources", SourceSpec)
        self.find, self.admit = Table(storage, "find", Found), Table(storage, "admit", Found)
        self.fetch = Table(storage, "fetch", Fetched)
        self.merge = Table(storage, "merge", SourceVideo)
        specs = [SourceSpec(name, values.pop("kind"), json.dumps(values)) for name, values in sources.items()]
        made = {s.source: registry.find("sources", Source, s.kind)(**json.loads(s.settings)) for s in specs}
        self.context = dataclasses.replace(context, sources=made)
        self.sources.write(0, Stamp("config", ""), {s.id: TableAnswer(s.digest(), [s]) for s in specs})

    def run(self, number: int) -> list[Receipt]:
        """All units of the stage of this number (find, admit, fetch, merge)."""
        tables: list[Table[Any]] = [self.sources, self.find, self.admit, self.fetch, self.merge]
        grains = {"sources": "one", "find": "found", "admit": "found", "fetch": "found", "merge": "video"}
        main, target = tables[number], tables[number + 1]
        stage: Stage[Any, Any] = (Find(), Admit(), Fetch(), Merge())[number]
        job = Job(stage, main, {}, target, Layout(self.context.storage), grains)
        with job.stage.opened(self.context):
            stamps = {main.name: main.stamps()}
            return [job.run(job.unit(n, stamps)) for n in range(job.units() or 0)]


def tree_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(p.relative_to(folder)): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns, p.stat().st_mode)
        for p in [folder, *folder.rglob("*")]
    }


def test_crawl(context: Context, videos: Path, site: Site) -> None:
    for n, name in enumerate(["a/x.mp4", "b/x.mp4", "-c d;.MP4", "日本.webm"]):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).write_bytes(video(n, container="matroska" if name.endswith("webm") else "mp4"))
    (videos / "copy of x.mp4").write_bytes((videos / "a/x.mp4").read_bytes())
    (videos / "broken.mp4").write_bytes(video()[:300])
    urls = [site.at("/x.mp4", Answer(video(0))), site.at("/y.mp4", Answer(video(9))), site.at("/z.mp4")]
    (context.base / "list.csv").write_text("\n".join(["url", *urls, urls[0] + "#again", "ftp://example.org/a.mp4"]))
    with ExitStack() as stack:
        for folder in (videos, videos / "a", videos / "b"):
            folder.chmod(0o555)
            stack.callback(folder.chmod, 0o755)
        before = tree_of(videos)
        crawl = Crawl(context, mine={"kind": "folder", "path": "videos"}, list={"kind": "urls", "path": "list.csv"})
        receipts = [crawl.run(number) for number in range(4)]
        assert tree_of(videos) == before
    outcomes = ("inputs", "kept", "filtered", "failed")
    counts = [[sum(getattr(receipt, name) for receipt in stage) for name in outcomes] for stage in receipts]
    assert counts == [[2, 2, 0, 0], [11, 10, 1, 0], [10, 7, 0, 3], [7, 5, 2, 0]]
    shared = next(row for row in crawl.merge.rows() if row.sha256 == hashlib.sha256(video(0)).hexdigest())
    assert len(shared.also) == 3  # two files of the folder, and the URL again
    assert len(context.storage.walk("media")) == 2
    text = b"".join(context.storage.read(n) for t in ("find", "fetch", "merge") for n in context.storage.walk(t))
    assert str(context.base).encode() not in text


def test_a_second_crawl_fetches_nothing_again(context: Context, site: Site) -> None:
    urls = [site.at(f"/{n}.mp4", Answer(video(n))) for n in range(3)]
    (context.base / "list.csv").write_text("\n".join(["url", *urls[:2]]))
    first = Crawl(context, list={"kind": "urls", "path": "list.csv"})
    for number in range(4):
        first.run(number)
    rows = {row.found_id: row for row in first.fetch.rows()}
    (context.base / "list.csv").write_text("\n".join(["url", urls[2], *urls[:2]]))
    second = Crawl(context, list={"kind": "urls", "path": "list.csv"})
    second.run(0)
    second.run(1)
    assert sum(receipt.computed for receipt in second.run(2)) == 1
    assert [site.asked(f"/{n}.mp4") for n in range(3)] == [1, 1, 1]
    assert rows.items() <= {row.found_id: row for row in second.fetch.rows()}.items()
