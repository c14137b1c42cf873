"""API keys: their form, their life, and the key of the local default."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.api.callers import Callers
from runtime.api.keys import ADMIN, READ, WRITE, ensure_local_key, issue, verify
from runtime.errors import Forbidden, Unauthorized
from runtime.store.catalog_protocol import KeyRow
from runtime.tokens import KEY, TICKET, make, parse
from tests.api.world import World


class Hands:
    """A clock that moves when told."""

    def __init__(self, now: int) -> None:
        self.ms = now

    def now(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


def test_a_key_reads_back() -> None:
    key = make()
    again = parse(key.text)
    assert again == key
    assert key.text not in repr(key)
    assert make().text != key.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t[:-1],
        lambda t: t + "0",
        lambda t: t.upper(),
        lambda t: t[:-1] + ("0" if t[-1] != "0" else "1"),
        lambda t: " " + t,
        lambda t: "",
        lambda t: "null",
        lambda t: t.replace("ak_", "sk_"),
    ],
)
def test_a_spoiled_key_is_none(spoil) -> None:
    assert parse(spoil(make().text)) is None


def test_a_row_verifies_only_its_own_key_while_it_lives() -> None:
    key = make()
    row = KeyRow(key.key_id, "default", "k", key.digest, (READ,), 0, expires_at=1000)
    assert verify(key, row, 999)
    assert not verify(key, row, 1000)
    assert not verify(key, replace(row, revoked_at=5), 6)
    assert not verify(make(), row, 1)
    assert not verify(key, replace(row, digest=b""), 1)
    assert not verify(key, None, 1)


async def test_callers_learn_scope_expiry_and_revocation(world: World) -> None:
    clock = Hands(1_000_000)
    catalog = world.store.catalog
    callers = Callers(catalog, clock)
    key, row = await issue(catalog, "acme", name="reader", scopes=(READ,), now=clock.ms, expires_at=clock.ms + 10_000)
    caller = await callers.by_key(key.text)
    assert (caller.tenant, caller.name) == ("acme", "reader")
    caller.check(READ)
    for scope in (WRITE, ADMIN):
        with pytest.raises(Forbidden):
            caller.check(scope)
    clock.ms += 10_000
    with pytest.raises(Unauthorized):
        await callers.by_key(key.text)
    key, row = await issue(catalog, "acme", name="reader", scopes=(READ,), now=clock.ms)
    await callers.by_key(key.text)
    assert await catalog.revoke_key("acme", row.key_id, clock.ms)
    await callers.by_key(key.text)
    clock.ms += 2_001
    with pytest.raises(Unauthorized):
        await callers.by_key(key.text)


async def test_a_revocation_made_here_counts_at_once(world: World) -> None:
    callers = Callers(world.store.catalog)
    key, row = await issue(world.store.catalog, "acme", name="w", scopes=(WRITE,), now=0)
    await callers.by_key(key.text)
    await world.store.catalog.revoke_key("acme", row.key_id, 1)
    callers.forget(row.key_id)
    with pytest.raises(Unauthorized):
        await callers.by_key(key.text)


async def test_a_ticket_opens_one_stream_once(world: World) -> None:
    clock = Hands(1_000_000)
    callers = Callers(world.store.catalog, clock)
    who = await callers.by_key(world.key)
    text, expires_at = await callers.ticket(who, "run-1")
    assert expires_at == clock.ms + 60_000
    with pytest.raises(Unauthorized):
        await callers.by_ticket(text, "run-2")
    caller = await callers.by_ticket(text, "run-1")
    caller.check(READ, run_id="run-1")
    with pytest.raises(Forbidden):
        caller.check(READ, run_id="run-2")
    with pytest.raises(Forbidden):
        caller.check(READ)
    for attempt in (callers.by_ticket(text, "run-1"), callers.by_key(text), callers.by_ticket(world.key, "run-1")):
        with pytest.raises(Unauthorized):
            await attempt
    late, _ = await callers.ticket(who, "run-1")
    clock.ms += 60_000
    with pytest.raises(Unauthorized):
        await callers.by_ticket(late, "run-1")


async def test_the_local_key_is_made_once_and_private(world: World, tmp_path: Path) -> None:
    home = tmp_path / "home"
    text = await ensure_local_key(world.store.catalog, home)
    assert stat.S_IMODE((home / "api-key").stat().st_mode) == 0o600
    assert await ensure_local_key(world.store.catalog, home) == text
    assert (await Callers(world.store.catalog).by_key(text)).scopes == (ADMIN,)
    assert [path.name for path in home.iterdir()] == ["api-key"]


async def test_the_local_key_survives_a_new_database(world: World, tmp_path: Path) -> None:
    key = make(KEY)
    (tmp_path / "api-key").write_text(key.text)
    assert await ensure_local_key(world.store.catalog, tmp_path) == key.text
    assert (await Callers(world.store.catalog).by_key(key.text)).tenant == "default"


@pytest.mark.parametrize("content", ["", "rubbish", make(TICKET).text], ids=["empty", "rubbish", "a ticket"])
async def test_a_useless_key_file_is_replaced(world: World, tmp_path: Path, content: str) -> None:
    (tmp_path / "api-key").write_text(content)
    text = await ensure_local_key(world.store.catalog, tmp_path)
    assert (tmp_path / "api-key").read_text().strip() == text
    assert parse(text)


async def test_a_revoked_local_key_is_replaced(world: World, tmp_path: Path) -> None:
    text = await ensure_local_key(world.store.catalog, tmp_path)
    key = parse(text)
    assert key
    await world.store.catalog.revoke_key("default", key.key_id, 1)
    assert await ensure_local_key(world.store.catalog, tmp_path) != text
