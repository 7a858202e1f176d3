"""The captioner `openai`, against a server on the loopback interface that fails in every way, and a real one."""

import dataclasses
import json
import logging
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from builder.captioners.server import Server
from builder.captioning.engine import Question, Said, Sampling
from builder.captioning.metered import Metered
from builder.errors import ConfigError, ItemError, RunError
from builder.stage import Context
from builder.storage import Storage
from builder.web.limits import Limits
from builder.web.model_server import ANSWER_BYTES, Near
from loopback import MUTE, Answer, Canary
from models import ASSETS, cached
from sample_clips import Sample, made, panning, texture
from talking_server import CHAT, MODELS, Talking, pictures, says, transformers_serve

KEY = "sk-very-secret-0123456789"
GREEDY = Sampling(max_new_tokens=16)
PEER = ("fastapi", "uvicorn", "openai", "transformers")


@pytest.fixture
def server() -> Iterator[Talking]:
    with Talking("toy", "other") as talking:
        yield talking


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("run")
    return [made(folder, panning(texture(seed=n), 30 + n, 2.0), name=f"clip{n}") for n in range(3)]


def captioner(server: Talking, **settings: Any) -> Server:
    return Server(**{"url": server.address, "model": "toy", "concurrency": 4, "attempts": 3, **settings})


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(Storage(tmp_path), web=Limits(wait_s=0.01, patience_s=2.0))


def question(name: str = "a", pictures: int = 1) -> Question:
    images = [np.full((48, 64, 3), 40 * n, np.uint8) for n in range(pictures)]
    return Question(name, f"What is {name}?", lambda: images)


def asked(asker: Server, context: Context, *questions: Question, sampling: Sampling = GREEDY) -> list[Said | ItemError]:
    with asker.opened(context):
        return engine(asker).say(list(questions) or [question()], sampling)


def engine(asker: Server) -> Metered:
    found: Metered = vars(asker)["_engine"]
    return found


# -- an ordinary day
def test_every_clip_gets_the_answer_to_its_own_pictures(server: Talking, clips: list[Sample]) -> None:
    asker = captioner(server, frames_per_clip=2, image_side=320, max_new_tokens=9, revision="mine")
    with asker.opened(clips[0].context):
        answers = asker.batch([clip.judged() for clip in clips])
    rows = [rows[0] for rows in answers if not hasattr(rows, "kind")]
    assert [row.clip_id for row in rows] == [clip.clip.clip_id for clip in clips]
    assert len({row.text for row in rows}) == 3 and {row.tokens for row in rows} == {7}
    assert (rows[0].model, rows[0].revision, rows[0].captioner) == ("toy", "mine; lab; org/toy", "openai")
    assert json.loads(rows[0].parameters).items() >= {"image_quality": 90, "image_side": 320, "frames": 2}.items()
    chat = server.chats[0]
    assert chat["max_tokens"] == 9 and chat["temperature"] == 0 and chat["model"] == "toy"
    sizes = {cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape for jpeg in pictures(chat)}
    assert len(pictures(chat)) == 2 and sizes == {(180, 320, 3)}


def test_an_answer_tells_whether_it_ended_and_what_it_took(server: Talking, context: Context) -> None:
    server.faults.extend([says("Cut", "length", 16), says("No reason", None, 16), says("No reason", None, 5)])
    found = [asked(captioner(server), context)[0] for _ in range(3)]
    assert found == [Said("Cut", False, 100, 16), Said("No reason", False, 100, 16), Said("No reason", True, 100, 5)]


def test_sampling_is_passed_on(server: Talking, context: Context) -> None:
    asked(captioner(server), context, sampling=Sampling(5, 0.7, 0.9, 1.1, 3))
    wanted = {"max_tokens": 5, "temperature": 0.7, "top_p": 0.9, "seed": 3, "repetition_penalty": 1.1}
    assert server.chats[0].items() >= wanted.items()


def test_a_parameter_that_the_server_refuses_is_replaced(server: Talking, context: Context) -> None:
    server.faults.append(Answer(b'{"detail": "Unexpected fields: {\'repetition_penalty\'}"}', 422))
    asker = captioner(server, concurrency=1)
    found = asked(asker, context, question("a"), question("b"), sampling=Sampling(5, repetition_penalty=1.2))
    assert all(isinstance(said, Said) for said in found)
    assert [chat.get("frequency_penalty") for chat in server.chats] == [None, 0.2, 0.2]
    assert "repetition_penalty" not in server.chats[2]


@pytest.mark.parametrize(
    "content, text",
    [
        ([{"type": "text", "text": "In "}, {"type": "text", "text": "parts"}, 3], "In parts"),
        (None, ""),
        ("  lone \ud800 half ", "lone ? half"),
        (17, "17"),
    ],
)
def test_whatever_is_said_is_a_text(server: Talking, context: Context, content: Any, text: str) -> None:
    server.faults.append(says(content, usage={"prompt_tokens": "many", "completion_tokens": -1}))
    assert asked(captioner(server), context) == [Said(text, True, 0, 0)]


def test_what_it_costs_is_counted(server: Talking, context: Context) -> None:
    asker = captioner(server, price_in=2.0, price_out=10.0)
    asked(asker, context, question("a"), question("b"))
    talk = context.meter.talk
    assert (talk.clips, talk.tokens_in, talk.tokens_out) == (2, 200, 14)
    assert talk.cost == pytest.approx((200 * 2 + 14 * 10) / 1e6)


def test_what_decides_the_text_is_in_the_fingerprint(server: Talking, context: Context) -> None:
    asker = Server(model="toy")
    same = {"url": "http://127.0.0.1:9999/v1", "concurrency": 2, "price_in": 3.0, "timeout_s": 5.0, "key_env": "X"}
    assert dataclasses.replace(asker, **same).fingerprint() == asker.fingerprint()
    for change in ({"revision": "2"}, {"image_quality": 80}, {"image_side": 512}, {"model": "other"}, {"prompt": "?"}):
        assert dataclasses.replace(asker, **change).fingerprint() != asker.fingerprint()
    opened = captioner(server)
    with opened.opened(context):
        engine(opened).say([question()], GREEDY)
        assert opened.fingerprint() == asker.fingerprint()  # whatever the server calls itself


# -- a bad day
FAULTS = {
    "rate": Answer(b"slow down", 429, {"Retry-After": "0.1"}),
    "rate-date": Answer(b"slow down", 429, {"Retry-After": "1"}),
    "broken": Answer(b"Internal Server Error", 500),
    "loading": Answer(b'{"error": "loading"}', 503),
    "cut": dataclasses.replace(says("This is cut"), cut=40, keep=False),
    "cut-chunks": dataclasses.replace(says("This is cut"), cut=40, keep=False, chunked=True),
    "reset": dataclasses.replace(says("This is cut"), cut=40, keep=False, reset=True),
    "silent": MUTE,
    "stops": dataclasses.replace(says("This is cut"), cut=40, stuck=True),
    "no-http": Answer(raw=b"\x16\x03\x01\x00garbage\r\n\r\n"),
    "no-json": Answer(b"<html>Welcome</html>"),
    "half-json": Answer(b'{"choices": [{"message": {"content": "Half'),
    "deep-json": Answer(b"[" * 100_000),
    "list": Answer(b"[1, 2]"),
    "error-200": Answer(b'{"error": {"message": "overloaded"}}'),
    "no-choice": Answer(b'{"choices": []}'),
    "odd-choice": Answer(b'{"choices": {"a": 1}, "usage": 7}'),
    "aborted": says("Abor", "abort"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_it_is_asked_again(server: Talking, context: Context, fault: str) -> None:
    server.faults.append(FAULTS[fault])
    [said] = asked(captioner(server, timeout_s=0.5 if fault in ("silent", "stops") else 30), context)
    assert isinstance(said, Said) and said.text.startswith("It shows"), said
    assert len(server.chats) == 2


@pytest.mark.parametrize("fault, kind", [("broken", "http_500"), ("cut", "cut_short"), ("no-json", "no_answer")])
def test_a_fault_that_stays_is_that_of_one_clip(server: Talking, context: Context, fault: str, kind: str) -> None:
    server.faults.extend([FAULTS[fault]] * 3)
    failed, said = asked(captioner(server, concurrency=1), context, question("a"), question("b"))
    assert isinstance(failed, ItemError) and (failed.kind, failed.retryable) == (kind, True)
    assert isinstance(said, Said)


@pytest.mark.parametrize(
    "answer, kind",
    [
        (Answer(b'{"error": "context is 4096 tokens"}', 400), "http_400"),
        (Answer(b'{"error": "too large"}', 413), "http_413"),
        (says("x" * (ANSWER_BYTES + 1)), "too_large"),
        (says("", "content_filter"), "refused"),
    ],
)
def test_what_will_not_change_is_not_asked_again(server: Talking, context: Context, answer: Answer, kind: str) -> None:
    server.faults.append(answer)
    failed, said = asked(captioner(server, concurrency=1), context, question("a"), question("b"))
    assert isinstance(failed, ItemError) and (failed.kind, failed.retryable) == (kind, False)
    assert isinstance(said, Said) and len(server.chats) == 2


def test_a_clip_without_frames_is_not_asked_about(server: Talking, context: Context) -> None:
    def none() -> list[Any]:
        raise ItemError("not_joined", "no frames")

    failed, said = asked(captioner(server), context, Question("x", "?", none), question("b"))
    assert isinstance(failed, ItemError) and failed.kind == "not_joined"
    assert isinstance(said, Said) and len(server.chats) == 1


def test_a_server_that_answers_nothing_more_ends_the_run(server: Talking, context: Context) -> None:
    server.faults.extend([FAULTS["broken"]] * 100)
    asker = captioner(server, concurrency=2, attempts=1)
    with pytest.raises(RunError, match=r"none of the last 5 questions .*http_500.*run the same again"):
        asked(asker, context, *(question(str(n)) for n in range(20)))
    assert len(server.chats) <= 8


def test_no_more_requests_at_a_time_than_allowed(server: Talking, context: Context) -> None:
    server.faults.extend([dataclasses.replace(says("Slow"), silent_s=0.05)] * 12)
    askers = [captioner(server, concurrency=3), captioner(server, concurrency=3)]
    with askers[0].opened(context), askers[1].opened(context):
        served = [asker.engine() for asker in askers]
        flying = [one.threads.submit(one.say, [question(str(n))], GREEDY) for one in served for n in range(2)]
        flying += [one.threads.submit(one._answer, question(str(n)), GREEDY) for one in served for n in range(4)]
        assert all(future.result() for future in flying)
        for one in served:
            one.close()
    assert server.most_at_once <= 3


# -- who is asked
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
