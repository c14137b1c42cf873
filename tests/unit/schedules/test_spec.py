"""What a user may write about a schedule, and what is said when it is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.schedules.cron import check_cron, explain
from runtime.schedules.overlap import MAX_BUFFER, Decision, Overlap, Reason, TickOutcome, decide
from runtime.schedules.spec import load_spec, read_body, spec_hash

GOOD = {"workflow": "demo", "cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}


def problems(**changes) -> dict[str, str]:
    return {problem.pointer: problem.detail for problem in read_body({**GOOD, **changes})[1]}


def test_a_good_one_is_understood_and_explained():
    body, found = read_body({**GOOD, "interval": "1h30m", "start_at": "2026-01-01T00:00:00+01:00"})
    assert found == []
    assert body.explained == ["At 09:00 on Monday through Friday", "Every 1h30m"]
    assert body.document["start_at"] == "2025-12-31T23:00:00.000Z"
    assert load_spec(body.document).timing == body.timing
    assert (body.overlap, body.catchup) == (Overlap.SKIP, 600_000)


def test_the_hash_depends_on_content_alone():
    first, again, other = (read_body(document)[0] for document in (GOOD, dict(reversed(GOOD.items())), {**GOOD, "priority": 1}))
    assert spec_hash(first) == spec_hash(again) != spec_hash(other)
    paused = read_body({**GOOD, "paused": True, "note": "why"})[0]
    assert spec_hash(paused) == spec_hash(first)


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("61 * * * *", "the minute field '61' is not valid; it takes 0-59"),
        ("* 24 * * *", "the hour field '24'"),
        ("* * * FOO *", "JAN-DEC"),
        ("* * * * 5-1", "the day-of-week field '5-1'"),
        ("99 * * * * *", "the second field '99'"),
        ("* * *", "has 3 fields; write 5"),
        ("", "has 0 fields"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 32 * *", "the day-of-month field '32'"),
        ("@often", "is no shorthand; there are @yearly"),
        ("*" * 300, "at most 200"),
        ("٣ * * * *", "ASCII"),
    ],
)
def test_cron_errors_are_said_in_plain_words(cron, words):
    assert words in problems(cron=cron)["/cron/0"]


@pytest.mark.parametrize(
    ("name", "hint"), [("Europe/Berln", "'Europe/Berlin'"), ("berlin", "'Europe/Berlin'"), ("new york", "'America/New_York'"), ("utc", "'UTC'")]
)
def test_an_unknown_zone_has_a_suggestion(name, hint):
    assert f"did you mean {hint}" in problems(timezone=name)["/timezone"]


def test_all_problems_come_at_once():
    document = {"workflow": "No Name", "cron": ["* * * * *", "x"], "interval": "1ms", "overlap": "skp", "start_at": "2026-01-01T00:00:00", "colour": "red"}
    document |= {"jitter": "2d", "labels": {"": "x"}, "mode": "dry", "name": "Wrong Name", "inputs": []}
    found = {problem.pointer for problem in read_body(document)[1]}
    expected = {"/workflow", "/cron/1", "/interval", "/overlap", "/start_at", "/colour", "/jitter", "/labels/", "/mode", "/name", "/inputs"}
    assert found == expected


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"cron": []}, "/cron"),
        ({"start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"}, "/end_at"),
        ({"tick_input": "day", "inputs": {"day": "x"}}, "/inputs/day"),
        ({"end_at": "9999-12-31T23:59:59Z"}, "/end_at"),
        ({"start_at": 17}, "/start_at"),
        ({"cron": 5}, "/cron"),
        ({"timezone": "../etc/passwd"}, "/timezone"),
    ],
)
def test_what_does_not_go_together(changes, pointer):
    assert set(problems(**changes)) == {pointer}


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_what_is_no_object_is_no_schedule(document):
    assert [problem.detail for problem in read_body(document)[1]] == ["a schedule is an object"]


@given(st.text(alphabet="0123456789*/,-#LW SUNMOJA@", max_size=30) | st.text(max_size=30))
def test_no_text_breaks_the_reader_of_cron(text):
    try:
        check_cron(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - any sentence will do; any other error would fail the test
    else:
        assert explain(text)


@pytest.mark.parametrize("overlap", list(Overlap))
def test_alone_a_tick_always_starts(overlap):
    assert decide(overlap, 0, 0) == Decision(TickOutcome.STARTED)


@pytest.mark.parametrize(
    ("overlap", "waiting", "expected"),
    [
        (Overlap.SKIP, 0, Decision(TickOutcome.SKIPPED, Reason.OVERLAP)),
        (Overlap.BUFFER_ONE, 0, Decision(TickOutcome.BUFFERED, Reason.OVERLAP)),
        (Overlap.BUFFER_ONE, 1, Decision(TickOutcome.SKIPPED, Reason.BUFFER_FULL)),
        (Overlap.BUFFER_ALL, MAX_BUFFER - 1, Decision(TickOutcome.BUFFERED, Reason.OVERLAP)),
        (Overlap.BUFFER_ALL, MAX_BUFFER, Decision(TickOutcome.SKIPPED, Reason.BUFFER_FULL)),
        (Overlap.CANCEL_OTHER, 1, Decision(TickOutcome.BUFFERED, Reason.OVERLAP, cancel=True, replace=True)),
        (Overlap.ALLOW_ALL, 5, Decision(TickOutcome.STARTED)),
    ],
)
def test_beside_a_run_the_policy_decides(overlap, waiting, expected):
    assert decide(overlap, 1, waiting) == expected
