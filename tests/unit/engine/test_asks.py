"""Tool calls of agents that wait for a person or a child run."""

from typing import Any

from runtime.engine.commands import CancelChild, StartChild, StartItems, StartStep
from runtime.engine.events import Kind
from runtime.engine.state import Ask
from tests.unit.engine.driver import World

PAY = {"for": "approval", "call": "c1", "tool": "pay", "message": "pay 3?", "form": {"type": "object"}, "show": {"tool": "pay", "args": {"n": 3}}}
FLOW = {"for": "child", "call": "c2", "tool": "flow", "workflow": "other", "inputs": {"n": 3}}


def one(options: str = "") -> World:
    return World(f"steps: {{a: {{PY{options}}}, b: {{set: {{v: '${{{{ steps.a.output }}}}'}}}}}}").go()


def many(options: str = "") -> World:
    return World(f"steps: {{a: {{PY, map: {{over: '[1, 2, 3]'}}{options}}}}}").go()


def questions(run: World, step: str = "a") -> list[Ask]:
    return list(run.state.steps[step].asks.values())


def answers(command: StartStep | StartItems) -> list[Any]:
    return [call["result"] for call in command.calls if call["name"] == "answer"]


def test_a_question_lets_go_of_the_run_and_its_answer_brings_the_step_back() -> None:
    run = one().ask("a", PAY)
    (question,) = questions(run)
    (asked,) = run.events(Kind.APPROVAL_REQUESTED)
    assert asked.body == {"approval_id": question.id, "message": "pay 3?", "form": {"type": "object"}, "show": PAY["show"], "expires_at": None}
    assert (run.owned, run.state.status, run.state.waiting_for) == (False, "waiting", "approval")
    run.reply(question, "a", by="ann")
    (resolved,) = run.events(Kind.APPROVAL_RESOLVED)
    assert resolved.body is not None
    assert (resolved.body["approved"], resolved.body["by"]) == (True, "ann")
    second = run.given(StartStep, "a")[-1]
    assert (second.attempt, answers(second)) == (2, [{"approved": True, "by": "ann"}])
    run.finish("a", "paid")
    assert run.output("b") == {"v": "paid"}


def test_a_person_may_change_the_arguments() -> None:
    run = one().ask("a", PAY)
    run.reply(questions(run)[0], "a", form={"args": {"n": 2}})
    assert answers(run.given(StartStep, "a")[-1]) == [{"approved": True, "form": {"args": {"n": 2}}}]


def test_the_arguments_of_a_rejected_call_do_not_matter() -> None:
    run = one().ask("a", PAY)
    run.reply(questions(run)[0], "a", good=False, form={"args": {"n": 2}}, comment="no")
    assert answers(run.given(StartStep, "a")[-1]) == [{"approved": False, "comment": "no"}]


def test_a_step_goes_on_when_all_its_questions_are_answered() -> None:
    run = one().ask("a", FLOW, PAY)
    start = run.given(StartChild, "a")[0]
    assert (start.workflow, start.inputs, run.state.waiting_for) == ("other", {"n": 3}, "approval")
    child, approval = questions(run)
    assert child.id == start.child
    run.reply(approval, "a")
    assert run.state.waiting_for == "child"
    assert len(run.given(StartStep, "a")) == 1
    run.reply(child, "a", output={"found": 1})
    assert answers(run.given(StartStep, "a")[-1]) == [{"approved": True}, {"output": {"found": 1}}]


def test_a_child_that_fails_is_an_answer_too() -> None:
    run = one().ask("a", FLOW)
    run.reply(questions(run)[0], "a", good=False, output=None, error={"code": "sad", "message": "it is", "retryable": False})
    (answer,) = answers(run.given(StartStep, "a")[-1])
    assert (answer["error"]["code"], answer["error"]["message"]) == ("child_failed", "it is")


def test_nobody_answers_in_time() -> None:
    run = one().ask("a", {**PAY, "expires": 60_000}).wake()
    assert answers(run.given(StartStep, "a")[-1]) == [{"approved": False, "by": "expiry"}]


def test_a_cancel_takes_the_questions_back() -> None:
    run = one().ask("a", PAY, FLOW).send("cancel")
    assert run.state.status == "canceled"
    (resolved,) = run.events(Kind.APPROVAL_RESOLVED)
    assert resolved.body is not None
    assert (resolved.body["approved"], resolved.body["by"]) == (False, "canceled")
    assert [command.child for command in run.commands if isinstance(command, CancelChild)] == [run.given(StartChild, "a")[0].child]


def test_questions_outlive_their_owner() -> None:
    run = one().ask("a", PAY, FLOW).crash().go()
    assert len(run.given(StartStep, "a")) == 1, "nothing was in flight"
    for question in questions(run):
        run.reply(question, "a")
    assert len(run.given(StartStep, "a")) == 2


def test_what_was_answered_is_given_to_every_later_attempt() -> None:
    run = one(", retry: {initial: 10ms}").ask("a", PAY)
    run.reply(questions(run)[0], "a").fail("a").wake()
    assert answers(run.given(StartStep, "a")[-1]) == [{"approved": True}]


def test_questions_use_no_attempt_up() -> None:
    run = World("steps: {a: {ONCE}}").go()
    for _ in range(3):
        run.ask("a", PAY)
        run.reply(questions(run)[0], "a")
    assert run.finish("a", "paid").state.status == "succeeded"


def test_items_ask_each_for_itself_and_let_others_go_on() -> None:
    run = many(", retry: {max_attempts: 1}")
    run.ask("a", PAY, index=1).ask("a", PAY, FLOW, index=2).finish("a", "one", index=0)
    assert (run.owned, run.state.waiting_for) == (False, "approval")
    first = next(question for question in questions(run) if question.index == 1)
    run.reply(first, "a")
    assert run.given(StartItems, "a")[-1].items == ((1, 2, 2),)
    assert answers(run.given(StartItems, "a")[-1]) == [{"approved": True}]
    run.finish("a", "two", index=1)
    for question in questions(run):
        run.reply(question, "a")
    run.finish("a", "three", index=2)
    assert run.output("a") == ["one", "two", "three"]


def test_items_that_wait_take_no_place() -> None:
    run = World("steps: {a: {PY, map: {over: '[1, 2, 3]', concurrency: 1}}}").go()
    for index in range(3):
        run.ask("a", PAY, index=index)
    assert [question.index for question in questions(run)] == [0, 1, 2]


def test_a_map_that_fails_takes_the_questions_of_its_items_back() -> None:
    run = many(", retry: {max_attempts: 1}").ask("a", PAY, index=0).fail("a", index=1)
    assert run.state.status == "failed"
    assert [event.body["by"] for event in run.events(Kind.APPROVAL_RESOLVED) if event.body] == ["canceled"]


def test_questions_of_items_expire_too() -> None:
    run = World("steps: {a: {PY, map: {over: '[1]'}}}").go().ask("a", {**PAY, "expires": 60_000}, index=0).wake()
    assert answers(run.given(StartItems, "a")[-1]) == [{"approved": False, "by": "expiry"}]
