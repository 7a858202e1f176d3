"""A model that a server answers for: the engine behind the captioner `openai`."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from builder.captioning.engine import Question, Said, Sampling
from builder.errors import ItemError, RunError
from builder.figures import one_line

if TYPE_CHECKING:
    from builder.web.model_server import ModelServer

MOST_TOKENS = 1 << 31
REVISION = 200  # characters
LISTED = 12  # models named in an error
# What some servers refuse, and what they know instead: `transformers serve` takes 1 + frequency_penalty for its
# repetition penalty, OpenAI's newer models want the other name of the limit.
INSTEAD: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "repetition_penalty": ("frequency_penalty", lambda value: min(2.0, round(value - 1.0, 6))),
    "max_tokens": ("max_completion_tokens", lambda value: value),
}


@dataclass(frozen=True)
class Look:
    """How pictures are shown: as JPEGs of `quality` 1 to 100, no side longer than `side` pixels."""

    side: int
    quality: int


class ServedModel:
    """`model` of a server. Questions are asked in threads, `concurrency` at a time; one of them reads frames."""

    dtype = ""

    def __init__(self, server: "ModelServer", model: str, look: Look, concurrency: int) -> None:
        self.server, self.model, self.look, self.concurrency = server, model, look, concurrency
        self.names: list[str] = []  # what those who answered call themselves
        self.threads = ThreadPoolExecutor(concurrency)
        self.reading, self.counting = Lock(), Lock()
        self.lost = 0  # questions in a row that got no answer
        self.unknown: set[str] = set()  # parameters that the server refuses

    # -- required
    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        flying = [self.threads.submit(self._answer, question, sampling) for question in questions]
        try:
            return [future.result() for future in flying]
        except BaseException:
            for future in flying:
                future.cancel()
            raise

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)  # a hung request is not waited for
        self.server.close()

    # -- inside
    def greet(self) -> None:
        """Find out whether the model is there, before any frame is read.

        Raises:
            RunError: it is not; says what is.
        """
        listed = self.server.models()
        entries = {str(entry.get("id", "")): entry for entry in listed or ()}
        if self.model in entries:
            self._note(entries[self.model], "owned_by", "root")
            return
        hello = {"model": self.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            self._ask(hello, Sampling(1), attempts=2)  # some servers hang up after the list they could not make
        except ItemError as error:
            names = sorted(entries)
            more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
            has = f"has {', '.join(names[:LISTED])}{more}" if names else "does not say what it has"
            has += "" if self.server.url.endswith("/v1") else "; most URLs of this kind end in /v1"
            text = f"the server at {self.server.url} does not answer as {self.model!r}; it {one_line(has)}"
            raise RunError(f"{text} ({error.message})") from None

    def _answer(self, question: Question, sampling: Sampling) -> Said | ItemError:
        try:
            with self.reading:
                images = question.frames()
        except ItemError as error:
            return error
        pictures = [self._picture(image) for image in images]
        # some servers of models that only read know no content of parts
        content = [*pictures, {"type": "text", "text": question.prompt}] if pictures else question.prompt
        messages = [{"role": "user", "content": content}]
        try:
            said = self._ask({"model": self.model, "messages": messages, **chosen(sampling)}, sampling)
        except ItemError as error:
            self._count(error)
            return error
        self._count(None)
        return said

    def _count(self, error: ItemError | None) -> None:
        with self.counting:
            self.lost = self.lost + 1 if error else 0
            if error and self.lost > 2 * self.concurrency:
                text = f"the server at {self.server.url} answered none of the last {self.lost} questions"
                raise RunError(f"{text} (last: {error}); see its log, then run the same again") from None

    def _ask(self, body: Mapping[str, Any], sampling: Sampling, attempts: int = 0) -> Said:
        """The answer; parameters that this server does not know are replaced by those it does."""
        tried = self.unknown.copy()
        reading = partial(self._read, sampling)
        try:
            return self.server.chat(known(body, tried), reading, attempts)
        except ItemError as error:
            refused = {name for name in INSTEAD if name in body and name not in tried and name in error.message}
            if error.kind not in ("http_400", "http_422") or not refused:
                raise
        said = self.server.chat(known(body, tried | refused), reading, attempts)
        with self.counting:
            self.unknown |= refused
        return said

    def _read(self, sampling: Sampling, answer: Mapping[str, Any]) -> Said:
        said = read(answer, sampling)
        self._note(answer, "model", "system_fingerprint")
        return said

    def _note(self, answer: Mapping[str, Any], *fields: str) -> None:
        """Keep what the server says it is, each thing once."""
        for value in (answer.get(name) for name in fields):
            name = one_line(value.encode("utf-8", "replace").decode())[:REVISION] if isinstance(value, str) else ""
            with self.counting:
                if name and name != self.model and name not in self.names and len(self.names) < LISTED:
                    self.names.append(name)

    def _picture(self, image: NDArray[Any]) -> dict[str, Any]:
        data = base64.b64encode(jpeg(image, self.look)).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def jpeg(image: NDArray[Any], look: Look) -> bytes:
    """An RGB picture, made smaller (by areas) where it is longer than wanted."""
    import cv2

    height, width = image.shape[:2]
    if (longest := max(height, width)) > look.side:
        size = max(1, round(width * look.side / longest)), max(1, round(height * look.side / longest))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, look.quality])
    assert done
    return data.tobytes()


def chosen(sampling: Sampling) -> dict[str, Any]:
    """The parameters of a request; what is at its default is left to the server."""
    body: dict[str, Any] = {"max_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    if sampling.temperature:
        body |= {"top_p": sampling.top_p, "seed": sampling.seed}
    if sampling.repetition_penalty != 1:
        body["repetition_penalty"] = sampling.repetition_penalty
    return body


def known(body: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
    changed = {INSTEAD[name][0]: INSTEAD[name][1](value) for name, value in body.items() if name in unknown}
    return {name: value for name, value in body.items() if name not in unknown} | changed


def read(answer: Mapping[str, Any], sampling: Sampling) -> Said:
    """What an answer says.

    Raises:
        ItemError: `refused`, the server holds it back; `Later`, `no_answer`, it says nothing that can be understood.
    """
    from builder.web.answers import Later

    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message, reason = choice.get("message"), choice.get("finish_reason")
    if not isinstance(message, dict) or reason in ("abort", "error"):
        said = one_line(json.dumps(answer))[:REVISION]
        raise Later("no_answer", f"the server answered without an answer: {said}; try `osd-build retry RUN`", True)
    if reason == "content_filter":
        raise ItemError("refused", "the server's filter held the answer back; leave this clip out, or ask another one")
    usage = answer.get("usage")
    counts = [tokens(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    cut = reason == "length" or (reason is None and counts[1] >= sampling.max_new_tokens)
    return Said(text_of(message), not cut, *counts)


def text_of(message: Mapping[str, Any]) -> str:
    """A content of one text or of parts; else what a refusal says. Valid Unicode, whatever came."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content).encode("utf-8", "replace").decode().strip()


def tokens(usage: Any, name: str) -> int:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MOST_TOKENS else 0
