"""Ids of spans follow from what they are about, and nothing but a traceparent is taken for one."""

import pytest

from runtime.tracing.ids import attempt_span_id, beneath_run, new_trace, place, run_root, run_span_id

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_a_client_sends_is_read_and_written_alike():
    found = place(GIVEN)
    assert found is not None
    assert str(found) == GIVEN
    assert found.sampled


def test_a_client_may_not_want_its_trace():
    found = place(GIVEN[:-2] + "00")
    assert found is not None
    assert not found.sampled


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        GIVEN.upper(),
        GIVEN[:-1],
        "ff" + GIVEN[2:],
        "00-" + "0" * 32 + GIVEN[35:],
        GIVEN[:36] + "0" * 16 + "-01",
        GIVEN + "-x",
        "00-trace-parent-01",
    ],
)
def test_anything_else_is_no_place(text):
    assert place(text) is None


def test_a_run_without_a_trace_is_the_root_of_its_own():
    root = run_root("run-1")
    assert root.span_id == run_span_id("run-1")
    assert root.trace_id != run_root("run-1").trace_id
    assert root.sampled


def test_what_a_run_brings_about_is_beneath_its_span():
    assert beneath_run(GIVEN, "run-1") == f"00-{GIVEN[3:35]}-{run_span_id('run-1')}-01"
    assert beneath_run(None, "run-1") is None


def test_every_attempt_has_an_id_of_its_own_which_every_process_finds_alike():
    made = {attempt_span_id("run", step, index, attempt) for step in ("a", "a#1") for index in (None, 0, 1) for attempt in (1, 2)}
    assert len(made) == 12
    assert attempt_span_id("run", "a", None, 1) in made
    assert new_trace() != new_trace()
