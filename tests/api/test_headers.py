"""Request headers, cursors and ranges: what they mean, and what is refused."""

import pytest

from runtime.api import headers, paging
from runtime.api.problems import HeadersTooLarge, HostNotAllowed, Malformed, RangeInvalid
from runtime.api.routes.artifacts import disposition, span
from runtime.errors import RequestInvalid

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(("given", "key"), [(None, None), ("abc", "abc"), ('"abc"', "abc"), ('""', '""'), ("x" * 255, "x" * 255)])
def test_idempotency_keys_come_quoted_or_bare(given, key) -> None:
    assert headers.idempotency_key(given) == key


@pytest.mark.parametrize("given", ["", "a b", "é", "x" * 256, "tab\t"])
def test_bad_idempotency_keys(given) -> None:
    with pytest.raises(RequestInvalid):
        headers.idempotency_key(given)


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], 0),
        (["wait=5"], 5),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=7"], 7),
        (["wait=9999"], 60),
        (["wait=x"], 0),
        (["await=5"], 0),
        (["wait=-5"], 0),
        (["wait=1.5"], 0),
    ],
)
def test_prefer_wait(prefer, seconds) -> None:
    assert headers.wait_seconds(prefer) == seconds


@pytest.mark.parametrize(("given", "seq"), [(None, None), ("", None), ("0", 0), ("42", 42)])
def test_last_event_id(given, seq) -> None:
    assert headers.event_id(given) == seq


@pytest.mark.parametrize("given", ["-1", "x", "1.0", "٣", "9" * 16])
def test_bad_last_event_id(given) -> None:
    with pytest.raises(RequestInvalid):
        headers.event_id(given)


@pytest.mark.parametrize("given", [None, "", "rubbish", TRACE.upper(), TRACE[:-3], "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_a_bad_traceparent_is_ignored(given) -> None:
    assert headers.traceparent(given) is None
    assert headers.traceparent(TRACE) == TRACE


@pytest.mark.parametrize("host", [b"localhost", b"localhost:8000", b"LOCALHOST", b"127.0.0.1:1", b"[::1]:80", b"[::1]"])
def test_allowed_hosts(host) -> None:
    headers.check_host([(b"host", host)], ["localhost", "127.0.0.1", "[::1]"])


@pytest.mark.parametrize(
    "given",
    [
        [],
        [b"evil.example"],
        [b"localhost.evil.example"],
        [b"localhost", b"localhost"],
        [b"localhost:x"],
        [b"evil.example:80@localhost"],
        [b""],
        [b"localhost."],
    ],
)
def test_other_hosts(given) -> None:
    with pytest.raises(HostNotAllowed):
        headers.check_host([(b"host", each) for each in given], ["localhost"])
    headers.check_host([(b"host", each) for each in given], ["*"])


def test_header_size() -> None:
    headers.check_size([(b"a", b"x" * 16_000)])
    with pytest.raises(HeadersTooLarge):
        headers.check_size([(b"a", b"x" * 16_384)])


def test_bearer() -> None:
    assert headers.bearer([(b"authorization", b"bearer  abc ")]) == "abc"
    assert headers.bearer([(b"authorization", b"Basic abc")]) is None
    assert headers.bearer([]) is None
    with pytest.raises(Malformed):
        headers.bearer([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")])


def test_page_tokens_read_back() -> None:
    assert paging.decode(paging.encode("name")) == "name"
    assert paging.decode_number(paging.encode(17)) == 17
    assert paging.decode(None) is None


@pytest.mark.parametrize("token", ["", "!", "bmFtZQ==", "bmFtZ", "_w", "AA", "é"])
def test_other_tokens_are_refused(token) -> None:
    with pytest.raises(RequestInvalid):
        paging.decode(token) or paging.decode_number(token)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, 10)),
        ("bytes=0-4", (0, 5)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=9-99", (9, 10)),
        ("items=0-1", (0, 10)),
        ("bytes=0-1,3-4", (0, 10)),
    ],
)
def test_ranges(header, expected) -> None:
    assert span(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5-4", "bytes=-0", "bytes=-"])
def test_ranges_that_cannot_be_satisfied(header) -> None:
    with pytest.raises(RangeInvalid):
        span(header, 10)


def test_a_download_has_a_harmless_name() -> None:
    assert disposition('../../a"b\n.html') == "attachment; filename=\"a_b_.html\"; filename*=UTF-8''a%22b%0A.html"
    assert disposition("résumé.md").endswith("filename*=UTF-8''r%C3%A9sum%C3%A9.md")


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "9" * 40])
def test_bad_times(text) -> None:
    with pytest.raises(RequestInvalid):
        paging.moment("created_after", text)


def test_times() -> None:
    assert paging.moment("t", "1970-01-01T00:00:01Z") == 1000
    assert paging.moment("t", "1970-01-01T01:00:01+01:00") == 1000
