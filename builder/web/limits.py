"""`[web]`: how the network is used. None of it changes what a dataset holds, so none of it is fingerprinted."""

from typing import Annotated

from pydantic import Field

from builder.stage import execution, settings

Positive = Annotated[float, Field(gt=0)]


@settings
class Limits:
    """`contact`, a URL or an address, is shown to every server: set it.

    A host sees at most `per_host` requests at a time and `requests_per_s` a second from this machine, whatever runs on
    it. A worker has `connections` downloads open at a time. `silence_s` without a byte or without a whole header, or
    fewer than `min_bytes_per_s` over `slow_s`, end an attempt; after `attempts`, or a single one of `deadline_s`, the
    video fails, to be tried again with `osd-build retry`. Waits between attempts start at `wait_s` and double; a host
    that asks for more than `patience_s` is left alone. `allow_private_hosts` is for tests and intranets: lists from
    strangers could then reach your network.
    """

    contact: Annotated[str, Field(pattern="^[ -~]*$")] = execution(default="")  # what a header may hold
    connections: Annotated[int, Field(ge=1, le=256)] = execution(default=8)
    per_host: Annotated[int, Field(ge=1, le=256)] = execution(default=4)
    requests_per_s: Positive = execution(default=5.0)
    attempts: Annotated[int, Field(ge=1)] = execution(default=4)
    wait_s: Positive = execution(default=1.0)
    patience_s: Positive = execution(default=120.0)
    silence_s: Positive = execution(default=60.0)
    slow_s: Positive = execution(default=20.0)
    min_bytes_per_s: Annotated[float, Field(ge=0)] = execution(default=10_000.0)
    deadline_s: Positive = execution(default=3600.0)
    max_size_bytes: Annotated[int, Field(ge=1)] = execution(default=4 << 30)
    robots: bool = execution(default=True)
    allow_private_hosts: bool = execution(default=False)
