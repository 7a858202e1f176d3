"""What a person sees of models that answer."""

from collections import Counter

import pytest

from builder import talks
from builder.meter import Meter, News, Talk
from builder.progress import Progress
from builder.talks import Talks


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(talks, "time", found)
    return found


def test_rates_are_those_of_each_rank_and_of_now(clock: Clock) -> None:
    seen = Talks()
    for n in range(300):
        clock.now += 1
        seen.add("rank 0", Talk(2, 100, 40))
        if n < 200:
            seen.add("rank 1", Talk(1, 50, 20))
    assert seen.rates()["rank 0"] == pytest.approx((2, 40), rel=0.02)
    assert seen.rates()["rank 1"] < (0.5, 10)
    ranks = "rank 0 2 clips/s 40 tokens/s; rank 1 0.379 clips/s 7.58 tokens/s"
    assert seen.line() == f"answers: 800 clips, 2.38 clips/s 47.6 tokens/s ({ranks})"


def test_a_line_now_and_then_and_the_sum_with_its_cost(clock: Clock) -> None:
    seen = Talks()
    assert not seen.due()
    clock.now += 31
    assert seen.due() and not seen.due()
    seen.add("", Talk(3, 3000, 500, 1.23456))
    assert seen.sum() == "answers: 3 clips, 3,000 tokens in and 500 out, cost 1.235"
    assert "rank" not in seen.line()


def test_no_answer_is_lost_on_the_way() -> None:
    heard: list[News] = []
    meter = Meter(heard.append, "rank 3")
    for _ in range(10):
        meter.said(2, 10, 5, 0.5)
    meter.flush()
    assert sum((news.talk for news in heard), Talk()) == meter.talk == Talk(20, 100, 50, 5.0)
    assert {news.who for news in heard} == {"rank 3"}


def test_news_of_files_and_of_answers_come_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.hear(News(size_bytes=5, outcomes=Counter(kept=1), talk=Talk(2, 30, 4)))
        progress.hear(News(talk=Talk(1, 10, 2), who="rank 1"))
        assert (progress.transfer.files, progress.transfer.size_bytes) == (1, 5)
    said = capsys.readouterr().err
    assert "fetch: 1 files" in said and said.endswith("answers: 3 clips, 40 tokens in and 6 out\n")
