"""OpenAI: captions from any server of that API: vLLM, SGLang, `transformers serve`, llama.cpp, or a paid one."""

import base64
import ipaddress
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from numpy.typing import NDArray
from pydantic import Field

from builder.captioning.asking import Asking
from builder.captioning.engine import Question, Said, Sampling
from builder.errors import ConfigError, ItemError, RunError
from builder.figures import one_line
from builder.stage import execution, settings

if TYPE_CHECKING:
    from builder.web.model_server import ModelServer

MILLION = 1e6
MOST_TOKENS = 1 << 31
REVISION = 200  # characters
LISTED = 12  # models named in an error
# What some servers refuse, and what they know instead: `transformers serve` takes 1 + frequency_penalty for its
# repetition penalty, OpenAI's newer models want the other name of the limit.
INSTEAD: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "repetition_penalty": ("frequency_penalty", lambda value: min(2.0, round(value - 1.0, 6))),
    "max_tokens": ("max_completion_tokens", lambda value: value),
}


@settings
class Server(Asking):
    """Asks `model` of the server at `url` about JPEGs of the frames, none larger than `image_side` pixels.

    The server has to be on this machine or in a private network, or its host be named in `allow_hosts`. Its key, if it
    wants one, is taken from the environment variable `key_env`. Of all processes here `concurrency` requests are under
    way at a time; one that fails is tried `attempts` times and may take `timeout_s`. A kill loses the answers to at
    most `batch_size` questions of each process. `price_in` and `price_out` are what a million tokens cost.

    What a server runs cannot be known for sure: say so in `revision`, and give it another one when the server runs
    something else; then captions are made anew. Another `url` makes nothing anew.
    """

    plugin: ClassVar[str] = "openai"

    revision: str = ""
    image_quality: Annotated[int, Field(ge=1, le=100)] = 90
    image_side: Annotated[int, Field(ge=28, le=8192)] = 1024
    url: str = execution(default="http://127.0.0.1:8000/v1")
    allow_hosts: tuple[str, ...] = execution(default=())
    key_env: str = execution(default="")
    concurrency: Annotated[int, Field(ge=1, le=256)] = execution(default=16)
    batch_size: Annotated[int, Field(ge=1)] = execution(default=64)
    attempts: Annotated[int, Field(ge=1)] = execution(default=6)
    timeout_s: Annotated[float, Field(gt=0)] = execution(default=600.0)
    price_in: Annotated[float, Field(ge=0)] = execution(default=0.0)
    price_out: Annotated[float, Field(ge=0)] = execution(default=0.0)

    def __post_init__(self) -> None:
        from builder.web.address import is_near, normalised

        try:
            host = normalised(self.url).split("/")[2]
        except ItemError as error:
            raise ConfigError(f"url = {error.message}") from None
        if "?" in self.url:
            raise ConfigError("url = ...?...: write what comes before /chat/completions, without parameters")
        host = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        try:
            near = is_near(str(ipaddress.ip_address(host.strip("[]"))))
        except ValueError:
            return  # a name: its addresses are looked at when it is connected to
        if not near and host.strip("[]") not in self.allow_hosts:
            text = f"{host} is outside of your network, and would be sent frames of your videos"
            raise ConfigError(f'url: {text}; if that is what you want, set allow_hosts = ["{host.strip("[]")}"]')

    # -- what Asking asks for
    def engine(self) -> "Served":
        engine = Served(self, self._server())
        vars(self)["_served"] = engine
        try:
            engine.greet()
        except BaseException:
            engine.close()
            raise
        return engine

    @property
    def model_revision(self) -> str:
        """What the user says it is, and what those said they are that have answered here."""
        served = cast("Served | None", vars(self).get("_served"))
        return "; ".join(filter(None, [self.revision, *(served.names if served else ())])) or "unknown"

    def identity(self) -> Mapping[str, str]:
        """Only what is known without asking: a caption stays valid when its server is gone."""
        return {**super().identity(), "revision": self.revision}

    def price(self, said: Said) -> float:
        return (said.tokens_in * self.price_in + said.tokens_out * self.price_out) / MILLION

    @property
    def _parameters(self) -> str:
        more = {"image_quality": self.image_quality, "image_side": self.image_side}
        return json.dumps({**json.loads(super()._parameters), **more})

    def _server(self) -> "ModelServer":
        from builder.web.access import Access
        from builder.web.model_server import ModelServer

        if not self.model:
            raise RunError(f"[{self.table}] names no model; set `model` to one that the server at `url` has")
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        if self.key_env and not key:
            raise RunError(f"[{self.table}] key_env: {self.key_env} is not set; run: export {self.key_env}=...")
        access = Access(self.plugin, key, header="Authorization", scheme="Bearer") if key else None
        limits = replace(
            self.context.limits,
            attempts=self.attempts,
            per_host=self.concurrency,
            connections=self.concurrency,
            requests_per_s=MILLION,
            silence_s=self.timeout_s,
            deadline_s=self.timeout_s,
        )
        return ModelServer(self.url, limits, access, self.allow_hosts)


class Served:
    """A model of a server. Questions are asked in threads; their frames are read by one of them at a time."""

    dtype = ""

    def __init__(self, asker: Server, server: "ModelServer") -> None:
        self.asker, self.server = asker, server
        self.names: list[str] = []  # what those who answered call themselves
        self.threads = ThreadPoolExecutor(asker.concurrency)
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
        model = self.asker.model
        listed = self.server.models()
        entries = {str(entry.get("id", "")): entry for entry in listed or ()}
        if model in entries:
            self._note(entries[model], "owned_by", "root")
            return
        hello = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        try:
            self._ask(hello, Sampling(1), attempts=1)
        except ItemError as error:
            names = sorted(entries)
            more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
            has = f"has {', '.join(names[:LISTED])}{more}" if names else "does not say what it has"
            has += "" if self.server.url.endswith("/v1") else "; most URLs of this kind end in /v1"
            text = f"the server at {self.server.url} does not answer as {model!r}; it {one_line(has)}"
            raise RunError(f"{text} ({error.message})") from None

    def _answer(self, question: Question, sampling: Sampling) -> Said | ItemError:
        try:
            with self.reading:
                images = question.frames()
        except ItemError as error:
            return error
        pictures = [self._picture(image) for image in images]
        content = [*pictures, {"type": "text", "text": question.prompt}]
        messages = [{"role": "user", "content": content}]
        try:
            said = self._ask({"model": self.asker.model, "messages": messages, **chosen(sampling)}, sampling)
        except ItemError as error:
            self._count(error)
            return error
        self._count(None)
        return said

    def _count(self, error: ItemError | None) -> None:
        with self.counting:
            self.lost = self.lost + 1 if error else 0
            if error and self.lost > 2 * self.asker.concurrency:
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
                if name and name != self.asker.model and name not in self.names and len(self.names) < LISTED:
                    self.names.append(name)

    def _picture(self, image: NDArray[Any]) -> dict[str, Any]:
        data = base64.b64encode(jpeg(image, self.asker.image_side, self.asker.image_quality)).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def jpeg(image: NDArray[Any], side: int, quality: int) -> bytes:
    """An RGB picture, made smaller (by areas) where it is longer than `side` pixels."""
    import cv2

    height, width = image.shape[:2]
    if (longest := max(height, width)) > side:
        size = max(1, round(width * side / longest)), max(1, round(height * side / longest))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
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
