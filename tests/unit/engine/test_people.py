"""Approvals and signals: questions to people and messages from outside."""

import pytest

from runtime.engine.events import Kind
from tests.unit.engine.driver import START, World

PY = "python: {function: 'm:f'}"


def asked(options: str = "", more: str = "") -> World:
    return World(f"steps: {{ok: {{approval: {{message: 'Ship it?'{options}}}{more}}}, next: {{set: {{d: '${{{{ steps.ok.output }}}}'}}}}}}").go()


def test_a_question_releases_the_run_and_says_what_it_asks() -> None:
    run = World(
        "inputs: {n: {}}\nsteps: {ok: {approval: {message: 'Take ${{ inputs.n }}?', show: {n: '${{ inputs.n }}'}, form: {type: object}, expires: 1h}}}",
        {"n": 3},
    ).go()
    (request,) = run.events(Kind.APPROVAL_REQUESTED)
    assert request.body is not None
    assert request.body | {"approval_id": ""} == {
        "approval_id": "",
        "message": "Take 3?",
        "form": {"type": "object"},
        "show": {"n": 3},
        "expires_at": START + 3_600_000,
    }
    assert (run.owned, run.state.status, run.state.waiting_for, run.wake_at) == (False, "waiting", "approval", START + 3_600_000)


def test_approved() -> None:
    run = asked().decide("ok", form={"n": 1}, by="ann", comment="fine")
    decision = {"approved": True, "decision": "approved", "form": {"n": 1}, "by": "ann", "comment": "fine", "at": run.now}
    assert run.output("next") == {"d": decision}
    assert [event.body for event in run.events(Kind.APPROVAL_RESOLVED)] == [
        {"approval_id": run.events(Kind.APPROVAL_REQUESTED)[0].body["approval_id"], **decision}
    ]  # type: ignore[index]  # a request has a body


def test_rejected_fails_the_step_and_is_recorded_once_with_its_comment() -> None:
    run = asked().decide("ok", approved=False, by="bob", comment="no")
    assert run.state.status == "failed"
    assert run.state.error is not None
    assert (run.state.error["code"], run.state.error["details"]) == ("rejected", {"by": "bob", "comment": "no"})
    (resolved,) = run.events(Kind.APPROVAL_RESOLVED)
    assert resolved.body is not None
    assert (resolved.body["by"], resolved.body["comment"], resolved.body["approved"]) == ("bob", "no", False)


def test_rejected_without_a_name() -> None:
    run = asked().decide("ok", approved=False)
    assert run.state.error is not None
    assert run.state.error["message"] == "the approval was rejected"


def test_a_rejection_may_be_passed_on() -> None:
    run = asked(", on_reject: continue").decide("ok", approved=False)
    assert run.output("ok")["decision"] == "rejected"
    assert run.state.status == "succeeded"


@pytest.mark.parametrize(
    ("on_expiry", "on_reject", "status", "code"),
    [
        ("reject", "fail", "failed", "rejected"),
        ("reject", "continue", "succeeded", None),
        ("approve", "fail", "succeeded", None),
        ("fail", "fail", "failed", "expired"),
    ],
)
def test_nobody_decided_in_time(on_expiry: str, on_reject: str, status: str, code: str | None) -> None:
    run = asked(f", expires: 1h, on_expiry: {on_expiry}, on_reject: {on_reject}").wake()
    assert run.state.status == status
    assert (run.state.error or {}).get("code") == code
    (resolved,) = run.events(Kind.APPROVAL_RESOLVED)
    assert resolved.body is not None
    assert (resolved.body["by"], resolved.body["approved"]) == ("expiry", on_expiry == "approve")


def test_a_second_and_a_foreign_answer_change_nothing() -> None:
    run = asked(more=", on_error: continue")
    waiting = run.state.steps["ok"].waiting
    assert waiting is not None
    run.send("approval", approval_id="another", approved=True)
    assert not run.state.ended
    run = World(f"steps: {{ok: {{approval: {{message: m}}}}, more: {{{PY}}}}}").go()
    waiting = run.state.steps["ok"].waiting
    assert waiting is not None
    run.send("approval", approval_id=waiting["approval_id"], approved=True).send("approval", approval_id=waiting["approval_id"], approved=False)
    assert len(run.events(Kind.APPROVAL_RESOLVED)) == 1
    assert run.finish("more").state.status == "succeeded"


def test_a_canceled_run_closes_its_question() -> None:
    run = asked().send("cancel")
    (resolved,) = run.events(Kind.APPROVAL_RESOLVED)
    assert resolved.body is not None
    assert (resolved.body["by"], resolved.body["approved"]) == ("canceled", False)
    assert run.state.status == "canceled"


def test_two_questions_at_once() -> None:
    run = World("steps: {a: {approval: {message: a}}, b: {approval: {message: b}}}").go().decide("b")
    assert run.statuses() == {"a": "waiting", "b": "succeeded"}
    assert run.decide("a").state.status == "succeeded"


# --- signals ---------------------------------------------------------------------------------------------------------

TWO_WAITERS = (
    f"steps: {{a: {{signal: {{name: go}}}}, b: {{signal: {{name: go}}}}, c: {{signal: {{name: other}}}}, d: {{{PY}}}, e: {{signal: {{name: go}}, needs: [d]}}}}"
)


def test_a_signal_ends_the_wait_and_is_its_output() -> None:
    run = World("steps: {a: {signal: {name: go}}}").go()
    assert (run.owned, run.state.waiting_for, run.wake_at) == (False, "signal", None)
    run.send("signal", name="stop", payload=1)
    assert run.statuses()["a"] == "waiting"
    assert run.send("signal", name="go", payload={"x": 1}).output("a") == {"x": 1}


def test_each_signal_goes_to_one_step_the_oldest_first() -> None:
    run = World(TWO_WAITERS).go()
    run.go(messages=[run.letter("signal", name="go", payload=number) for number in (1, 2, 3)])
    assert (run.output("a"), run.output("b"), run.statuses()["c"], run.statuses()["e"]) == (1, 2, "waiting", "pending")
    run.finish("d")
    assert run.output("e") == 3, "it was there before the step"
    assert run.send("signal", name="other").output("c") is None
    assert run.state.status == "succeeded"


def test_a_signal_before_the_run_has_begun_is_kept() -> None:
    run = World("steps: {a: {signal: {name: go}}}")
    assert run.go(messages=[run.letter("signal", name="go", payload="early")]).output("a") == "early"


def test_a_signal_that_never_came() -> None:
    run = World("steps: {a: {signal: {name: go, expires: 1h}}}").go()
    assert run.wake_at == START + 3_600_000
    assert run.wake().error("a") == "expired"


def test_a_signal_and_its_expiry_in_one_turn() -> None:
    run = World("steps: {a: {signal: {name: go, expires: 1h}}}").go()
    run.now += 3_600_000
    assert run.send("signal", name="go", payload="just in time").output("a") == "just in time"


def test_what_a_person_can_do_is_shown_before_what_only_time_can() -> None:
    run = World("steps: {t: {wait: {for: 1h}}, s: {signal: {name: go}}, k: {workflow: {name: other}}, a: {approval: {message: m}}}").go()
    assert run.state.waiting_for == "approval"
    assert run.decide("a").state.waiting_for == "signal"
    assert run.send("signal", name="go").state.waiting_for == "child"
    assert run.child_ends("k").state.waiting_for == "timer"
    assert run.wake().state.status == "succeeded"
