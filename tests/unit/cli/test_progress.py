import io

import pytest
from rich.console import Console

from actors.cli.progress import View, describe, draw

START = "2026-01-31T12:00:00.000Z"
LATER = "2026-01-31T12:00:02.500Z"


def event(seq, kind, step=None, at=START, attempt=None, **body):
    return {"seq": seq, "epoch": 1, "event": kind, "at": at, "step": step, "attempt": attempt, "body": body or None}


def folded(*events, steps=()):
    view = View.of("run-1", steps)
    for each in events:
        view.apply(each)
    return view


def drawn(view):
    screen = Console(file=io.StringIO(), width=160, force_terminal=False)
    screen.print(draw(view, now=1_769_860_803_000))
    return screen.file.getvalue()


def test_a_step_goes_through_its_states():
    view = folded(event(1, "run.created", workflow="flow"), event(2, "step.started", "a", attempt=1), steps=["a", "b"])
    assert (view.workflow, view.steps["a"].status, view.steps["b"].status) == ("flow", "running", "pending")
    view.apply(event(3, "step.retrying", "a", attempt=1, error={"code": "rate_limited", "message": "slow down"}))
    assert (view.steps["a"].status, view.steps["a"].note) == ("retrying", "rate_limited: slow down")
    view.apply(event(4, "step.started", "a", attempt=2))
    view.apply(event(5, "step.succeeded", "a", at=LATER, attempt=2))
    step = view.steps["a"]
    assert (step.status, step.attempt, step.note, step.ended_at - step.started_at) == ("succeeded", 2, "", 2500)
    assert view.seq == 5


def test_a_map_shows_how_many_items_are_done():
    view = folded(
        event(1, "step.started", "notes", attempt=1, total=10),
        event(2, "items.started", "notes", items=[[0, 9]], attempt=1),
        event(3, "items.finished", "notes", done=[[0, "x"], [1, "y"]], failed=[[2, 1, {"code": "x"}]]),
        event(4, "items.reused", "notes", done=[[3, "z"]]),
    )
    assert (view.steps["notes"].done, view.steps["notes"].failed, view.steps["notes"].total) == (3, 1, 10)
    assert "3/10, 1 failed" in drawn(view)


def test_the_iterations_of_a_loop_are_one_line():
    view = folded(event(1, "step.started", "poll#0", attempt=1), event(2, "step.started", "poll#7", attempt=1))
    assert list(view.steps) == ["poll"]
    assert "iteration 7" in drawn(view)


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_the_end_of_the_run_is_the_end_of_the_view(end):
    view = folded(event(1, "run.created", workflow="flow"), event(2, "run.started"), event(3, f"run.{end}", at=LATER, output={"a": 1}))
    assert view.ended
    assert view.elapsed(now=10**15) == 2500
    assert end in drawn(view)


def test_questions_are_shown_until_they_are_answered():
    view = folded(event(1, "approval.requested", "review", approval_id="id-1", message="Publish?"))
    assert view.note == "approval id-1 asks: Publish?"
    view.apply(event(2, "approval.resolved", "review", approval_id="id-1", approved=False, by="Ada"))
    assert view.note == "rejected by Ada"


def test_text_from_a_run_cannot_reach_the_terminal_raw():
    view = folded(event(1, "run.created", workflow="flow"), event(2, "step.failed", "a", error={"code": "x", "message": "\x1b[2J[bold]gone[/bold]"}))
    assert "\x1b" not in drawn(view)
    assert "\\x1b[2J[bold]gone[/bold]" in drawn(view)


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (event(1, "step.started", "a", attempt=1), "step.started a"),
        (event(1, "step.failed", "a", error={"code": "timeout", "message": "too slow"}), "step.failed a: timeout too slow"),
        (event(1, "run.waiting", waiting_for="approval"), "run.waiting: approval"),
        (event(1, "items.finished", "m", done=[[0, 1], [1, 2]]), "items.finished m +2 done, +0 failed"),
        (event(1, "items.started", "m", items=[[0, 5]]), None),
    ],
)
def test_events_as_plain_lines(fact, text):
    assert describe(fact) == text


def delta(text, offset, *, kind="step.delta", step="a", index=None, **body):
    return {"event": kind, "step": step, "attempt": 1, "body": {"index": index, "call": 1, "offset": offset, "text": text, **body}}


def test_what_a_model_is_saying_stands_beside_its_step():
    view = folded(event(1, "step.started", "a", attempt=1), delta("Once upon\n", 0), delta("a \x1b[31mtime", 10))
    assert "…Once upon a \\x1b[31mtime" in drawn(view)
    assert view.seq == 1
    view.apply(delta("x" * 500, 20))
    assert len(view.steps["a"].said) == 80
    view.apply(delta("Anew", 0))
    assert "…Anew" in drawn(view)
    assert [describe(each) for each in (delta("x", 0), delta(None, None, kind="step.delta_dropped"))] == [None, None]


@pytest.mark.parametrize(
    "end",
    [
        delta(None, None, kind="step.delta_dropped", because="timeout"),
        event(2, "step.retrying", "a", attempt=1, error={"code": "timeout", "message": "late"}),
        event(2, "step.succeeded", "a", attempt=1),
    ],
    ids=lambda each: each["event"],
)
def test_what_is_void_or_over_is_not_shown(end):
    view = folded(event(1, "step.started", "a", attempt=1), delta("Once", 0), end)
    assert "Once" not in drawn(view)


def test_of_a_map_the_item_that_spoke_last_is_shown():
    view = folded(event(1, "step.started", "a", attempt=1, total=2), delta("first", 0, index=0), delta("second", 0, index=1))
    assert "item 1: …second" in drawn(view)
    view.apply({"event": "step.delta_lost", "step": None, "attempt": None, "body": {"characters": 3}})
    assert "item 1: …second" in drawn(view)
