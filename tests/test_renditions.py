"""The policies, on what real sites offer."""

import pytest
from pydantic import TypeAdapter, ValidationError

from builder.renditions import Policy, Rendition, choose

LANDSCAPE = [
    Rendition("4k", 3840, 2160, 25, 90),
    Rendition("hd", 1280, 720, 25, 10),
    Rendition("full-hd", 1920, 1080, 25, 30),
    Rendition("sd", 640, 360, 25, 3),
]
PORTRAIT = [Rendition("tall", 1080, 1920, 25, 30), Rendition("small", 360, 640, 25, 3)]
EMPTY = Rendition("", 7680, 4320)  # what Pixabay gives where there is no such size


@pytest.mark.parametrize(
    ("policy", "landscape", "portrait"),
    [
        ("largest", "4k", "tall"),
        ("smallest", "sd", "small"),
        ("max_height=1080", "full-hd", "small"),
        ("max_height = 1920", "full-hd", "tall"),
        ("max_width=1279", "sd", "tall"),
        ("max_short_side=1080", "full-hd", "tall"),
        ("max_short_side=100", "sd", "small"),
    ],
)
def test_policies(policy: str, landscape: str, portrait: str) -> None:
    for files, wanted in ((LANDSCAPE, landscape), (PORTRAIT, portrait)):
        for order in (files, files[::-1]):
            assert (chosen := choose(policy, [EMPTY, *order])) is not None
            assert chosen.url == wanted


def test_of_equal_sizes_the_most_bytes_then_the_most_frames() -> None:
    slow, fast = Rendition("a", 1920, 1080, 25, 30), Rendition("b", 1920, 1080, 50, 30)
    dense = Rendition("c", 1920, 1080, 25, 31)
    assert choose("largest", [slow, fast]) == fast
    assert choose("largest", [slow, fast, dense]) == dense


@pytest.mark.parametrize("policy", ["largest", "smallest", "max_width=640"])
def test_a_file_of_unknown_size_comes_last(policy: str) -> None:
    unknown = Rendition("?", 0, 0)
    assert choose(policy, [unknown, LANDSCAPE[3]]) == LANDSCAPE[3]
    assert choose(policy, [EMPTY, unknown]) == unknown
    assert choose(policy, [EMPTY]) is None


@pytest.mark.parametrize(
    "policy", ["", "best", "max_height", "max_height=", "max_height=0", "max_side=10", "largest=1"]
)
def test_other_policies_are_refused(policy: str) -> None:
    with pytest.raises(ValidationError, match=r"largest, smallest, max_height=PIXELS"):
        TypeAdapter(Policy).validate_python(policy)
