"""Which key a call is made with, how long one is believed, and that nothing of it is seen on the way."""

import asyncio
import ipaddress
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from runtime.agents.credentials import Credential, FromSettings
from runtime.errors import SecretUnreadable, StepFailed
from runtime.ids import uuid7
from runtime.keys.base_urls import BaseUrls
from runtime.keys.credentials import KEEP_SECONDS, StoredCredentials
from runtime.keys.pair import Pair
from runtime.secrets import SecretBox
from runtime.settings import Settings
from runtime.steps.addresses import Address
from runtime.store.key_protocol import ProviderKeyRow

KEY = "sk-canary-2718281828459045"
BOX = SecretBox(["k" * 32])
OPERATOR = Settings(openai_api_key="sk-operator-000000")


def row(key: str | None = KEY, base_url: str | None = None, *, tenant: str = "acme", provider: str = "openai", box: SecretBox = BOX) -> ProviderKeyRow:
    bare = ProviderKeyRow(uuid7(), tenant, provider, "", 1, 1)
    return replace(bare, envelope=Pair(None if key is None else SecretStr(key), base_url).sealed(box, bare))


class Shop:
    """What is stored, how often it was asked for, and the hands of a clock."""

    def __init__(self, *rows: ProviderKeyRow) -> None:
        self.rows = {(each.tenant, each.provider): each for each in rows}
        self.asked: list[tuple[str, str]] = []
        self.now = 0.0
        self.before: Callable[[], Any] | None = None

    async def find(self, tenant: str, provider: str) -> ProviderKeyRow | None:
        self.asked.append((tenant, provider))
        found = self.rows.get((tenant, provider))
        await asyncio.sleep(0)
        if self.before is not None:
            hook, self.before = self.before, None
            hook()
        return found

    def credentials(self, *, keep: float = KEEP_SECONDS, box: Callable[[], SecretBox] = lambda: BOX) -> StoredCredentials:
        return StoredCredentials(self.find, box, FromSettings(OPERATOR), BaseUrls([], _public), keep=keep, monotonic=lambda: self.now)


async def _public(host: str, port: int) -> Sequence[Address]:
    return [ipaddress.ip_address("127.0.0.1" if "inside" in host else "8.8.8.8")]


def shown(credential: Credential) -> str | None:
    return None if credential.key is None else credential.key.get_secret_value()


async def test_the_tenants_own_key_wins_over_the_operators() -> None:
    keys = Shop(row()).credentials()
    mine, theirs = await keys.of("acme", "openai"), await keys.of("other", "openai")
    assert (shown(mine), mine.trusted) == (KEY, False)
    assert (shown(theirs), theirs.trusted) == ("sk-operator-000000", True)
    assert KEY not in repr(mine)


async def test_a_key_comes_with_the_address_it_is_for() -> None:
    keys = Shop(row(base_url="https://eu.example/v1"), row(None, "https://free.example", provider="anthropic")).credentials()
    assert (await keys.of("acme", "openai")).base_url == "https://eu.example/v1"
    assert await keys.of("acme", "anthropic") == Credential("anthropic", None, "https://free.example")


async def test_without_any_key_the_sentence_says_what_to_do() -> None:
    with pytest.raises(StepFailed) as failed:
        await Shop().credentials().of("acme", "anthropic")
    assert (failed.value.error_code, failed.value.retryable) == ("provider_not_configured", False)
    assert "agentic provider-keys set anthropic" in str(failed.value)
    assert "ANTHROPIC_API_KEY" in str(failed.value)


@pytest.mark.parametrize(
    "wrong",
    [
        row(box=SecretBox(["x" * 32])),
        replace(row(tenant="other"), tenant="acme"),
        replace(row(provider="anthropic"), provider="openai"),
        replace(row(), envelope="rubbish"),
    ],
    ids=["another SECRET_KEY", "of another tenant", "of another provider", "rubbish"],
)
async def test_a_key_that_does_not_open_is_no_reason_to_take_the_operators(wrong: ProviderKeyRow) -> None:
    with pytest.raises(StepFailed) as failed:
        await Shop(wrong).credentials().of("acme", "openai")
    assert (failed.value.error_code, failed.value.retryable) == ("provider_key_unreadable", True)
    assert KEY not in str(failed.value)


async def test_nor_is_one_whose_address_leads_inside() -> None:
    with pytest.raises(StepFailed) as failed:
        await Shop(row(base_url="https://inside.example/v1")).credentials().of("acme", "openai")
    assert failed.value.error_code == "outbound_refused"


async def test_a_damaged_key_file_fails_the_call_and_not_the_process() -> None:
    def damaged() -> SecretBox:
        raise SecretUnreadable("secret-key in the home folder holds no key")

    keys = Shop(row()).credentials(box=damaged)
    assert shown(await keys.of("other", "openai")) == "sk-operator-000000"
    with pytest.raises(StepFailed, match="secret-key"):
        await keys.of("acme", "openai")


async def test_what_was_found_is_believed_for_a_minute() -> None:
    shop = Shop(row())
    keys = shop.credentials()
    for tenant in ("acme", "none"):
        for moment in (0.0, KEEP_SECONDS - 1):
            shop.now = moment
            await keys.of(tenant, "openai")
        assert shop.asked == [(tenant, "openai")]
        shop.now = KEEP_SECONDS + 1
        await keys.of(tenant, "openai")
        assert len(shop.asked) == 2
        shop.asked.clear()
        shop.now = 0.0


async def test_a_process_with_the_database_at_hand_believes_nothing() -> None:
    shop = Shop(row())
    keys = shop.credentials(keep=0)
    await keys.of("acme", "openai")
    shop.rows.clear()
    assert shown(await keys.of("acme", "openai")) == "sk-operator-000000"


async def test_a_change_anywhere_ends_what_is_believed_at_once() -> None:
    shop = Shop(row())
    keys = shop.credentials()
    keys.heard("1-1")
    await keys.of("acme", "openai")
    shop.rows["acme", "openai"] = row("sk-the-new-one-1234")
    keys.heard("1-1")
    assert shown(await keys.of("acme", "openai")) == KEY
    keys.heard("1-2")
    assert shown(await keys.of("acme", "openai")) == "sk-the-new-one-1234"
    shop.rows.clear()
    keys.heard("0-0")
    assert shown(await keys.of("acme", "openai")) == "sk-operator-000000"


async def test_an_answer_from_before_a_change_is_asked_for_again() -> None:
    shop = Shop(row())
    keys = shop.credentials()

    def change() -> None:
        shop.rows["acme", "openai"] = row("sk-the-new-one-1234")
        keys.heard("1-2")

    shop.before = change
    assert shown(await keys.of("acme", "openai")) == "sk-the-new-one-1234"
    assert len(shop.asked) == 2


async def test_many_calls_at_once_ask_once_and_one_that_is_canceled_takes_nobody_along() -> None:
    shop = Shop(row())
    keys = shop.credentials()
    first, *others = [asyncio.create_task(keys.of("acme", "openai")) for _ in range(200)]
    await asyncio.sleep(0)
    first.cancel()
    assert {shown(found) for found in await asyncio.gather(*others)} == {KEY}
    assert len(shop.asked) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_is_not_kept() -> None:
    shop = Shop(row())
    keys = shop.credentials()

    def fail() -> None:
        raise StepFailed("keys_unavailable", "nobody answers")

    shop.before = fail
    with pytest.raises(StepFailed, match="nobody answers"):
        await keys.of("acme", "openai")
    assert shown(await keys.of("acme", "openai")) == KEY


def test_what_travels_between_processes_can_be_read_by_nobody() -> None:
    travelling = pickle.dumps(row(base_url="https://secret-gateway.example/v1"))
    assert KEY.encode() not in travelling
    assert b"secret-gateway" not in travelling


async def test_the_operators_keys_of_all_providers() -> None:
    settings = Settings(anthropic_api_key="a", google_api_key="g", bedrock_api_key="b", bedrock_base_url="https://bedrock-runtime.eu-west-1.amazonaws.com")
    found = {name: await FromSettings(settings).of("acme", name) for name in ("anthropic", "google", "bedrock")}
    assert {name: shown(credential) for name, credential in found.items()} == {"anthropic": "a", "google": "g", "bedrock": "b"}
    local = await FromSettings(Settings(openai_compatible_base_url="http://127.0.0.1:11434/v1")).of("acme", "openai-compatible")
    assert local == Credential("openai-compatible", None, "http://127.0.0.1:11434/v1", trusted=True)
    for name, wanted in {
        "bedrock": Settings(bedrock_api_key="b"),
        "openai-compatible": Settings(openai_compatible_api_key="c"),
        "openai": Settings(openai_api_key=""),
        "nobody": settings,
    }.items():
        with pytest.raises(StepFailed) as failed:
            await FromSettings(wanted).of("acme", name)
        assert failed.value.error_code == "provider_not_configured"


def test_operators_keys_come_from_the_variables_people_know(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ANTHROPIC_API_KEY": "a", "GEMINI_API_KEY": "g", "AWS_BEARER_TOKEN_BEDROCK": "b", "ANTHROPIC_BASE_URL": "https://x"}.items():
        monkeypatch.setenv(name, value)
    found = Settings()
    assert [found.anthropic_api_key, found.google_api_key, found.bedrock_api_key] == [SecretStr("a"), SecretStr("g"), SecretStr("b")]
    assert found.anthropic_base_url == "https://x"
    assert set(Settings.secrets()) == {name for name in Settings.model_fields if name.endswith("_api_key") or name in {"secret_key", "otel_headers"}}
    assert {"GEMINI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", "SECRET_KEY"} <= Settings.variables(Settings.secrets())
