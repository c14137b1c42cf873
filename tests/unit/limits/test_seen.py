"""What the headers of answers say, in the ways of different providers; what cannot be read was not said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.limits.seen import Quota, Seen, seen

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {
                "x-ratelimit-limit-requests": "500",
                "x-ratelimit-remaining-requests": "499",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-limit-tokens": "30000",
                "x-ratelimit-remaining-tokens": "29000",
                "x-ratelimit-reset-tokens": "1m2.5s",
            },
            Seen(Quota(500, 499, 0.12), Quota(30000, 29000, 62.5)),
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2027-01-15T08:00:20Z",
                "anthropic-ratelimit-tokens-limit": "40000",
                "anthropic-ratelimit-tokens-remaining": "39000",
            },
            Seen(Quota(50, 0, 20.0), Quota(40000, 39000)),
        ),
        ({"anthropic-ratelimit-input-tokens-limit": "8000"}, Seen(None, Quota(8000))),
        ({"x-ratelimit-remaining-requests": "7"}, Seen(Quota(None, 7))),
        # A day's limit is not spread over the day; when it is used up there is nothing to try.
        ({"x-ratelimit-limit-requests": "200", "x-ratelimit-remaining-requests": "150", "x-ratelimit-reset-requests": "7m12s"}, None),
        ({"x-ratelimit-limit-requests": "200", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h0m5s"}, Seen(Quota(None, 0, 3605.0))),
        ({"x-ratelimit-limit-requests": "0"}, Seen(Quota())),
        ({}, None),
        ({"x-ratelimit-limit-requests": "-5", "x-ratelimit-remaining-tokens": "many", "x-ratelimit-reset-tokens": "soon"}, None),
        ({"x-ratelimit-limit-requests": "9" * 400}, None),
        ({"x-ratelimit-limit-requests": "٣"}, None),
        ({"x-ratelimit-limit-requests": "5", "x-ratelimit-reset-requests": "9" * 30}, Seen(Quota(5))),
    ],
)
def test_words_of_providers(headers: dict[str, str], expected: Seen | None) -> None:
    assert seen(headers, NOW) == expected


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_header_is_read_or_passed_over(limit: str, remaining: str, reset: str) -> None:
    headers = {"x-ratelimit-limit-tokens": limit, "x-ratelimit-remaining-tokens": remaining, "x-ratelimit-reset-tokens": reset}
    found = seen(headers, NOW)
    if found is not None and found.tokens is not None and found.tokens.reset is not None:
        assert 0 <= found.tokens.reset <= 86_400
