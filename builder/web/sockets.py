"""The guard at the socket: a name is resolved once, every address it has must be public, and one of those is
connected to. Nothing in between can change what was checked, and every redirect comes through here again.

It also holds the deadline: a server that sends a byte now and then would never be silent for long.
"""

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import httpcore2
import httpx2

from builder.errors import ItemError
from builder.web.address import is_public

READ_BYTES = 1 << 19  # of the socket at a time; 64 KiB cost half as much processor time again
MOST_ADDRESSES = 4  # of a name that are tried: each may take as long as any
NO_SUCH_HOST = (socket.EAI_NONAME, socket.EAI_NODATA)


class Guarded(httpx2.HTTPTransport):
    """httpx2's transport, whose connections are opened by `Guard`."""

    def __init__(self, guard: "Guard", connections: int) -> None:
        certificates = httpx2.create_ssl_context()
        super().__init__(verify=certificates)  # its other settings; the pool is ours
        self._pool = Pool(
            ssl_context=certificates,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=15.0,
            network_backend=guard,
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Adds the key of an `Access` at the last moment: the request itself, which others tell of, has none."""
        access = request.extensions.get("access")
        if access:
            url = request.url.copy_merge_params({access.query: access.key}) if access.query else request.url
            headers = request.headers.copy()
            if access.header:
                headers[access.header] = access.credentials
            request = httpx2.Request(
                request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
            )
        return super().handle_request(request)


class Pool(httpcore2.ConnectionPool):
    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        kept_s, backend = self._keepalive_expiry, self._network_backend
        return Connection(origin, self._ssl_context, keepalive_expiry=kept_s, network_backend=backend)


class Connection(httpcore2.HTTPConnection):
    """Not used again when the server has sent more than it had announced: its bytes would be taken for the answer to
    the next request, which may be for something else."""

    def has_expired(self) -> bool:
        state = getattr(self._connection, "_h11_state", None)  # a test says when it has another name
        return super().has_expired() or (self.is_idle() and state is not None and bool(state.trailing_data[0]))


class Guard(httpcore2.NetworkBackend):
    """Opens connections to public addresses, or to any with `allow_private`."""

    def __init__(self, allow_private: bool = False) -> None:
        self.allow_private = allow_private
        self.sockets = httpcore2.SyncBackend()
        self.thread = threading.local()

    @contextmanager
    def until(self, deadline: float, name: str = "deadline") -> Iterator[None]:
        """Nothing that this thread reads or connects to meanwhile takes longer than until then (monotonic clock), nor
        than an outer `until` allows. The error of what does says `name`."""
        outer = self.deadline()
        self.thread.deadline = min((deadline, name), outer) if outer else (deadline, name)
        try:
            yield
        finally:
            self.thread.deadline = outer

    def deadline(self) -> tuple[float, str] | None:
        return getattr(self.thread, "deadline", None)

    @contextmanager
    def within(self, timeout: float | None, kind: type[Exception]) -> Iterator[float | None]:
        """`timeout`, or what is left until the deadline.

        Raises:
            kind: nothing is left, at the beginning or at the end.
        """
        if not (deadline := self.deadline()):
            yield timeout
            return
        at, name = deadline
        if (left_s := at - time.monotonic()) <= 0:
            raise kind(name)
        try:
            yield left_s if timeout is None else min(timeout, left_s)
        except kind as error:
            if time.monotonic() < at:
                raise
            raise kind(name) from error

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in self.resolve(host, port)[:MOST_ADDRESSES]:
            try:
                with self.within(timeout, httpcore2.ConnectTimeout) as wait_s:
                    stream = self.sockets.connect_tcp(address, port, wait_s, local_address, socket_options)
                return Timed(stream, self)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore2.NetworkStream:
        raise AssertionError("no URL names a socket file")

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, if all of them may be connected to.

        Raises:
            ItemError: as `admit` does; `no_such_host`, which nobody need ask for again at once.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            if isinstance(error, UnicodeError) or error.errno in NO_SUCH_HOST:
                text = f"there is no host {host} ({error}); check the link, then `osd-build retry RUN`"
                raise ItemError("no_such_host", text, retryable=True) from error
            raise httpcore2.ConnectError(f"{host} cannot be resolved ({error})") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self.admit(host, addresses)
        families = ([a for a in addresses if ":" not in a], [a for a in addresses if ":" in a])
        return [address for pair in zip_longest(*families) for address in pair if address]  # this machine may have one

    def admit(self, host: str, addresses: Sequence[str]) -> None:
        """Refuse a host for one of its addresses.

        Raises:
            ItemError: `private_host`.
        """
        if not self.allow_private and not all(map(is_public, addresses)):
            text = f"{host} is an address inside a private network, which no list may reach; take it out"
            raise ItemError("private_host", f"{text}, or, if the network is yours, set web.allow_private_hosts")


class Timed(httpcore2.NetworkStream):
    """A connection that keeps the reading thread's deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, guard: Guard) -> None:
        self.stream, self.guard = stream, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with self.guard.within(timeout, httpcore2.ReadTimeout) as wait_s:
            return self.stream.read(max(max_bytes, READ_BYTES), wait_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with self.guard.within(timeout, httpcore2.WriteTimeout) as wait_s:
            self.stream.write(buffer, wait_s)

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        with self.guard.within(timeout, httpcore2.ConnectTimeout) as wait_s:
            return Timed(self.stream.start_tls(ssl_context, server_hostname, wait_s), self.guard)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)
