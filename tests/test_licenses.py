"""Finding the licence that a list means, and what the table says about publishing it."""

from datetime import date

import pytest

from builder.errors import ConfigError
from builder.licenses import GRANTS, TABLE, UNKNOWN, License, check_allowed, license_of, licenses, read_table

BY = "https://creativecommons.org/licenses/by"
ENTRY = """
[[license]]
id = "CC0-1.0"
name = "Zero"
url = "https://example.org/zero/"
aliases = ["CC0"]
grants = { originals = "yes", clips = "yes", attribution = "no", share_alike = "no", commercial = "yes", machine_learning = "yes" }
read_on = 2026-11-24
note = "Allows everything."
"""  # noqa: E501


def grants(found: License) -> set[str]:
    return {getattr(found, name) for name in GRANTS}


@pytest.mark.parametrize(
    ("text", "id_"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("  CC BY 4.0 ", "CC-BY-4.0"),
        ("CC‑BY–4.0", "CC-BY-4.0"),  # a non-breaking hyphen and a dash
        ("cc_by_sa_3.0", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution Non Commercial Share Alike 4.0 International", "CC-BY-NC-SA-4.0"),
        ("Attribution-NonCommercial-NoDerivs 2.0 Generic", "CC-BY-NC-ND-2.0"),
        ("Attribution 4.0 International (CC BY 4.0)", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0"),
        ("HTTP://www.CreativeCommons.org/licenses/by/4.0", "CC-BY-4.0"),
        ("creativecommons.org/licenses/by/4.0/deed.de", "CC-BY-4.0"),
        ("//creativecommons.org/licenses/by/4.0/deed.zh-hans", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-nc-nd/2.5/legalcode", "CC-BY-NC-ND-2.5"),
        ("https://creativecommons.org/licenses/by-sa/4.0/legalcode.en#s3a", "CC-BY-SA-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/?ref=chooser-v1", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/publicdomain/", "CC-PDDC"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("creativecommons.org/publicdomain/zero/1.0", "CC0-1.0"),
        ("public domain mark 1.0", "CC-PDM-1.0"),
        ("odc-by", "ODC-By-1.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("The MIT Licence", "MIT"),
        ("Pexels License", "LicenseRef-pexels"),
        ("www.pexels.com/license", "LicenseRef-pexels"),
        ("Pixabay Licence", "LicenseRef-pixabay-content"),
        ("https://mixkit.co/license/#videoFree", "LicenseRef-mixkit-free"),
        ("mixkit.co/license#videorestricted", "LicenseRef-mixkit-restricted"),
        ("Standard YouTube License", "LicenseRef-youtube-standard"),
        ("Creative Commons Attribution license (reuse allowed)", "LicenseRef-youtube-cc-by"),
        ("U.S. Government Work", "LicenseRef-us-government-work"),
    ],
)
def test_a_spelling_means_its_licence(text: str, id_: str) -> None:
    assert license_of(text).id == license_of("", text).id == id_
    assert license_of(text) is licenses()[id_]


@pytest.mark.parametrize(
    "text",
    [
        "CC BY",  # of which version?
        "CC-BY-40",
        "CC-BY-4.0 OR MIT",
        "CC-BY-4.0/MIT",
        f"{BY}/3.0/us/",  # another text than the unported one
        f"{BY}/4.0.evil.example/",
        "Mixkit License",  # the free or the restricted one?
        "https://mixkit.co/license/",
        "https://mixkit.co/license/#musicFree",
        "知识共享",
    ],
)
def test_what_is_not_known_keeps_its_text_and_allows_nothing(text: str) -> None:
    found = license_of(f" {text} ", "https://example.org/x")
    assert (found.id, found.url, grants(found)) == (text, "https://example.org/x", {UNKNOWN})
    (barrier,) = found.barriers()
    assert repr(text) in barrier


@pytest.mark.parametrize("text", ["", "  ", "unknown", "Unknown", "-"])
def test_no_text_is_the_licence_unknown(text: str) -> None:
    assert license_of(text).id == UNKNOWN
    assert grants(license_of(text)) == {UNKNOWN}
    assert "page" in license_of(text).barriers()[0]
    assert "https://example.org/x" in license_of(text, "https://example.org/x").barriers()[0]
    assert license_of(text, f"{BY}/4.0/").id == "CC-BY-4.0"


def test_a_link_decides_where_it_is_more_exact() -> None:
    assert license_of("Public domain", "https://creativecommons.org/publicdomain/mark/1.0/").id == "CC-PDM-1.0"
    assert license_of("Creative Commons Attribution license (reuse allowed)", f"{BY}/3.0/").id == "CC-BY-3.0"
    assert license_of("CC BY", f"{BY}/2.0/").id == "CC-BY-2.0"
    assert license_of("CC0", "https://example.org/video/7").id == "CC0-1.0"


@pytest.mark.parametrize(
    ("text", "url"), [("CC0", "https://www.pexels.com/license/"), ("Pexels", f"{BY}/4.0/"), ("CC0", f"{BY}/4.0/")]
)
def test_a_text_and_a_link_that_contradict_each_other_allow_nothing(text: str, url: str) -> None:
    found = license_of(text, url)
    assert (found.id, grants(found)) == (f"{text} ({url})", {UNKNOWN})
    (barrier,) = found.barriers()
    assert license_of(text).id in barrier
    assert license_of("", url).id in barrier


def test_barriers_are_what_publishing_needs_and_lacks() -> None:
    barred = {id_: len(found.barriers()) for id_, found in licenses().items()}
    assert barred["CC0-1.0"] == barred["CC-BY-4.0"] == barred["CC-BY-NC-SA-3.0"] == 0  # duties bar nothing
    assert barred["LicenseRef-pexels"] == barred["CC-BY-ND-4.0"] == barred["ODbL-1.0"] == 1
    for id_, found in licenses().items():
        open_ = found.clips == found.machine_learning == "yes"
        assert bool(barred[id_]) != open_, id_


def test_a_barrier_says_why_and_what_to_do() -> None:
    (pexels,) = licenses()["LicenseRef-pexels"].barriers()
    assert "LicenseRef-pexels forbids redistributing clips" in pexels
    assert "and training models" in pexels
    assert "permission, or leave the video out" in pexels
    forbidden, unclear = licenses()["LicenseRef-mixkit-restricted"].barriers()
    assert "redistributing" in forbidden
    assert "training" not in forbidden
    assert "does not clearly allow training" in unclear
    assert "CC-BY-SA-4.0" in license_of("CC-BY-SA-4.O").barriers()[0]


def test_stock_sites_are_not_free_and_collections_say_nothing_of_videos() -> None:
    for site in ("pexels", "pixabay-content", "mixkit-free", "mixkit-restricted", "coverr", "youtube-standard"):
        assert licenses()[f"LicenseRef-{site}"].originals == "no", site
        assert licenses()[f"LicenseRef-{site}"].clips != "yes", site
    assert licenses()["ODbL-1.0"].clips == licenses()["ODC-By-1.0"].clips == UNKNOWN


def test_creative_commons_ids_mean_their_letters() -> None:
    family = {id_: found for id_, found in licenses().items() if id_.startswith("CC-BY-")}
    assert len(family) == 6 * 4
    for id_, found in family.items():
        letters = id_.split("-")[1:-1]
        assert found.attribution == "yes", id_
        assert (found.commercial == "no") == ("NC" in letters), id_
        assert (found.share_alike == "yes") == ("SA" in letters), id_
        assert (found.clips == UNKNOWN) == ("ND" in letters), id_
        assert found.url.split("/")[-3:-1] == ["-".join(letters).lower(), id_.split("-")[-1]], id_


def test_entries_tell_when_and_why() -> None:
    for id_, found in licenses().items():
        assert found.note.endswith("."), id_
        assert not any("{" in text for text in (found.id, found.name, found.url, *found.aliases)), id_
        if found.read_on:
            assert date(2020, 1, 1) <= date.fromisoformat(found.read_on) <= date(2026, 11, 24), id_
        else:
            assert grants(found) == {UNKNOWN}, id_


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["cc0", "CC-BY-4.0", "CC0-1.0"], ["CC0-1.0", "CC-BY-4.0"]),
        (["CC-BY-*"], ["CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0"]),  # and neither NC nor ND
        (["cc by-sa*"], ["CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0"]),
        (["CC0-*", "unknown"], ["CC0-1.0", "unknown"]),
        (["LicenseRef-mixkit-*"], ["LicenseRef-mixkit-free", "LicenseRef-mixkit-restricted"]),
        (["Unknown", "https://www.pexels.com/license"], ["unknown", "LicenseRef-pexels"]),
        ([], []),
    ],
)
def test_allowed_names_become_ids(names: list[str], ids: list[str]) -> None:
    assert check_allowed(names) == tuple(ids)


def test_a_star_alone_is_every_known_licence_but_never_unknown() -> None:
    assert check_allowed(["*"]) == tuple(licenses())


@pytest.mark.parametrize(
    ("name", "near"), [("CC-BY-4", "CC-BY-4.0"), ("CC-BX-*", ""), ("", ""), ("Apache-2.1", "Apache-2.0")]
)
def test_an_allowed_name_that_fits_nothing_is_refused(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_allowed(["MIT", name])
    message = str(refused.value)
    assert repr(name) in message
    assert f"did you mean {near!r}" in message if near else True
    assert all(id_ in message for id_ in (UNKNOWN, *licenses()))


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('clips = "yes"', 'clips = "maybe"', "'CC0-1.0': a grant is one of yes, no, unknown"),
        ('clips = "yes", ', "", "grants with originals, clips"),
        ('clips = "yes"', 'clips = "yes", resale = "yes"', "and nothing else"),
        ('note = "Allows everything."', "", "needs id, name, url, note"),
        ("read_on = 2026-11-24", "", "knows no grant"),
        ("read_on = 2026-11-24", 'read_on = "today"', "must be a date"),
        ('aliases = ["CC0"]', 'aliases = ["Unknown"]', "stands for no licence"),
        ('aliases = ["CC0"]', 'aliases = ["--"]', "stands for no licence"),
        (ENTRY, ENTRY + ENTRY, "means both CC0-1.0 and CC0-1.0"),
        (ENTRY, ENTRY + ENTRY.replace("CC0-1.0", "X").replace("Zero", "X").replace("zero", "x"), "'CC0' means both"),
        (ENTRY, ENTRY + ENTRY.replace("CC0", "X").replace("Zero", "X"), "'https://example.org/zero/' means both"),
    ],
)
def test_a_wrong_table_is_refused(old: str, new: str, error: str) -> None:
    assert list(read_table(ENTRY)) == ["CC0-1.0"]
    with pytest.raises(ValueError, match=r"licenses\.toml") as wrong:
        read_table(ENTRY.replace(old, new))
    assert error in str(wrong.value)


def test_a_family_has_a_licence_for_each_version() -> None:
    text = ENTRY.replace("1.0", "{version}").replace("zero", "{version}").replace("Zero", "{version} {edition}")
    family = text.replace('"CC0"', '"CC Z {version}"') + 'versions = { "2.0" = "Generic", "4.0" = "International" }\n'
    assert [(f.id, f.name, f.url, f.aliases) for f in read_table(family).values()] == [
        ("CC0-2.0", "2.0 Generic", "https://example.org/2.0/", ("CC Z 2.0",)),
        ("CC0-4.0", "4.0 International", "https://example.org/4.0/", ("CC Z 4.0",)),
    ]


def test_the_table_lies_beside_the_code() -> None:
    assert TABLE.name == "licenses.toml"
    assert len(TABLE.read_text(encoding="utf-8").splitlines()) <= 300
