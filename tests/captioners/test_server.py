"""The captioner `openai`, against a server on the loopback interface that fails in every way."""

import dataclasses
import json
from typing import Any

import cv2
import numpy as np
import pytest

from builder.captioners.server import Server
from builder.captioning.engine import Question, Said, Sampling
from builder.errors import ItemError, RunError
from builder.stage import Context
from builder.web.model_server import ANSWER_BYTES
from loopback import MUTE, Answer
from sample_clips import Sample, made, panning, texture
from server_questions import GREEDY, asked, captioner, engine, question
from talking_server import Talking, pictures, says


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("run")
    return [made(folder, panning(texture(seed=n), 30 + n, 2.0), name=f"clip{n}") for n in range(3)]


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


def test_a_question_without_pictures_is_a_plain_text(server: Talking, context: Context) -> None:
    [said] = asked(captioner(server), context, Question("a", "Shorten this.", list))
    assert isinstance(said, Said)
    assert server.chats[0]["messages"] == [{"role": "user", "content": "Shorten this."}]


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
