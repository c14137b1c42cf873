"""Hooks as both databases keep them."""

from dataclasses import replace
from typing import Any

import pytest

from runtime.errors import Conflict, LimitExceeded
from runtime.ids import uuid7
from runtime.store import hooks
from runtime.store.open import Store
from runtime.store.webhooks import HookRow
from tests.contract.store.desk import TENANT, tick
from tests.contract.store.faults import FailingCommit


def a_hook(name: str = "push", **fields: Any) -> HookRow:
    hook_id = uuid7()
    row = HookRow(
        hook_id, TENANT, name, "brief", None, hook_id[-12:], b"\0\xff", "standard", None, "sealed", {"topic": "${{ body.topic }}"}, {"a": "b"}, tick()
    )
    return replace(row, **fields)


async def test_a_hook_reads_back(store: Store):
    row, plain = a_hook("b"), a_hook("a", inputs=None, secret=None, version="0" * 64, verify="none", labels={})
    await store.hooks.add(row)
    await store.hooks.add(plain)
    assert await store.hooks.hook(TENANT, row.hook_id) == row
    assert await store.hooks.by_token(plain.token_id) == plain
    assert await store.hooks.hooks(TENANT) == [plain, row]
    assert await store.hooks.hooks("other") == []
    assert await store.hooks.hook("other", row.hook_id) is None
    assert await store.hooks.by_token("nothing") is None


async def test_a_name_is_taken_once_per_tenant(store: Store):
    await store.hooks.add(a_hook())
    with pytest.raises(Conflict, match="push"):
        await store.hooks.add(a_hook())
    await store.hooks.add(a_hook(tenant="other"))


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_answer_lost_at_commit_is_no_conflict(store: Store, cut: str):
    faults, row = FailingCommit(store), a_hook()
    faults.plan = [cut]
    await store.hooks.add(row)
    assert faults.failed == 1
    assert await store.hooks.hooks(TENANT) == [row]


async def test_rotation_ends_the_token_before(store: Store):
    row = a_hook()
    await store.hooks.add(row)
    rotated = await store.hooks.rotate(TENANT, row.hook_id, token_id="other", digest=b"x", secret="new")
    assert rotated == replace(row, token_id="other", digest=b"x", secret="new")
    assert await store.hooks.by_token(row.token_id) is None
    assert await store.hooks.rotate("other", row.hook_id, token_id="t", digest=b"x", secret=None) is None


async def test_removal(store: Store):
    row = a_hook()
    await store.hooks.add(row)
    assert not await store.hooks.remove("other", row.hook_id)
    assert await store.hooks.remove(TENANT, row.hook_id)
    assert not await store.hooks.remove(TENANT, row.hook_id)


async def test_hooks_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hooks, "MAX_HOOKS", 1)
    await store.hooks.add(a_hook())
    with pytest.raises(LimitExceeded):
        await store.hooks.add(a_hook("other"))
