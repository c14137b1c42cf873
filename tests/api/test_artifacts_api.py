"""Artifacts over HTTP: lists, downloads, ranges, and what a browser may do with them."""

import httpx2
import pytest

from runtime.artifacts.aside import SetAside
from runtime.engine.events import Kind
from runtime.store.catalog_protocol import ArtifactRow
from tests.api.world import AT, World

DATA = bytes(range(256)) * 10


async def stored(world: World, *names: str, data: bytes = DATA, media_type: str = "text/html") -> str:
    run = await world.run()
    digest, size = await world.gateway.artifacts.put(data)
    for name in names:
        await world.store.catalog.put_artifact(ArtifactRow(run.run_id, name, digest, size, media_type, AT, "first"))
    return run.run_id


async def test_list(client: httpx2.AsyncClient, world: World) -> None:
    run_id = await stored(world, "b.txt", "a.txt", "c/d.txt")
    first = (await client.get(f"/v1/runs/{run_id}/artifacts", params={"page_size": 2})).json()
    rest = (await client.get(f"/v1/runs/{run_id}/artifacts", params={"page_token": first["next_page_token"]})).json()
    assert [each["name"] for each in first["artifacts"] + rest["artifacts"]] == ["a.txt", "b.txt", "c/d.txt"]
    assert first["artifacts"][0]["size"] == len(DATA)


@pytest.mark.parametrize("name", ["a.html", "c/d e.txt", "résumé.md", "..", "a%b"])
async def test_a_download_is_never_rendered(client: httpx2.AsyncClient, world: World, name: str) -> None:
    run_id = await stored(world, name)
    path = f"/v1/runs/{run_id}/artifacts/" + "".join(f"%{byte:02x}" for byte in name.encode())
    answer = await client.get(path)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(DATA))
    again = await client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_ranges(client: httpx2.AsyncClient, world: World) -> None:
    path = f"/v1/runs/{await stored(world, 'a')}/artifacts/a"
    for header, start, end in (("bytes=0-9", 0, 10), ("bytes=2550-", 2550, 2560), ("bytes=-10", 2550, 2560), ("bytes=100-99999", 100, 2560)):
        answer = await client.get(path, headers={"range": header})
        assert (answer.status_code, answer.content) == (206, DATA[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/2560"
    refused = await client.get(path, headers={"range": "bytes=2560-"})
    assert (refused.status_code, refused.json()["code"]) == (416, "range_invalid")
    for ignored in ("bytes=0-1,5-6", "lines=1-2", "bytes=x-y", "bytes=" + ",".join(f"{n}-" for n in range(1000))):
        assert (await client.get(path, headers={"range": ignored})).content == DATA
    assert (await client.get(path, headers={"range": "bytes=0-9", "if-range": '"other"'})).content == DATA


async def test_odd_types_are_just_bytes(client: httpx2.AsyncClient, world: World) -> None:
    run_id = await stored(world, "a", media_type="text/html\r\nset-cookie: x=1")
    answer = await client.get(f"/v1/runs/{run_id}/artifacts/a")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "C:%5cboot.ini", "x" * 4096, "%e2%80%ae"])
async def test_names_are_labels(client: httpx2.AsyncClient, world: World, name: str) -> None:
    run_id = await stored(world, "a")
    assert (await client.get(f"/v1/runs/{run_id}/artifacts/{name}")).status_code in (404, 405)


async def test_content_that_is_gone(client: httpx2.AsyncClient, world: World) -> None:
    run_id = await stored(world, "a", data=b"soon gone")
    row = await world.store.catalog.artifact(run_id, "a")
    assert row
    await world.gateway.artifacts.set_aside(row.digest, 1)
    await world.gateway.artifacts.erase(SetAside(row.digest, 1))
    answer = await client.get(f"/v1/runs/{run_id}/artifacts/a")
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_missing")


async def test_large_outputs_stay_references_until_asked_for(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    owner = await world.own(run.run_id)
    await owner.begin()
    small, _ = await world.gateway.artifacts.put(b'"' + b"s" * 70_000 + b'"')
    large, size = await world.gateway.artifacts.put(b'"' + b"l" * 2_000_000 + b'"')
    reference = {"$artifact": {"sha256": large, "size": size, "media_type": "application/json"}}
    await owner.write((Kind.STEP_SUCCEEDED, "last", None, {"output": {"$artifact": {"sha256": small, "size": 70_002, "media_type": "application/json"}}}))
    await owner.finish(reference)
    assert (await client.get(f"/v1/runs/{run.run_id}/steps/last")).json()["output"] == "s" * 70_000
    assert (await client.get(f"/v1/runs/{run.run_id}")).json()["output"] == reference
    value = await client.get(f"/v1/runs/{run.run_id}/values/{large}")
    assert (value.status_code, value.json()) == (200, "l" * 2_000_000)
    assert value.headers["content-length"] == str(size)
