"""Input made to break servers: never a 5xx, always a problem document."""

import asyncio
import itertools
import json
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI

from tests.api.test_door import ask
from tests.api.world import DOCUMENT, World

DEEP = b'{"inputs": {"topic": ' + b"[" * 900 + b"]" * 900 + b"}}"
BODIES = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"\x00",
    b"\xff\xfe{}",
    b"{",
    b'{"inputs": {"topic": NaN}}',
    b'{"inputs": {"topic": Infinity}}',
    b'{"inputs": {"topic": 1e999}}',
    b'{"inputs": {"topic": -1e999}}',
    b'{"inputs": {"topic": 123456789012345678901234567890}}',
    b'{"inputs": {"topic": "\\ud800"}}',
    b'{"inputs": {"topic": "\\u0000"}}',
    b'{"inputs": {"topic": "x"}, "inputs": {"topic": "y"}}',
    b'{"__proto__": {}, "constructor": 1}',
    DEEP,
    b"[" * 100_000,
    b'{"inputs": {"' + b"k" * 200_000 + b'": 1}}',
    json.dumps({"inputs": {"topic": "x" * (2**20 + 1)}}).encode(),
    json.dumps({"inputs": {str(n): n for n in range(10_001)}}).encode(),
    b"9" * 10_000,
    '{"inputs": {"topic": "x"}}'.encode("utf-16"),
]
ROUTES = [
    ("POST", "/v1/workflows/demo/runs"),
    ("POST", "/v1/workflows/demo/runs:batch"),
    ("POST", "/v1/workflows"),
    ("PUT", "/v1/workflows/demo"),
    ("POST", "/v1/workflows:validate"),
    ("POST", "/v1/runs/RUN:cancel"),
    ("POST", "/v1/runs/RUN:fork"),
    ("POST", "/v1/runs/RUN/signals/ping"),
    ("POST", "/v1/runs/RUN/decisions"),
    ("POST", "/v1/keys"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_hostile_bodies(client: httpx2.AsyncClient, world: World, method: str, path: str) -> None:
    run = await world.run()
    for body in BODIES:
        kinds = ("application/json", "application/yaml") if "workflows" in path and "runs" not in path else ("application/json",)
        for kind in kinds:
            answer = await client.request(method, path.replace("RUN", run.run_id), content=body, headers={"content-type": kind})
            assert 400 <= answer.status_code < 500, (path, kind, body[:80])
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert len(answer.content) < 200_000


async def test_hostile_definitions(client: httpx2.AsyncClient) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8))
    for text in (
        bomb,
        "!!python/object/apply:os.system ['true']",
        "name: x\nname: y",
        "a: .inf",
        "? [a]\n: b",
        "\t",
        "--- a\n--- b",
        "name: demo\nsteps: {one: {mcp: {command: sh}}}",
    ):
        answer = await client.post("/v1/workflows", content=text, headers={"content-type": "application/yaml"})
        assert (answer.status_code, answer.json()["code"]) == (422, "definition_invalid"), text[:40]


async def test_injections_find_nothing(client: httpx2.AsyncClient, world: World) -> None:
    await world.run()
    texts = [
        "' or '1'='1",
        '"; drop table runs; --',
        "%27%20union%20select%201--",
        "$(id)",
        "{{7*7}}",
        "${7*7}",
        "../../x",
        "%",
        "_",
        "\\",
        "\u202e",
        "\U0001f4a9" * 50,
    ]
    for text, path in itertools.product(
        texts, ("/v1/workflows/{}", "/v1/runs/{}", "/v1/approvals/{}", "/v1/runs?label=a={}", "/v1/runs?page_token={}", "/v1/runs?workflow={}")
    ):
        answer = await client.get(path.format(httpx2.URL("http://x/", params={"q": text}).query.decode()[2:]))
        assert answer.status_code in (200, 404, 422), (path, text)
        if answer.status_code == 200:
            assert answer.json()["runs"] == []
    assert len((await client.get("/v1/runs")).json()["runs"]) == 1


async def speak(base: str, data: bytes) -> bytes:
    """Send bytes to the server and read until it closes or has answered."""
    host = urlsplit(base)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    writer.write(data)
    await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return answer


async def test_two_hundred_megabytes_are_refused_before_they_are_sent(served: httpx2.AsyncClient, world: World) -> None:
    base = str(served.base_url)
    head = "POST /v1/workflows/demo/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 209715200\r\n"
    stranger = await speak(base, (head + "\r\n").encode())
    assert stranger.startswith(b"HTTP/1.1 401")
    known = await speak(base, (head + f"Authorization: Bearer {world.key}\r\n\r\n").encode())
    assert known.startswith(b"HTTP/1.1 413")
    for answer in (stranger, known):
        assert b"connection: close" in answer.lower()


async def test_chunks_are_counted(served: httpx2.AsyncClient, world: World) -> None:
    async def endless():
        while True:
            yield b"x" * 65_536

    try:
        answer = await served.post(f"/v1/runs/{(await world.run()).run_id}:cancel", content=endless(), headers={"content-type": "application/json"})
    except httpx2.TransportError:
        return  # the server closed the connection while the client was still sending: just as good
    assert answer.status_code == 413


async def test_a_write_that_has_begun_is_finished_when_the_client_has_gone(app: FastAPI, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.gateway.publish("default", DOCUMENT)
    begun, gate, submit = asyncio.Event(), asyncio.Event(), world.store.journal.submit

    async def slowly(runs: Any) -> Any:
        begun.set()
        await gate.wait()
        return await submit(runs)

    # Slots forbid patching the instance.
    monkeypatch.setattr(type(world.store.journal), "submit", lambda _self, runs: slowly(runs))
    headers = {"authorization": f"Bearer {world.key}", "content-type": "application/json"}
    request = asyncio.create_task(ask(app, "POST", "/v1/workflows/demo/runs", headers, body=b'{"inputs": {"topic": "left early"}}'))
    await begun.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    gate.set()
    (run,) = await world.runs(1)
    assert run.workflow == "demo"
