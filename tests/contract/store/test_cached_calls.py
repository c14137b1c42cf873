"""Kept answers of models as both databases keep them."""

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.artifacts.local import LocalArtifacts
from runtime.clock import SystemClock
from runtime.retention import Janitor
from runtime.settings import Settings
from runtime.store import cached_calls
from runtime.store.cached_call_protocol import CachedCall
from runtime.store.open import Store
from tests.contract.store.desk import TENANT
from tests.contract.store.faults import FailingCommit

LONG = "x" * 300


def kept(number: int = 1, **fields: object) -> CachedCall:
    return replace(CachedCall(TENANT, f"{number:064d}", "brief", "openai:m", 1000 + number, 9000, '{"text": "größer 🐝"}'), **fields)  # type: ignore[arg-type]


async def test_an_answer_reads_back_until_it_expires(store: Store, second: Store):
    await store.cached_calls.keep(kept())
    assert await second.cached_calls.find(TENANT, kept().digest, 8999) == kept()
    assert await store.cached_calls.find(TENANT, kept().digest, 9000) is None
    assert await store.cached_calls.find(TENANT, kept(2).digest, 0) is None
    assert await store.cached_calls.find("other", kept().digest, 0) is None
    assert "größer" not in repr(kept())


async def test_the_later_answer_stays(store: Store):
    later = kept(created_at=2000, answer='"b"', expires_at=9500)
    await store.cached_calls.keep(kept())
    await store.cached_calls.keep(later)
    await store.cached_calls.keep(kept(created_at=1500, answer='"late"'))
    assert await store.cached_calls.find(TENANT, later.digest, 0) == later
    assert await store.cached_calls.size(TENANT) == (1, 3)


async def test_a_tenant_clears_its_own(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cached_calls, "PORTION", 2)
    for number in range(7):
        await store.cached_calls.keep(kept(number, workflow="one" if number % 2 else "two"))
    await store.cached_calls.keep(kept(1, tenant="other"))
    assert await store.cached_calls.clear(TENANT, "one") == 3
    assert await store.cached_calls.clear(TENANT, "none") == 0
    assert await store.cached_calls.clear(TENANT) == 4
    assert await store.cached_calls.size(TENANT) == (0, 0)
    assert await store.cached_calls.size("other") == (1, len(kept().answer.encode()))


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_answer_lost_at_commit_is_kept_once(store: Store, cut: str):
    faults = FailingCommit(store)
    faults.plan = [cut]
    await store.cached_calls.keep(kept())
    assert faults.failed == 1
    assert await store.cached_calls.find(TENANT, kept().digest, 0) == kept()


async def test_the_janitor_lets_go_what_has_expired_and_what_is_too_much(store: Store, tmp_path: Path):
    now = SystemClock().now()
    for number in range(300):
        await store.cached_calls.keep(kept(number, created_at=now + number, expires_at=now + 1 if number < 20 else now + 10**7, answer=LONG))
    settings = Settings(home=tmp_path, call_cache_max_bytes=30 * len(LONG))

    class Later(SystemClock):
        def now(self) -> int:
            return now + 1000

    await Janitor(store.retention, LocalArtifacts(settings.artifacts), settings, Later(), pause=0).round()
    entries, size = await store.cached_calls.size(TENANT)
    assert entries == 30, "the oldest go, a portion at a time, until the rest fits"
    assert size <= settings.call_cache_max_bytes
    assert await store.cached_calls.find(TENANT, kept(299).digest, now) is not None
