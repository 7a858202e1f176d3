"""`osd-build rehydrate`: from links to a dataset with videos.

    OUT/data/..., index.parquet, manifest.json, README.md     as `pack` makes them; they verify
    OUT/left_out.jsonl                                        clips without a video, and why
    OUT/.rehydrate/                                           what the links were, and what is being fetched

A tar of links becomes one shard, written whole. Run again with more videos, shards that lack some are made anew.
"""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import ConfigError, ItemError, RunError
from builder.published import dataset_folder, is_published
from builder.rehydration.clips import Cutter, scratch_context
from builder.rehydration.library import Library, Video
from builder.rehydration.listing import finish
from builder.rehydration.sources import Lacking, Sources
from builder.storage import Storage, make_output
from builder.web.limits import Limits
from shards.examine import Expected, examine
from shards.index import Row
from shards.links import NAME as LINKS_NAME
from shards.manifest import Manifest, ShardEntry, read_manifest
from shards.read_links import Linked, links_of, read_links
from shards.write import Sample, write_shard

OWN, LEFT_OUT = ".rehydrate", "left_out.jsonl"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Outcome:
    """`clips` of the links, `made` of them with their video, `same` byte for byte as they were packed once."""

    out: Path
    clips: int = 0
    made: int = 0
    same: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def told(self) -> list[str]:
        same = f", {self.same} cut now are byte for byte as they were packed" if self.same else ""
        lines = [f"{self.made} of {self.clips} clips have their video now{same}: {self.out}"]
        lines += [f"  left out: {count} ({kind})" for kind, count in sorted(self.reasons.items())]
        return lines + ([f"  which, and why: {self.out / LEFT_OUT}"] if self.reasons else [])


@dataclass(frozen=True)
class Origin:
    """A dataset of links in a folder, or mirrored in one."""

    folder: Path
    manifest: Manifest
    shards: Sequence[ShardEntry]

    def clips(self, entry: ShardEntry) -> Iterator[Linked]:
        """Raises RunError where a tar is not what was listed."""
        try:
            yield from read_links(self.folder, entry, self.manifest)
        except (OSError, ValueError, EOFError, tarfile.TarError) as error:
            raise RunError(f"{entry.path}: {error}; fetch it again") from error


def rehydrate(dataset: str, videos: Path | None, out: Path | None, limits: Limits | None) -> Outcome:
    """Cut the clips of a dataset of links (a folder, or `hf://OWNER/NAME[@REVISION]`) out of their source videos.

    They are looked for below `videos`; with `limits` those that are not there are fetched from where they came from.

    Raises:
        ConfigError: the options do not fit, or `out` holds something else.
        RunError: the dataset cannot be read or has no links, no clip got a video, or the disk is full.
    """
    if videos is None and limits is None:
        raise ConfigError("say where the source videos are (--videos FOLDER), or that they may be fetched (--fetch)")
    library = Library(videos) if videos else None
    target = out or default_out(dataset)
    if videos and videos.resolve() in (target.resolve(), *target.resolve().parents):
        raise ConfigError(f"{target} lies in {videos}, which is only read; choose another --out")
    with dataset_folder(dataset) as folder:
        origin = open_origin(dataset, folder)
        storage = claim(target, folder)
        with Sources(library, limits, storage.path(f"{OWN}/videos")) as sources:
            return Rehydration(origin, storage, sources).run()


def open_origin(dataset: str, folder: Path) -> Origin:
    try:
        manifest, links = read_manifest(folder), links_of(folder)
    except (OSError, ValueError) as error:
        raise RunError(f"{dataset} cannot be read: {error}") from error
    if not links.shards:
        raise RunError(f"{dataset} has no links (no {LINKS_NAME}): there is nothing to fill in")
    return Origin(folder, manifest, links.shards)


def default_out(dataset: str) -> Path:
    """Here, whatever folder or repository the links are in."""
    name = dataset.partition("@")[0] if is_published(dataset) else dataset
    return Path(f"{Path(name).resolve().name}-with-videos")


def claim(out: Path, folder: Path) -> Storage:
    """The output folder, if it is empty or an earlier run over the same links left it.

    Raises:
        ConfigError: it holds something else.
    """
    storage, note = Storage(out), f"{OWN}/links.json"
    listing = (folder / LINKS_NAME).read_bytes()
    free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not free and (not storage.exists(note) or storage.read(note) != listing):
        raise ConfigError(f"{out} holds something else; nothing is overwritten: choose another --out")
    make_output(out).sweep()
    storage.write(note, listing)
    return storage


@dataclass
class Rehydration:
    origin: Origin
    storage: Storage
    sources: Sources
    lacking: dict[str, Lacking] = field(default_factory=dict)  # by key of the clip

    def run(self) -> Outcome:
        outcome = Outcome(self.storage.root)
        self.sources.look(self._videos())
        self.storage.remove("manifest.json")  # until it is back, the folder does not claim to be complete
        context, scratch = scratch_context()
        with scratch:
            cutter = Cutter(context)
            try:
                for entry in self.origin.shards:
                    outcome.clips += entry.samples
                    self._fill(entry, cutter)
            finally:
                context.close()
        outcome.same = cutter.same
        self._tell(outcome)
        outcome.made = outcome.clips - sum(outcome.reasons.values())
        if not outcome.made:
            raise RunError("\n".join(["no clip got its video", *outcome.told()[1:]]))
        finish(self.storage, self.origin.manifest, {shard_of(entry): entry for entry in self.origin.shards})
        with suppress(OSError):
            self.sources.kept.rmdir()
        return outcome

    def _videos(self) -> dict[str, Video]:
        """All that are wanted, by sha256. A hash that is none is left out: it would become a file's name."""
        videos: dict[str, Video] = {}
        for entry in self.origin.shards:
            found = {linked.metadata["source_sha256"]: video_of(linked) for linked in self.origin.clips(entry)}
            found = {sha256: video for sha256, video in found.items() if SHA256.fullmatch(sha256)}
            self.sources.uses.update(found.keys())
            videos |= found
        return videos

    def _fill(self, entry: ShardEntry, cutter: Cutter) -> None:
        """Write the shard of one tar of links, unless it is there with all the clips that it can have."""
        clips = {linked.key: video_of(linked) for linked in self.origin.clips(entry)}
        videos = {video.sha256: video for video in clips.values() if SHA256.fullmatch(video.sha256)}
        shard = shard_of(entry)
        there = self._rows(shard)
        lacking = clips.keys() - there.keys()
        self.sources.fetch({clips[key].sha256: clips[key] for key in lacking if clips[key].sha256 in videos}.values())
        if any(clips[key].sha256 in self.sources.found for key in lacking):
            with self.storage.scratch(".tar") as tar, suppress(NothingThereError):
                write_shard(tar, self._samples(entry, cutter, Earlier(self.storage.path(shard), there)))
                self.storage.adopt(tar, shard)
        else:
            self.lacking |= {key: self._why(clips[key]) for key in lacking}
        self.sources.drop(videos)

    def _rows(self, shard: str) -> dict[str, Row]:
        """What an earlier run filled in, by key."""
        if not self.storage.exists(shard):
            return {}
        manifest = self.origin.manifest
        found = examine(self.storage.root, Expected(shard, manifest.scores, manifest.captioners))
        return {} if found.problems else {str(row["key"]): row for row in found.rows}

    def _samples(self, entry: ShardEntry, cutter: Cutter, earlier: "Earlier") -> Iterator[Sample]:
        count = len(earlier.rows)
        for linked in self.origin.clips(entry):
            if linked.key in earlier.rows:
                yield earlier.sample(linked)
                continue
            source = self.sources.found.get(linked.metadata["source_sha256"])
            if source is None:
                self.lacking[linked.key] = self._why(video_of(linked))
                continue
            with self.storage.scratch(".mp4") as path:
                try:
                    sample = cutter.cut(linked, source.absolute(), path)
                except ItemError as error:
                    self.lacking[linked.key] = (error.kind, error.message)
                    continue
                yield sample
                count += 1
        if not count:
            raise NothingThereError

    def _why(self, video: Video) -> Lacking:
        nothing = ("no_hash", f"the links give no sha256 of its source, but {video.sha256[:80]!r}")
        return self.sources.lacking.get(video.sha256, nothing)

    def _tell(self, outcome: Outcome) -> None:
        """List the clips that have no video."""
        with self.storage.scratch() as temporary:
            with temporary.open("w", encoding="ascii") as file:
                for linked in (clip for entry in self.origin.shards for clip in self.origin.clips(entry)):
                    if linked.key in self.lacking:
                        kind, message = self.lacking[linked.key]
                        known = {
                            n: linked.metadata[n]
                            for n in ("source", "site_id", "page_url", "media_url", "source_sha256")
                        }
                        file.write(json.dumps({"key": linked.key, "kind": kind, "message": message, **known}) + "\n")
                        outcome.reasons[kind] = outcome.reasons.get(kind, 0) + 1
            if outcome.reasons:
                self.storage.adopt(temporary, LEFT_OUT)
            else:
                self.storage.remove(LEFT_OUT)


@dataclass(frozen=True)
class Earlier:
    """A shard as an earlier run wrote it, and its rows by key."""

    path: Path
    rows: Mapping[str, Row]

    def sample(self, linked: Linked) -> Sample:
        record, video = (self._read(linked.key, member) for member in ("json", "mp4"))
        return Sample(linked.key, json.loads(record), video, linked.captions)

    def _read(self, key: str, member: str) -> bytes:
        row = self.rows[key]
        with self.path.open("rb") as file:
            file.seek(int(row[f"{member}_offset"]))
            return file.read(int(row[f"{member}_size"]))


class NothingThereError(Exception):
    """None of a shard's clips has a video: there is no shard to write."""


def video_of(linked: Linked) -> Video:
    known = linked.metadata
    return Video(known["source_sha256"], known["source"], known["site_id"], known["media_url"])


def shard_of(entry: ShardEntry) -> str:
    """`links/pexels/r0001/pexels-train-000000.tar` -> `data/pexels/r0001/pexels-train-000000.tar`."""
    return f"data/{entry.path.removeprefix('links/')}"
