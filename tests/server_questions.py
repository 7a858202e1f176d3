"""Questions to a server of models, through the captioner `openai`."""

from typing import Any

import numpy as np

from builder.captioners.server import Server
from builder.captioning.engine import Question, Said, Sampling
from builder.captioning.metered import Metered
from builder.errors import ItemError
from builder.stage import Context
from talking_server import Talking

GREEDY = Sampling(max_new_tokens=16)


def captioner(server: Talking, **settings: Any) -> Server:
    return Server(**{"url": server.address, "model": "toy", "concurrency": 4, "attempts": 3, **settings})


def question(name: str = "a", pictures: int = 1) -> Question:
    images = [np.full((48, 64, 3), 40 * n, np.uint8) for n in range(pictures)]
    return Question(name, f"What is {name}?", lambda: images)


def asked(asker: Server, context: Context, *questions: Question, sampling: Sampling = GREEDY) -> list[Said | ItemError]:
    with asker.opened(context):
        return engine(asker).say(list(questions) or [question()], sampling)


def engine(asker: Server) -> Metered:
    found: Metered = vars(asker)["_engine"]
    return found
