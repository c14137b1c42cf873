"""Every stored secret at once: found shut by a wrong key, put under a new one, and never changed by a start."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, select

from runtime.errors import SecretUnreadable
from runtime.ids import uuid7
from runtime.secrets import SecretBox
from runtime.settings import Settings
from runtime.store.key_protocol import ProviderKeyRow
from runtime.store.open import Store
from runtime.store.sealed import checked_box, discard, rewrap, shut
from runtime.store.tables import metadata
from runtime.store.webhooks import EndpointRow, HookRow
from tests.contract.store.desk import TENANT

OLD, NEW, OTHER = "old" * 12, "new" * 12, "xyz" * 12
BOX = SecretBox([OLD])
NOW = 1_800_000_000_000


def everything(connection: Connection) -> dict[str, list[Any]]:
    """Every row of every table."""
    return {table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in metadata.sorted_tables}


async def fill(store: Store, box: SecretBox = BOX) -> list[str]:
    """A secret of each kind; what is in each of the columns that hold them."""
    endpoint = EndpointRow(uuid7(), TENANT, "https://r.example/", ("*",), None, "", "", NOW, NOW)
    await store.outbox.add(replace(endpoint, secret=box.seal(b"first", endpoint.place)))
    await store.outbox.rotate(TENANT, endpoint.endpoint_id, box.seal(b"second", endpoint.place), until=NOW + 1)
    hook = HookRow(uuid7(), TENANT, "h", "brief", None, "t", b"x", "standard", None, None, None, {}, NOW)
    await store.hooks.add(replace(hook, secret=box.seal(b"third", hook.place)))
    key = ProviderKeyRow(uuid7(), TENANT, "openai", "", NOW, NOW)
    await store.provider_keys.put(replace(key, envelope=box.seal(b"fourth", key.place)))
    return [endpoint.endpoint_id, hook.hook_id, "openai"]


def settings(key: str) -> Settings:
    return Settings(secret_key=key)


async def test_the_right_keys_open_everything(store: Store):
    await fill(store)
    assert await shut(store, BOX, NOW) == []
    box = await checked_box(store, settings(f"{NEW},{OLD}"), NOW)
    assert box.open((await store.provider_keys.keys(TENANT))[0].envelope, (await store.provider_keys.keys(TENANT))[0].place) == b"fourth"


async def test_a_wrong_key_refuses_says_what_to_do_and_changes_nothing(store: Store):
    names = await fill(store)
    before = await store.reader.read(everything)
    with pytest.raises(SecretUnreadable) as refused:
        await checked_box(store, settings(OTHER), NOW)
    text = str(refused.value)
    assert "4 stored secrets cannot be opened" in text
    assert "`new,old`" in text
    assert all(name in text for name in names)
    assert not any(secret in text for secret in (OLD, OTHER, "fourth"))
    assert await store.reader.read(everything) == before


async def test_an_old_secret_of_an_endpoint_is_not_asked_for_once_its_time_is_over(store: Store):
    await fill(store)
    assert len(await shut(store, SecretBox([OTHER]), NOW)) == 4
    assert len(await shut(store, SecretBox([OTHER]), NOW + 1)) == 3


@pytest.mark.parametrize("change", [{"tenant": "other"}, {"provider": "anthropic"}])
async def test_a_key_that_was_moved_to_another_row_does_not_open(store: Store, change: dict[str, str]):
    await fill(store)
    (key,) = await store.provider_keys.keys(TENANT)
    await store.provider_keys.put(replace(key, id=uuid7(), **change))
    (found,) = await shut(store, BOX, NOW)
    assert "was changed, or belongs to another row" in found.reason


async def test_rotation_covers_every_kind_of_secret(store: Store):
    await fill(store)
    assert await rewrap(store, SecretBox([NEW, OLD])) == {"changed": 4}
    assert await rewrap(store, SecretBox([NEW])) == {"right": 4}
    assert await shut(store, SecretBox([NEW]), NOW) == []
    version = await store.provider_keys.version()
    await rewrap(store, SecretBox([OTHER, NEW]))
    assert await store.provider_keys.version() == version, "the keys are the same: nobody needs to read them again"


async def test_what_nobody_can_open_goes_only_when_somebody_says_so(store: Store):
    names = await fill(store)
    kept = ProviderKeyRow(uuid7(), "other", "openai", "", NOW, NOW)
    await store.provider_keys.put(replace(kept, envelope=SecretBox([OTHER]).seal(b"fifth", kept.place)))
    gone = await discard(store, SecretBox([OTHER]), NOW)
    assert {each.sealed.row for each in gone} == set(names)
    assert await store.outbox.endpoints(TENANT) == await store.hooks.hooks(TENANT) == await store.provider_keys.keys(TENANT) == []
    assert len(await store.provider_keys.keys("other")) == 1
    assert await discard(store, SecretBox([OTHER]), NOW) == []


async def test_an_endpoint_whose_secret_before_is_lost_keeps_the_present_one(store: Store):
    row = EndpointRow(uuid7(), TENANT, "https://r.example/", ("*",), None, "", "", NOW, NOW)
    await store.outbox.add(replace(row, secret=SecretBox([OTHER]).seal(b"lost", row.place)))
    await store.outbox.rotate(TENANT, row.endpoint_id, BOX.seal(b"present", row.place), until=NOW + 1)
    assert len(await discard(store, BOX, NOW)) == 1
    (left,) = await store.outbox.endpoints(TENANT)
    assert (BOX.open(left.secret, left.place), left.previous_secret) == (b"present", None)
