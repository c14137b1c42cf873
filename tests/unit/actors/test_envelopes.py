"""An AgentActor asks the Supervisor for stored keys, also over a restart of it, and gives up in the end."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from ray.exceptions import ActorDiedError

from actors import envelopes
from actors.envelopes import credentials, from_supervisor
from runtime.errors import StepFailed
from runtime.keys.pair import Pair
from runtime.secrets import open_box
from runtime.settings import Settings
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


async def test_a_process_opens_with_its_own_settings_what_the_supervisor_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, key = Settings(secret_key="k" * 32), SecretStr("sk-canary-2718281828459045")
    there = supervisor([[replace(ROW, envelope=Pair(key, None).sealed(open_box(wanted), ROW))]], [])
    monkeypatch.setattr(envelopes, "handle", lambda _name: there)
    assert (await credentials(wanted).of("acme", "openai")).key == key
    with pytest.raises(StepFailed) as failed:
        await credentials(Settings(secret_key="x" * 32)).of("acme", "openai")
    assert failed.value.error_code == "provider_key_unreadable"
