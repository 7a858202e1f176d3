"""Downloads as `fetch` does them, for tests: into a part file, and away from there."""

from pathlib import Path

from builder.web.client import Client
from builder.web.download import Download, Wanted, download, exclusive

SEEN = ("Range", "If-Range")


def get(client: Client, url: str, part: Path, wanted: Wanted | None = None) -> tuple[bytes, Download]:
    """The bytes, and what is said of them."""
    with exclusive(part) as file:
        got = download(client, url, file, part, wanted or Wanted())
        body = part.read_bytes()
        file.truncate(0)
    return body, got


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
