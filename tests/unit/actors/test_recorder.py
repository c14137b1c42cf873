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
    """An actor whose `record` gives these answers one after the other."""

    async def record(*_: Any) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

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
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not recording.done()
    kept.belongs([call(3)], "workflow-2")
    await asyncio.wait_for(recording, 5)
