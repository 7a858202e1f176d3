"""One URL, one form; and what is refused before anything is connected to."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import ItemError
from builder.web.address import is_public, masked, normalised, origin, shown, unsigned

SAME = [
    ("HTTP://Example.COM/a", "http://example.com/a"),
    ("http://example.com:80/a", "http://example.com/a"),
    ("https://example.com:443", "https://example.com/"),
    ("https://example.com:8443/", "https://example.com:8443/"),
    ("http://example.com/a#t=3", "http://example.com/a"),
    ("  http://example.com/a\n", "http://example.com/a"),
    ("http://example.com/a b", "http://example.com/a%20b"),
    ("http://example.com/A?Key=B&utm_source=x", "http://example.com/A?Key=B&utm_source=x"),
    ("http://exämple.com/é", "http://xn--exmple-cua.com/%C3%A9"),
    ("http://example.com/a/../b", "http://example.com/b"),
    ("http://[::1]:80/a", "http://[::1]/a"),
    ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
    ("http://my_bucket.example.com/a", "http://my_bucket.example.com/a"),
    ("http://example.com.:80/a", "http://example.com/a"),
    ("http://example.com/a?", "http://example.com/a?"),
    ("http://example.com/%7Ea%2fb?c=%20", "http://example.com/%7Ea%2fb?c=%20"),
]
REFUSED = [
    *("", "cat.mp4", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/a", "//example.com/a", "data:,x"),
    *("http://", "http:///etc/passwd", "http://me:word@example.com/", "http://me@example.com/"),
    *("http://example.com\\@evil.com/", "http://exa mple.com/", "http://example.com/a\nb", "http://example.com:99999/"),
    *(
        "http://[fe80::1%25lo]/",
        "http://[fe80::1%lo]/",
        "http://[::1/",
        "http://-\\x/",
        "http://1.2.3.999./",
        "http://./",
    ),
    *("concat:a|b", "http://" + "a" * 70_000, "javascript:alert(1)", "-o/etc/passwd"),
]


@pytest.mark.parametrize(("given", "form"), SAME)
def test_one_form(given: str, form: str) -> None:
    assert normalised(given) == form
    assert normalised(form) == form


@pytest.mark.parametrize("given", REFUSED, ids=range(len(REFUSED)))
def test_refused(given: str) -> None:
    with pytest.raises(ItemError) as caught:
        normalised(given)
    assert caught.value.kind == "bad_url"
    assert len(caught.value.message) < 1000


def test_a_password_is_in_no_message() -> None:
    with pytest.raises(ItemError) as caught:
        normalised("https://me:sesame@example.com/a?key=sesame")
    assert "sesame" not in str(caught.value)
    assert "example.com/a" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://h.org?key=sesame", "https://h.org/?key=sesame", "https://u:sesame@h.org/a?b/c@d"]
)
def test_messages_show_no_query(url: str) -> None:
    assert shown(url).startswith("https://h.org")
    assert "sesame" not in shown(url)
    assert "@" not in shown(url)


TEXTS = st.text() | st.from_regex(r"(https?://)?[^/]{0,20}@?[a-z0-9.:\[\]%]{0,20}(/[^#]{0,20})?(#.*)?", fullmatch=True)


@given(TEXTS)
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        url = normalised(text)
    except ItemError as error:
        assert error.kind == "bad_url"
        return
    assert normalised(url) == url
    assert url.startswith(("http://", "https://"))
    assert url.startswith(origin(url) + "/")


@given(st.text(), st.sampled_from(["https://", "http://", "//", "", "ftp://"]))
def test_a_user_and_a_query_are_never_shown(text: str, start: str) -> None:
    url = f"{start}me:sesame@example.org/{re.sub('[?&=@#]', '', text)}?key=sesame#sesame"
    assert "sesame" not in shown(url)
    assert "sesame" not in masked(url).partition("#")[0]
    assert "example.org/" in shown(url)


def test_what_a_table_holds() -> None:
    assert masked("https://u:p@h.org/a?X-Amz-Signature=s&page=2&Token=t") == (
        "https://***@h.org/a?X-Amz-Signature=***&page=2&Token=***"
    )
    assert unsigned("https://h.org/a?page=2&X-Amz-Signature=s&sig=t&id=5") == "https://h.org/a?page=2&id=5"
    assert unsigned("https://h.org/a?X-Amz-Date=s") == "https://h.org/a"


@given(st.ip_addresses())
def test_any_ip_address_is_public_or_not(address: object) -> None:
    assert is_public(str(address)) in (True, False)
