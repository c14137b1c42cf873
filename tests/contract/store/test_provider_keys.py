"""Provider keys as both databases keep them."""

from dataclasses import replace
from typing import Any

import pytest

from runtime.ids import uuid7
from runtime.store.key_protocol import ProviderKeyRow
from runtime.store.open import Store
from tests.contract.store.desk import TENANT, tick
from tests.contract.store.faults import FailingCommit


def a_key(provider: str = "openai", **fields: Any) -> ProviderKeyRow:
    at = tick()
    return replace(ProviderKeyRow(uuid7(at), TENANT, provider, f"sealed-{at}", at, at), **fields)


async def test_a_key_reads_back(store: Store):
    one, two = a_key("openai"), a_key("anthropic")
    assert await store.provider_keys.put(one) == one
    await store.provider_keys.put(two)
    assert await store.provider_keys.key(TENANT, "openai") == one
    assert await store.provider_keys.keys(TENANT) == [two, one]
    assert one.envelope not in repr(one)


async def test_one_tenant_has_one_key_for_a_provider(store: Store):
    first, second = a_key(), a_key()
    await store.provider_keys.put(first)
    stored = await store.provider_keys.put(second)
    assert stored == replace(second, id=first.id, created_at=first.created_at)
    assert await store.provider_keys.keys(TENANT) == [stored]


async def test_another_tenant_has_its_own(store: Store):
    mine, theirs = a_key(), a_key(tenant="other")
    await store.provider_keys.put(mine)
    assert await store.provider_keys.key("other", "openai") is None
    assert not await store.provider_keys.remove("other", "openai")
    await store.provider_keys.put(theirs)
    assert await store.provider_keys.keys(TENANT) == [mine]
    assert await store.provider_keys.remove(TENANT, "openai")
    assert not await store.provider_keys.remove(TENANT, "openai")
    assert await store.provider_keys.keys("other") == [theirs]


async def test_every_change_is_another_version(store: Store, second: Store):
    row, versions = a_key(), [await store.provider_keys.version()]
    for change in (
        store.provider_keys.put(row),
        store.provider_keys.put(a_key("google")),
        # A clock that was put back: the change shows all the same.
        store.provider_keys.put(replace(row, envelope="another", updated_at=5)),
        store.provider_keys.remove(TENANT, "google"),
        store.provider_keys.remove(TENANT, "openai"),
    ):
        await change
        versions.append(await second.provider_keys.version())
    assert versions[0] == versions[-1]
    assert len(set(versions)) == len(versions) - 1


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_answer_lost_at_commit_changes_nothing_twice(store: Store, cut: str):
    faults, row = FailingCommit(store), a_key()
    faults.plan = [cut]
    assert await store.provider_keys.put(row) == row
    assert faults.failed == 1
    assert await store.provider_keys.keys(TENANT) == [row]
