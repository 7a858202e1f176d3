"""OpenAI: captions from any server of that API: vLLM, SGLang, `transformers serve`, llama.cpp, or a paid one."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field

from builder.captioning.asking import Asking
from builder.captioning.engine import Said, Sampling
from builder.captioning.served_model import Look, ServedModel
from builder.errors import ConfigError, ItemError, RunError
from builder.stage import execution, settings

if TYPE_CHECKING:
    from builder.web.model_server import ModelServer

MILLION = 1e6


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
    def engine(self) -> ServedModel:
        look = Look(self.image_side, self.image_quality)
        engine = ServedModel(self._server(), self.model, look, self.concurrency)
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
        served = cast(ServedModel | None, vars(self).get("_served"))
        return "; ".join(filter(None, [self.revision, *(served.names if served else ())])) or "unknown"

    def identity(self) -> Mapping[str, str]:
        """Only what is known without asking: a caption stays valid when its server is gone."""
        return {**super().identity(), "revision": self.revision}

    def price(self, said: Said) -> float:
        return (said.tokens_in * self.price_in + said.tokens_out * self.price_out) / MILLION

    def parameters(self, sampling: Sampling) -> dict[str, Any]:
        pictures = {"image_quality": self.image_quality, "image_side": self.image_side}
        return {**super().parameters(sampling), **pictures}

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
