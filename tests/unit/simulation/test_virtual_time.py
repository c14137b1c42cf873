"""Waiting costs nothing, and everything that waits comes in the order of time."""

import asyncio
import time
from collections import deque

import pytest

from runtime.simulation.clock import VirtualClock
from runtime.simulation.people import Decision, People, Sending
from runtime.simulation.platform import Stuck
from tests.unit.simulation.plays import FUNCTIONS, Play, play

HOUR = 3_600_000

WAITS = """\
name: waits
steps:
  long: {wait: {for: 30d}}
  short: {wait: {for: 90s}}
  after: {set: {x: 1}, needs: [short]}
"""
ASK = """\
name: ask
steps:
  review: {approval: {message: Well?, expires: 48h, on_expiry: fail}}
"""
RETRY = f"""\
name: retry
steps:
  try:
    python: {{function: "{FUNCTIONS}:flaky", args: {{until: 4}}}}
    retry: {{max_attempts: 4, backoff: exponential, initial: 1h, factor: 2, jitter: 0.5, maximum: 100h}}
"""


async def test_alarms_ring_in_order_and_canceled_ones_do_not():
    clock, rung = VirtualClock(1_000), []
    for moment, name in ((3_000, "b"), (2_000, "a"), (3_000, "c"), (500, "past")):
        clock.at(moment, lambda name=name: rung.append((name, clock.now())))
    clock.at(2_500, lambda: rung.append("never")).cancel()
    for _ in range(3):
        assert clock.jump()
        await asyncio.sleep(0)
    assert not clock.jump()
    assert rung == [("past", 1_000), ("a", 2_000), ("b", 3_000), ("c", 3_000)]
    assert clock.next is None


async def test_a_month_passes_in_no_time_and_in_order():
    began = time.monotonic()
    played = await play(Play((WAITS,)))
    assert played.row.status == "succeeded"
    assert played.at("step.succeeded", "short") == [90_000]
    assert played.at("step.succeeded", "after") == [90_000]
    assert played.at("step.succeeded", "long") == [30 * 24 * HOUR]
    assert time.monotonic() - began < 30


async def test_an_approval_nobody_answers_expires():
    played = await play(Play((ASK,)))
    assert (played.row.error or {})["code"] == "expired"
    assert played.at("step.failed", "review") == [48 * HOUR]


@pytest.mark.parametrize(("after", "status"), [(0, "succeeded"), (47 * HOUR, "succeeded"), (49 * HOUR, "failed")])
async def test_an_answer_comes_in_time_or_too_late(after, status):
    played = await play(Play((ASK,), people=People({"review": deque([Decision(True, after=after)])})))
    assert played.row.status == status
    assert played.at(f"run.{status}") == [min(after, 48 * HOUR)]


async def test_retries_wait_as_the_seed_says():
    first, again, other = [await play(Play((RETRY,), seed=seed)) for seed in (7, 7, 8)]
    started = first.at("step.started")
    assert len(started) == 4
    assert started[1] >= HOUR / 2
    assert again.at("step.started") == started
    assert other.at("step.started") != started


async def test_two_runs_of_one_seed_have_the_same_journal():
    def told(played):
        return [(e.kind, e.at, e.step, e.attempt, e.body) for e in played.events if e.kind != "run.claimed"]

    runs = [await play(Play((RETRY,), seed=7)) for _ in range(2)]
    assert told(runs[0]) == told(runs[1])


async def test_real_work_is_waited_for_before_time_passes():
    source = f"""\
name: work
steps:
  slow: {{python: {{function: "{FUNCTIONS}:slow", args: {{seconds: 0.3}}}}}}
  wait: {{wait: {{for: 1h}}}}
"""
    played = await play(Play((source,)))
    assert played.at("step.succeeded", "slow") == [0]
    assert played.at("step.succeeded", "wait") == [HOUR]


async def test_child_runs_share_the_time():
    parent = "name: parent\nsteps:\n  kid: {workflow: {name: kid}}\n  later: {wait: {for: 1h}, needs: [kid]}\n"
    played = await play(Play((parent, "name: kid\nsteps: {nap: {wait: {for: 2h}}}\n")))
    assert played.at("run.succeeded") == [3 * HOUR]


async def test_signals_come_while_a_step_waits_for_them():
    source = """\
name: hears
steps:
  words: {signal: {name: word, expires: 1d}, loop: {until: "output.last", max_iterations: 5}}
outputs: {last: steps.words.output}
"""
    sendings = deque([Sending({"last": False}, after=HOUR), Sending({"last": True}, after=HOUR)])
    people = People({}, {"word": sendings})
    played = await play(Play((source,), people=people))
    assert played.row.status == "succeeded"
    assert played.at("signal.received") == [HOUR, 2 * HOUR]
    assert people.left() == []


async def test_a_run_that_nothing_can_move_says_what_it_waits_for():
    with pytest.raises(Stuck, match="waits for the approval of step ask, and for the signal go of step hear, which nobody gives"):
        await play(Play(("name: stuck\nsteps:\n  ask: {approval: {message: Well?}}\n  hear: {signal: {name: go}}\n",)))


async def test_a_deadline_passes_too():
    played = await play(Play(("name: late\ndeadline: 2h\nsteps:\n  hear: {signal: {name: go}}\n",)))
    assert (played.row.error or {})["code"] == "deadline"
    assert played.at("run.failed") == [2 * HOUR]
