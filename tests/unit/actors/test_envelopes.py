"""An AgentActor asks the Supervisor for stored keys, also over a restart of it, and gives up in the end."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from actors import envelopes
from actors.envelopes import from_supervisor
from runtime.errors import StepFailed
from runtime.store.key_protocol import ProviderKeyRow

ROW = ProviderKeyRow("1", "acme", "openai", "sealed", 1, 1)


def supervisor(answers: list[Any], asked: list[Any]) -> Any:
    async def remote(*wanted: str) -> list[ProviderKeyRow]:
        asked.append(wanted)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        found: list[ProviderKeyRow] = answer
        return found

    return SimpleNamespace(envelopes=SimpleNamespace(remote=remote))


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "RETRY_SECONDS", 0)


@pytest.mark.parametrize(("answers", "expected"), [([[ROW]], ROW), ([[]], None), ([ActorDiedError(), ValueError("no such actor"), [ROW]], ROW)])
async def test_what_is_stored(monkeypatch: pytest.MonkeyPatch, answers: list[Any], expected: ProviderKeyRow | None) -> None:
    asked: list[Any] = []
    there = supervisor(answers, asked)
    monkeypatch.setattr(envelopes, "handle", lambda _name: there)
    assert await from_supervisor("acme", "openai") == expected
    assert set(asked) == {("acme", "openai")}


async def test_without_a_supervisor_the_call_may_be_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelopes, "PATIENCE_SECONDS", 0.05)
    there = supervisor([ActorDiedError()], [])
    monkeypatch.setattr(envelopes, "handle", lambda _name: there)
    with pytest.raises(StepFailed) as failed:
        await from_supervisor("acme", "openai")
    assert (failed.value.error_code, failed.value.retryable) == ("keys_unavailable", True)
