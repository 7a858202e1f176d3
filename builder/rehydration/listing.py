"""Index, manifest, card and loader of a rehydrated dataset, from its shards alone."""

import dataclasses
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from builder.card import CaptionerFacts, CardFacts, captions_are, render
from builder.card_facts import NO_SOUND, RULE_BASED
from builder.dataset import LOADER, loader_source
from builder.errors import RunError
from builder.storage import Storage
from shards.examine import Expected, examine
from shards.index import Row, write_index
from shards.manifest import INDEX_NAME, NAME, Header, Manifest, ShardEntry, build_manifest

PRIVATE = (
    "The clips were cut again out of videos that came from elsewhere. What their licences do not let you pass on, you "
    "may not publish: osd-build push leaves these shards out."
)


def finish(storage: Storage, origin: Manifest, shards: Mapping[str, ShardEntry]) -> None:
    """Write everything but the shards; the manifest last. `shards` says of each what it was made from.

    Raises:
        RunError: a shard is not as it was written.
    """
    entries: list[ShardEntry] = []
    captioners: list[CaptionerFacts] = []

    def rows() -> Iterator[Row]:
        for shard in sorted(filter(storage.exists, shards)):
            found = examine(storage.root, Expected(shard, origin.scores, origin.captioners))
            if found.problems:
                raise RunError(f"{storage.path(shard)}: {found.problems[0].what}; remove it, then run the same again")
            own = dataclasses.replace(shards[shard], path=shard, samples=len(found.rows), redistributable=False)
            entries.append(dataclasses.replace(own, size_bytes=found.size_bytes, sha256=found.sha256))
            captioners.extend(() if captioners else captioners_of(origin, found.rows[0]))
            yield from found.rows

    with storage.scratch() as path:
        digest = write_index(path, rows(), origin.scores, origin.captioners)
        storage.adopt(path, INDEX_NAME)
    header = Header(origin.name, f"osd-build {version('open-sora-dataset')}", origin.scores, origin.captioners)
    manifest = build_manifest(storage.root, header, entries, digest)
    facts = CardFacts(
        pretty_name=origin.name,
        repo_id=str(storage.root),
        captions_are=captions_are(captioners),
        funnel=(),
        filters=(),
        captioners=captioners,
        limits=(PRIVATE, NO_SOUND),
    )
    storage.write("README.md", render(storage.root, manifest, facts).encode())
    storage.write(LOADER, loader_source())
    storage.write(NAME, manifest.to_json().encode())


def captioners_of(origin: Manifest, row: Row) -> list[CaptionerFacts]:
    """Of the first one rows tell model and prompt, of the others nothing but the name."""
    model, revision, prompt = (str(row[f"caption_{name}"]) for name in ("model", "revision", "prompt"))
    first = CaptionerFacts(origin.captioners[0], model, revision, prompt, model in RULE_BASED)
    return [first, *(CaptionerFacts(name, name, rule_based=name in RULE_BASED) for name in origin.captioners[1:])]
