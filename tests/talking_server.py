"""An OpenAI-compatible server on the loopback interface that says what it was shown, and fails as told."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopback import Answer, Site

CHAT, MODELS = "/v1/chat/completions", "/v1/models"


class Talking(Site):
    """`faults` are given to the next chats in turn. `chats` are the bodies of all that were answered or failed."""

    def __init__(self, *models: str, faults: Sequence[Answer] = (), tokens: int = 7) -> None:
        super().__init__()
        self.faults, self.tokens = deque(faults), tokens
        self.chats: list[dict[str, Any]] = []
        listed = {"object": "list", "data": [{"id": name, "owned_by": "lab", "root": f"org/{name}"} for name in models]}
        self.at(MODELS, Answer(json.dumps(listed).encode()))

    @property
    def address(self) -> str:
        return f"{self.url}/v1"

    def reply(self, path: str, body: bytes) -> Answer:
        if path != CHAT:
            return super().reply(path, body)
        chat = json.loads(body)
        with self.lock:
            self.chats.append(chat)
            fault = self.faults.popleft() if self.faults else None
        return fault or says(f"It shows {seen(chat)}.", tokens=self.tokens)


def seen(chat: dict[str, Any]) -> str:
    """Names the pictures and the prompt: other ones, another answer."""
    return hashlib.sha256(json.dumps(chat["messages"]).encode()).hexdigest()[:12]


def pictures(chat: dict[str, Any]) -> list[bytes]:
    """The JPEGs of a chat."""
    parts = [part["image_url"]["url"] for part in chat["messages"][0]["content"] if part["type"] == "image_url"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in parts)
    return [base64.b64decode(url.partition(",")[2]) for url in parts]


def says(content: Any, reason: str | None = "stop", tokens: int = 7, **more: Any) -> Answer:
    """A whole answer. `more` are fields of it beside the usual ones."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}
    usage = {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}
    answer = {"object": "chat.completion", "model": "toy", "choices": [choice], "usage": usage, **more}
    return Answer(json.dumps(answer).encode(), keep=True)


@contextmanager
def transformers_serve(model: Path, log: Path) -> Iterator[str]:
    """The real `transformers serve` for one model, its URL; nothing else of this user is looked at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", model, "--port", str(port)]
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent / "hub"), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--device", "cpu"], env=variables, stdout=output, stderr=output
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(f"the server never answered: {log.read_text()}")
