"""The catalog: versions, keys, names of artifacts."""

import asyncio
from dataclasses import replace

import pytest

from runtime.errors import Conflict, VersionChanged
from runtime.store.catalog_protocol import ArtifactRow, DefinitionRow, KeyRow
from runtime.store.open import Store
from tests.contract.store.desk import TENANT, Desk, tick


def version(digest: str, workflow: str = "brief", tenant: str = TENANT) -> DefinitionRow:
    return DefinitionRow(tenant, workflow, digest, {"name": workflow, "text": digest, "zero": "\0"}, tick(), 0)


async def test_versions_count_and_the_last_published_is_current(store: Store):
    first = await store.catalog.publish(version("a"))
    second = await store.catalog.publish(version("b"))
    assert (first.version, second.version) == (1, 2)
    assert await store.catalog.current(TENANT, "brief") == second
    assert await store.catalog.definition(TENANT, "a") == first
    assert await store.catalog.versions(TENANT, "brief") == [second, first]
    assert await store.catalog.versions(TENANT, "brief", before=2, limit=1) == [first]


async def test_the_same_content_is_the_same_version(store: Store):
    first = await store.catalog.publish(version("a"))
    await store.catalog.publish(version("b"))
    assert await store.catalog.publish(version("a")) == first
    assert await store.catalog.current(TENANT, "brief") == first
    assert len(await store.catalog.versions(TENANT, "brief")) == 2


async def test_create_refuses_what_exists_and_if_match_what_moved(store: Store):
    await store.catalog.publish(version("a"), create=True)
    with pytest.raises(Conflict):
        await store.catalog.publish(version("b"), create=True)
    with pytest.raises(VersionChanged):
        await store.catalog.publish(version("b"), if_match="x")
    await store.catalog.publish(version("b"), if_match="a")
    with pytest.raises(VersionChanged):
        await store.catalog.publish(version("c"), if_match="a")
    with pytest.raises(VersionChanged):
        await store.catalog.publish(version("n", "new"), if_match="a")
    assert await store.catalog.current(TENANT, "new") is None
    assert await store.catalog.workflows(TENANT) == [await store.catalog.current(TENANT, "brief")]


async def test_a_deleted_workflow_is_hidden_and_its_versions_stay(store: Store):
    first = await store.catalog.publish(version("a"))
    assert await store.catalog.delete(TENANT, "brief", tick()) is True
    assert await store.catalog.delete(TENANT, "brief", tick()) is False
    assert await store.catalog.delete(TENANT, "never", tick()) is False
    assert await store.catalog.current(TENANT, "brief") is None
    assert await store.catalog.workflows(TENANT) == []
    assert await store.catalog.definition(TENANT, "a") == first
    assert (await store.catalog.publish(version("b"), create=True)).version == 2


async def test_workflows_come_by_name_in_pages_and_per_tenant(store: Store):
    for name in ("c", "a", "b"):
        await store.catalog.publish(version(f"hash-{name}", name))
    await store.catalog.publish(version("hash-z", "z", "other"))
    assert [row.workflow for row in await store.catalog.workflows(TENANT)] == ["a", "b", "c"]
    assert [row.workflow for row in await store.catalog.workflows(TENANT, after="a", limit=1)] == ["b"]
    assert await store.catalog.current("other", "a") is None
    assert await store.catalog.definition("other", "hash-a") is None


async def test_two_processes_creating_one_workflow_make_one(store: Store, second: Store):
    outcomes = await asyncio.gather(
        *(catalog.publish(version(f"v{n}"), create=True) for n in range(10) for catalog in (store.catalog, second.catalog)), return_exceptions=True
    )
    assert sum(isinstance(outcome, DefinitionRow) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19


async def test_two_processes_publishing_count_every_version_once(store: Store, second: Store):
    await asyncio.gather(*(catalog.publish(version(f"{n}-{place}")) for n in range(10) for place, catalog in enumerate((store.catalog, second.catalog))))
    assert [row.version for row in await store.catalog.versions(TENANT, "brief")] == list(range(20, 0, -1))


async def test_keys_are_found_listed_and_revoked(store: Store):
    row = KeyRow("k1", TENANT, "laptop\0", b"\x00\xff", ("runs:read", "runs:write"), 1, expires_at=9)
    await store.catalog.put_key(row)
    shown = replace(row, name="laptop\ufffd")
    assert await store.catalog.key("k1") == shown
    await store.catalog.put_key(replace(row, tenant="thief", digest=b"other"))
    assert await store.catalog.key("k1") == shown, "a key is never overwritten"
    assert await store.catalog.keys(TENANT) == [shown]
    assert await store.catalog.keys("other") == []
    assert await store.catalog.revoke_key("other", "k1", 5) is False
    assert await store.catalog.revoke_key(TENANT, "k1", 5) is True
    assert await store.catalog.revoke_key(TENANT, "k1", 6) is False
    assert await store.catalog.key("k1") == replace(shown, revoked_at=5)
    assert await store.catalog.key("k2") is None


async def test_artifacts_have_names_within_their_run(store: Store, desk: Desk):
    run = await desk.submit()
    rows = [ArtifactRow(run, name, "ab" * 32, 5, "text/plain", 1, "step") for name in ("b.md", "a.md", "c.md")]
    for row in rows:
        await store.catalog.put_artifact(row)
    assert await store.catalog.artifacts(run) == sorted(rows, key=lambda row: row.name)
    assert await store.catalog.artifacts(run, after="a.md", limit=1) == [rows[0]]
    assert await store.catalog.artifact(run, "b.md") == rows[0]
    assert await store.catalog.artifact("other", "b.md") is None
    await store.catalog.put_artifact(replace(rows[0], digest="cd" * 32, size=6))
    assert await store.catalog.artifact(run, "b.md") == replace(rows[0], digest="cd" * 32, size=6)


async def test_a_run_that_is_not_there_gets_no_artifact(store: Store):
    await store.catalog.put_artifact(ArtifactRow("gone", "a.md", "ab" * 32, 5, "text/plain", 1))
    assert await store.catalog.artifacts("gone") == []
