"""Aesthetic: the published layout over real encoders of small size, computed here by hand as well."""

from pathlib import Path
from typing import Any

import pytest

from builder.errors import RunError
from builder.pretrained import aesthetic_head
from builder.pretrained.image_encoder import FeaturesOf
from builder.records import Failure
from builder.scorers.aesthetic import Aesthetic, AestheticScore
from builder.stage import Item
from sample_clips import Sample, made, panning, texture

pytest.importorskip("transformers")
import two_tower_models as models


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("head") / "head.safetensors", models.head_layers())


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("run")
    return [made(folder, panning(texture(seed=n), m, 2.0), name=f"clip{n}") for n, m in enumerate((60, 80, 5))]


def saved(path: Path, layers: dict[str, Any]) -> Path:
    from safetensors.numpy import save_file

    save_file(layers, path)
    return path


def pickled(path: Path, layers: dict[str, Any]) -> Path:
    import torch

    torch.save({name: torch.from_numpy(tensor) for name, tensor in layers.items()}, path)
    return path


def scored(scorer: Aesthetic, clips: list[Sample]) -> list[AestheticScore]:
    with scorer.opened(clips[0].context):
        answers = [a for n in range(0, len(clips), scorer.batch_size) for a in batch(scorer, clips, n)]
    return answers


def batch(scorer: Aesthetic, clips: list[Sample], start: int) -> list[AestheticScore]:
    answers = scorer.batch([clip.scored() for clip in clips[start : start + scorer.batch_size]])
    return [row for answer in answers if not isinstance(answer, Failure) for row in answer]


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_it_is_what_the_layers_make_of_the_vectors(
    encoder: Path, head: Path, clips: list[Sample], activation: str
) -> None:
    scorer = Aesthetic(model=str(encoder), head=str(head), activation=activation)  # type: ignore[arg-type]
    features = FeaturesOf(str(encoder), "main", "cpu")
    for clip, found in zip(clips, scored(scorer, clips), strict=True):
        vectors = features(clip.frames().images(3))
        wanted = [models.by_hand(models.head_layers(), v, activation == "relu") for v in vectors]
        assert found.mean == pytest.approx(sum(wanted) / len(wanted), abs=1e-6)
        assert found.least == pytest.approx(min(wanted), abs=1e-6)


def test_clips_differ_and_a_batch_is_what_each_alone_is(encoder: Path, head: Path, clips: list[Sample]) -> None:
    alone, together = (scored(Aesthetic(model=str(encoder), head=str(head), batch_size=size), clips) for size in (1, 3))
    assert alone == together
    assert len({score.mean for score in alone}) == len(clips)


def test_a_siglip_and_a_head_of_another_name(tmp_path: Path, clips: list[Sample]) -> None:
    layers = {f"scoring_head.{name.partition('.')[2]}": v for name, v in models.head_layers(32).items()}
    folder = models.siglip(tmp_path / "siglip")
    scorer = Aesthetic(model=str(folder), head=str(saved(tmp_path / "head.safetensors", layers)))
    vectors = FeaturesOf(str(folder), "main", "cpu")(clips[0].frames().images(3))
    wanted = [models.by_hand(models.head_layers(32), vector) for vector in vectors]
    assert scored(scorer, clips[:1])[0].least == pytest.approx(min(wanted), abs=1e-6)


def test_a_head_of_one_layer(tmp_path: Path, encoder: Path, clips: list[Sample]) -> None:
    last = models.head_layers(4)["layers.7.weight"].repeat(4, axis=1)
    path = saved(tmp_path / "head.safetensors", {"weight": last, "bias": models.head_layers()["layers.7.bias"]})
    [found] = scored(Aesthetic(model=str(encoder), head=str(path), frames_per_clip=1), clips[:1])
    vector = FeaturesOf(str(encoder), "main", "cpu")(clips[0].frames().images(1))[0]
    assert found.mean == pytest.approx(float((last @ vector)[0] + models.head_layers()["layers.7.bias"][0]), abs=1e-6)


def test_a_pickle_is_read_only_if_vouched_for(
    tmp_path: Path, encoder: Path, head: Path, clips: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSD_MODELS", str(tmp_path / "models"))
    path = pickled(tmp_path / "head.pth", models.head_layers())
    with pytest.raises(
        RunError, match=r"head\.pth is a pickle that is not known; .*head_sha256 = '[0-9a-f]{64}'"
    ) as no:
        Aesthetic(model=str(encoder), head=str(path)).identity()
    sha256 = str(no.value).split("'")[1]
    trusted = Aesthetic(model=str(encoder), head=str(path), head_sha256=sha256)
    assert scored(trusted, clips) == scored(Aesthetic(model=str(encoder), head=str(head)), clips)
    assert trusted.identity()["head"] == sha256


def test_code_in_a_pickle_is_not_run(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    monkeypatch.setenv("OSD_MODELS", str(tmp_path / "models"))
    torch.save({"layers.0.weight": Evil()}, tmp_path / "evil.pth")
    sha256 = aesthetic_head.hashlib.sha256((tmp_path / "evil.pth").read_bytes()).hexdigest()
    with pytest.raises(RunError, match=r"evil\.pth holds more than tensors"):
        Aesthetic(model=str(encoder), head=str(tmp_path / "evil.pth"), head_sha256=sha256).identity()
    assert not (tmp_path / "ran").exists()


def test_other_weights_than_asked_for_are_refused_by_name(encoder: Path, head: Path) -> None:
    with pytest.raises(RunError, match=r"head\.safetensors has sha256 [0-9a-f]{64}, expected 0000"):
        Aesthetic(model=str(encoder), head=str(head), head_sha256="0" * 64).identity()


def test_without_a_head_it_says_which_to_download() -> None:
    with pytest.raises(RunError, match=r"hf download openai/clip-vit-large-patch14.*hf download ttj/sac-logos"):
        Aesthetic().identity()


def test_a_head_for_another_encoder_is_refused(tmp_path: Path, encoder: Path, clips: list[Sample]) -> None:
    path = saved(tmp_path / "head.safetensors", models.head_layers(20))
    scorer = Aesthetic(model=str(encoder), head=str(path))
    with pytest.raises(RunError, match=r"gives 16 numbers a picture and .* takes 20"), scorer.opened(clips[0].context):
        pass


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    layers = models.head_layers()
    for wrong in (
        {name: tensor for name, tensor in layers.items() if ".4." not in name},
        {name: tensor for name, tensor in layers.items() if ".7." not in name},
        layers | {"logit_scale": layers["layers.7.bias"]},
    ):
        with pytest.raises(RunError, match="no chain of linear layers"):
            aesthetic_head.chain(saved(tmp_path / "wrong.safetensors", wrong))


def test_a_clip_without_frames_fails_alone(encoder: Path, head: Path, clips: list[Sample]) -> None:
    scorer = Aesthetic(model=str(encoder), head=str(head))
    with scorer.opened(clips[0].context):
        failure, good = scorer.batch([Item(clips[0].clip, "digest"), clips[1].scored()])
    assert isinstance(failure, Failure) and failure.kind == "not_joined"
    assert not isinstance(good, Failure) and good[0].clip_id == "clip1"


def test_weights_are_part_of_the_fingerprint(tmp_path: Path, encoder: Path, head: Path) -> None:
    one = Aesthetic(model=str(encoder), head=str(head))
    other = saved(tmp_path / "head.safetensors", models.head_layers(seed=1))
    assert Aesthetic(model=str(encoder), head=str(other)).identity() != one.identity()
    assert Aesthetic(model=str(encoder), head=str(head), batch_size=2).fingerprint() == one.fingerprint()
