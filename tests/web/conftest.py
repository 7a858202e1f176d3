"""What tests of the client share: a site that can misbehave, and limits under which a test does not take long."""

import os
import ssl
from collections.abc import Iterator
from functools import cache

import httpx2
import pytest

from builder.web.client import Client
from builder.web.limits import Limits
from loopback import Site

read_certificates = httpx2.create_ssl_context


@cache
def certificates(path: str) -> ssl.SSLContext:
    return read_certificates()


@pytest.fixture(autouse=True)
def certificates_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each client they would take half the time of a test."""
    monkeypatch.setattr(httpx2, "create_ssl_context", lambda: certificates(os.environ.get("SSL_CERT_FILE", "")))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def limits() -> Limits:
    """The site of tests is on the loopback interface, and there is nobody to be polite to."""
    return Limits(allow_private_hosts=True, requests_per_s=10_000, attempts=3, wait_s=0.01, patience_s=5, silence_s=5)


@pytest.fixture
def client(limits: Limits) -> Iterator[Client]:
    with Client(limits) as client:
        yield client
