"""Short names for contents: what makes a row or a setting the same as another."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def per_type(function: F) -> F:
    """functools.cache for a function of types, which mypy takes for unhashable when they are frozen dataclasses."""
    return cast(F, cache(function))


@per_type
def digested(record: type[Any]) -> tuple[str, ...]:
    """The fields of a record that its digest is made of: those that are no FACT."""
    return tuple(f.name for f in dataclasses.fields(record) if not f.metadata.get("fact"))


def utc_now() -> str:
    """As rows hold times: to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short_hash(value: Any) -> str:
    """16 hex digits over a JSON-able value (tuples count as lists, bytes too); floats by their shortest exact form."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=bytes.hex).encode(), digest_size=8).hexdigest()


def content_id(sha256: str) -> str:
    """The id of a thing by its content: 80 bits, fewer than 10^-8 collisions expected in 10^8 videos."""
    return sha256[:20]
