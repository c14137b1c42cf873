"""Finished model calls find the owner they are for, also when its name had belonged to another actor."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from actors import recorder
from actors.recorder import Recorder
from runtime.steps.protocol import StepCall


def call(epoch: int) -> StepCall:
    return StepCall("run", epoch, "flow", "0" * 64, "step", "agent", {}, {}, attempt=1)


def actor(answers: list[Any]) -> Any:
    """An actor whose `record` gives these answers one after the other, the same for all calls that come together."""

    async def record(_run_id: str, _epoch: int, calls: list[Any]) -> list[bool]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [bool(answer)] * len(calls)

    return SimpleNamespace(record=SimpleNamespace(remote=record))


async def test_a_call_is_handed_over_again_when_the_handle_was_of_an_actor_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    handles = [actor([ActorDiedError()]), actor([True])]
    monkeypatch.setattr(recorder, "handle", lambda _name: handles.pop(0))
    kept = Recorder()
    kept.belongs([call(2)], "workflow-1")
    await asyncio.wait_for(kept.record(call(2), None, {"name": "model"}), 5)
    assert handles == []


async def test_a_call_its_owner_refuses_is_kept_for_the_next_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    told = actor([False, True])
    monkeypatch.setattr(recorder, "handle", lambda _name: told)
    kept = Recorder()
    kept.belongs([call(2)], "workflow-1")
    recording = asyncio.create_task(kept.record(call(2), None, {"name": "model"}))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not recording.done()
    kept.belongs([call(3)], "workflow-2")
    await asyncio.wait_for(recording, 5)


async def test_calls_of_a_map_travel_together_and_each_gets_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    letters: list[list[int]] = []

    async def record(_run_id: str, _epoch: int, calls: list[Any]) -> list[bool]:
        letters.append([body["n"] for _, body in calls])
        return [body["n"] != 7 or len(letters) > 1 for _, body in calls]

    monkeypatch.setattr(recorder, "handle", lambda _name: SimpleNamespace(record=SimpleNamespace(remote=record)))
    kept = Recorder()
    kept.belongs([call(2)], "workflow-1")
    recordings = [asyncio.create_task(kept.record(call(2), n, {"name": "model", "n": n})) for n in range(100)]
    done, pending = await asyncio.wait(recordings, timeout=1)
    assert [len(letter) for letter in letters] == [recorder.MOST, 100 - recorder.MOST]
    assert len(done) == 99
    assert pending == {recordings[7]}  # it waits for another owner
    kept.belongs([call(3)], "workflow-2")
    await asyncio.wait_for(recordings[7], 5)
    assert letters[2:] == [[7]]
    assert not kept._posts  # nothing is kept for runs that have ended


async def test_a_canceled_call_does_not_hold_up_those_it_travels_with(monkeypatch: pytest.MonkeyPatch) -> None:
    held = asyncio.Event()

    async def record(_run_id: str, _epoch: int, calls: list[Any]) -> list[bool]:
        await held.wait()
        return [True] * len(calls)

    monkeypatch.setattr(recorder, "handle", lambda _name: SimpleNamespace(record=SimpleNamespace(remote=record)))
    kept = Recorder()
    kept.belongs([call(2)], "workflow-1")
    first, second = [asyncio.create_task(kept.record(call(2), n, {"name": "model", "n": n})) for n in range(2)]
    await asyncio.sleep(0.01)
    first.cancel()
    held.set()
    await asyncio.wait_for(second, 5)
    assert first.cancelled()
    await asyncio.sleep(0)
    assert not kept._posts
