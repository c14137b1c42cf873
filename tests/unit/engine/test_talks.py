"""What steps hand on besides their outputs: messages, artifacts, and the conversation they take part in."""

from typing import Any

import pytest

from runtime.engine.commands import StartStep
from runtime.engine.events import Kind
from runtime.engine.fork import fork_events
from tests.unit.engine.driver import START, Result, World

ASK = "agent: {prompt: p}"
SAID = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]
FILE = {"name": "a.png", "digest": "1" * 64, "size": 5, "media_type": "image/png", "step": "x"}
SEEN = {"a.png": {"name": "a.png", "sha256": "1" * 64, "size": 5, "media_type": "image/png"}}


def finish(run: World, step: str, index: int | None = None, output: Any = "a", **more: Any) -> World:
    flight = run.flights[step, index]
    return run.go(results=[Result(step, flight.attempt, flight.iteration, index, output, None, **more)])


def test_messages_are_kept_where_they_are_read() -> None:
    run = World(f"steps:\n  a: {{{ASK}}}\n  b: {{agent: {{prompt: p, history: '${{{{ steps.a.messages }}}}'}}}}\n").go()
    assert [run.plan.steps[name].talks for name in ("a", "b")] == [True, False]
    finish(run, "a", messages=SAID)
    (start,) = run.given(StartStep, "b")
    assert start.scope == {"steps.a.messages": SAID}
    assert run.refold().steps["a"].messages == SAID


def test_a_step_that_was_skipped_has_said_nothing() -> None:
    run = World(
        f"steps:\n  a: {{{ASK}, when: 'false'}}\n  b: {{agent: {{prompt: p, history: '${{{{ steps.a.messages }}}}'}}, join: any, needs: [c]}}\n  c: {{{ASK}}}\n"
    ).go()
    finish(run, "c")
    (start,) = run.given(StartStep, "b")
    assert start.scope == {"steps.a.messages": None}


def test_artifacts_have_names() -> None:
    run = World(
        "steps:\n  x: {python: {function: 'm:f'}}\n  y: {set: {all: '${{ steps.x.artifacts }}', hash: \"${{ steps.x.artifacts['a.png'].sha256 }}\"}}\n"
    ).go()
    finish(run, "x", artifacts=(FILE,))
    assert run.output("y") == {"all": SEEN, "hash": "1" * 64}
    (event,) = [event for event in run.events(Kind.STEP_SUCCEEDED) if event.step == "x"]
    assert event.body["artifacts"] == [{"name": "a.png", "$artifact": {"sha256": "1" * 64, "size": 5, "media_type": "image/png"}}]


def test_artifacts_of_items() -> None:
    run = World("inputs: {l: {}}\nsteps:\n  x: {python: {function: 'm:f'}, map: {over: inputs.l}}\n", {"l": [1, 2]}).go()
    finish(run, "x", 0, artifacts=(FILE,))
    finish(run, "x", 1, artifacts=({**FILE, "name": "b.png"},))
    assert set(run.refold().steps["x"].artifacts) == {"a.png", "b.png"}


def test_an_agent_with_attachments_may_see_the_artifacts_of_every_step_it_reads() -> None:
    run = World(
        "inputs: {l: {}}\nsteps:\n  x: {python: {function: 'm:f'}}\n  z: {python: {function: 'm:f'}}\n"
        "  y: {agent: {prompt: p, attachments: '${{ steps.x.output }}'}, needs: [z]}\n"
    ).go()
    finish(run, "z", artifacts=({**FILE, "name": "other.png"},))
    finish(run, "x", output=FILE, artifacts=(FILE,))
    (start,) = run.given(StartStep, "y")
    assert start.scope == {"steps.x.output": FILE, "steps.x.artifacts": SEEN}


def test_only_so_many_artifacts_are_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.engine.items.MAX_ARTIFACTS", 3)
    run = World("inputs: {l: {}}\nsteps:\n  x: {python: {function: 'm:f'}, map: {over: inputs.l}}\n", {"l": [1, 2, 3]}).go()
    for index in range(3):
        finish(run, "x", index, artifacts=tuple({**FILE, "name": f"{index}-{n}"} for n in range(2)))
    assert list(run.refold().steps["x"].artifacts) == ["0-0", "0-1", "1-0"]


TALK = "inputs: {t: {type: string}}\nsteps:\n  a: {agent: {prompt: p, conversation: 'c-${{ inputs.t }}'}}\n"


def test_a_conversation_is_named_when_the_step_starts() -> None:
    run = World(TALK, {"t": "1"}).go()
    (start,) = run.given(StartStep, "a")
    assert start.conversation == "c-1"
    assert run.events(Kind.STEP_STARTED)[0].body == {"conversation": "c-1"}
    finish(run, "a", messages=SAID)
    assert run.events(Kind.STEP_SUCCEEDED)[0].body == {"output": "a", "messages": SAID, "conversation": "c-1"}


def test_a_name_that_is_none_fails_the_step() -> None:
    run = World(TALK, {"t": "/etc"}).go()
    assert (run.error("a"), run.state.status) == ("expression_failed", "failed")


def test_the_last_round_of_a_loop_is_what_was_said() -> None:
    run = World("steps:\n  a: {agent: {prompt: p, conversation: c}, loop: {max_iterations: 2}}\n").go()
    finish(run, "a", messages=SAID)
    last = [{"role": "user", "content": "again"}]
    finish(run, "a", messages=last, artifacts=(FILE,))
    assert [event.body.get("conversation") for event in run.events(Kind.STEP_ITERATED)] == ["c", "c"]
    assert (run.state.steps["a"].messages, run.state.steps["a"].artifacts, run.state.status) == (last, SEEN, "succeeded")


def test_a_fork_takes_messages_and_artifacts_over() -> None:
    source = f"steps:\n  a: {{{ASK}}}\n  b: {{agent: {{prompt: '${{{{ steps.a.artifacts }}}}', history: '${{{{ steps.a.messages }}}}'}}}}\n"
    run = World(source).go()
    finish(run, "a", messages=SAID, artifacts=(FILE,))
    finish(run, "b")
    reused = fork_events(run.plan, run.state, restart=frozenset({"b"}), at=START)
    fork = World(run.plan, reused=reused).go()
    (start,) = fork.given(StartStep, "b")
    assert start.scope == {"steps.a.messages": SAID, "steps.a.artifacts": SEEN}
