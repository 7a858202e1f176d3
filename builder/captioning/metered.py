"""An engine whose answers are counted, for the person who watches and for receipts: clips, tokens, what they cost."""

from collections.abc import Callable, Sequence

from builder.captioning.engine import Engine, Question, Said, Sampling
from builder.errors import ItemError
from builder.meter import Meter


class Metered:
    """Asks `engine`. `price` is what one answer costs, in whatever the user counts in."""

    def __init__(self, engine: Engine, meter: Meter, price: Callable[[Said], float]) -> None:
        self.engine, self.meter, self.price = engine, meter, price
        self.dtype = engine.dtype

    def say(self, questions: Sequence[Question], sampling: Sampling) -> list[Said | ItemError]:
        answers = self.engine.say(questions, sampling)
        said = [answer for answer in answers if isinstance(answer, Said)]
        tokens_in, tokens_out = sum(s.tokens_in for s in said), sum(s.tokens_out for s in said)
        self.meter.said(len(answers), tokens_in, tokens_out, sum(map(self.price, said)))
        return answers

    def close(self) -> None:
        self.engine.close()
