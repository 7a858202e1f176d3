"""Whom the captioner `openai` asks, whom it does not, and what a real server says."""

import logging
import socket
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from builder.captioners.server import Server
from builder.captioning.engine import Question, Said, Sampling
from builder.errors import ConfigError, RunError
from builder.stage import Context
from builder.web.model_server import Near
from loopback import Answer, Canary
from models import ASSETS, cached
from sample_clips import texture
from server_questions import GREEDY, asked, captioner, engine, question
from talking_server import CHAT, MODELS, Talking, says, transformers_serve

KEY = "sk-very-secret-0123456789"
PEER = ("fastapi", "uvicorn", "openai", "transformers")


def test_no_server_is_one_line_that_says_what_to_start(context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(
        RunError, match=rf"^no server answers at {url} .*: start one there \(vllm serve MODEL"
    ) as caught:
        asked(Server(url=url, model="toy"), context)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there_is_named_with_those_that_are(server: Talking, context: Context) -> None:
    server.faults.append(Answer(b'{"error": "The model `tooy` does not exist."}', 404))
    with pytest.raises(RunError, match=r"does not answer as 'tooy'; it has other, toy .*tooy. does not exist"):
        asked(captioner(server, model="tooy"), context)
    with pytest.raises(RunError, match=r"caption\.openai\] names no model"):
        asked(captioner(server, model=""), context)


@pytest.mark.parametrize("models", [Answer(b"Internal Server Error", 500), Answer(b"no", 404), Answer(b"[]")])
def test_a_server_without_a_list_is_asked_for_a_word(server: Talking, context: Context, models: Answer) -> None:
    server.at(MODELS, models)
    server.faults.append(says("H", "length", 1, model="toy@abc", system_fingerprint="fp_1"))
    asker = captioner(server)
    assert isinstance(asked(asker, context)[0], Said)
    assert [chat["max_tokens"] for chat in server.chats] == [1, 16]
    assert asker.model_revision == "toy@abc; fp_1"


def test_the_key_reaches_the_server_and_nothing_else(
    server: Talking, context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TOY_KEY", KEY)
    server.faults.extend([Answer(f"bad {KEY}".encode(), 400), Answer(f"no json, {KEY}".encode())])
    server.faults.extend([says("x", model=f"toy {KEY}"), Answer(f"who is {KEY}?".encode(), 401)])
    asker = captioner(server, key_env="TOY_KEY", concurrency=1, attempts=1)
    with asker.opened(context):
        found = engine(asker).say([question("a"), question("b"), question("c")], GREEDY)
        with pytest.raises(RunError, match=r"answered 401 .*`key_env`") as caught:
            engine(asker).say([question("d")], GREEDY)
    assert all(headers["Authorization"] == f"Bearer {KEY}" for path, _, headers in server.requests if path == CHAT)
    told = [*map(str, found), str(caught.value), caplog.text, asker.model_revision, asker.fingerprint(), repr(asker)]
    assert not [text for text in told if KEY in text]
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(RunError, match="TOY_KEY is not set; run: export TOY_KEY="):
        asked(asker, context)


@pytest.mark.parametrize("url", ["http://8.8.8.8/v1", "https://[2001:4860:4860::8888]/v1", "http://169.254.169.254/"])
def test_a_public_address_is_refused_before_anything_is_done(url: str) -> None:
    with pytest.raises(ConfigError, match=r"outside of your network.*allow_hosts"):
        Server(url=url, model="toy")
    Server(url=url, model="toy", allow_hosts=(url.split("/")[2].strip("[]"),))


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://me:sesame@127.0.0.1/v1", "127.0.0.1:8000", "", "http://a/v1?k=sesame"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^url = ") as caught:
        Server(url=url, model="toy")
    assert "sesame" not in str(caught.value)


def test_a_name_with_a_public_address_is_refused_at_the_socket(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Canary("127.0.0.1") as canary:
        both = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (ip, canary.port)) for ip in ("127.0.0.1", "8.8.4.4")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: both)
        with pytest.raises(
            RunError, match=r'^vlm\.example \(8\.8\.4\.4\) is outside .*allow_hosts = \["vlm\.example"\]'
        ):
            asked(Server(url=f"http://vlm.example:{canary.port}/v1", model="toy"), context)
        assert canary.visits() == 0


def test_who_may_be_connected_to() -> None:
    near = Near((), plain_key=True)
    for address in (
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "192.168.0.9",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ):
        near.admit("box", [address])
    for address in ("8.8.8.8", "169.254.169.254", "fe80::1", "2002:808:808::1", "224.0.0.1", "::ffff:8.8.8.8"):
        with pytest.raises(RunError, match="outside of your network"):
            near.admit("box", ["127.0.0.1", address])
    with pytest.raises(RunError, match="for all to read; write https"):
        Near(("Box.example",), plain_key=True).admit("box.example", ["8.8.8.8"])
    Near(("Box.example",), plain_key=False).admit("box.example", ["8.8.8.8"])


def test_a_redirect_is_not_followed(server: Talking, context: Context) -> None:
    with Canary("127.0.0.1") as canary:
        server.at(MODELS, Answer(b"", 307, {"Location": f"http://127.0.0.1:{canary.port}/v1/models"}))
        with pytest.raises(RunError, match=r"redirects to .* which is not followed; correct `url`"):
            asked(captioner(server), context)
        assert canary.visits() == 0


# -- a real server
@pytest.mark.skipif(
    any(find_spec(name) is None for name in PEER), reason="needs transformers[serving]: fastapi, uvicorn, openai"
)
def test_transformers_serve_says_what_the_model_says(context: Context, tmp_path: Path) -> None:
    """The same pictures, as the JPEGs that were sent, shown to the same model in this process."""
    from builder.captioners.hf import Transformers

    model = cached("tiny", ASSETS / "models")
    images = [texture(320, 240, seed=n) for n in range(3)]
    sent = [cv2.imdecode(cv2.imencode(".jpg", image[:, :, ::-1], [1, 90])[1], 1)[:, :, ::-1] for image in images]
    questions = [Question(str(n), "What is it?", lambda n=n: [images[n]]) for n in range(3)]  # type: ignore[misc]
    with transformers_serve(model, tmp_path / "log") as url:
        asker = Server(url=url, model=str(model))
        said = asked(asker, context, *questions, sampling=Sampling(12, repetition_penalty=1.0))
        penalised = asked(asker, context, *questions, sampling=Sampling(12, repetition_penalty=1.3))
        with pytest.raises(RunError, match="does not answer as 'nobody'"):
            asked(Server(url=url, model="nobody"), context)
    local = Transformers(model=str(model))
    with local.opened(context):
        own = [Question(str(n), "What is it?", lambda n=n: [np.ascontiguousarray(sent[n])]) for n in range(3)]  # type: ignore[misc]
        alone = [vars(local)["_engine"].say([one], Sampling(12))[0] for one in own]
    assert said == alone
    assert len({one.text for one in said if isinstance(one, Said)}) > 1
    assert all(isinstance(one, Said) for one in penalised) and penalised != said
    assert asker.model_revision == f"{model}@main"
