"""Orders take every road."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.examples.conftest import Desk

PATH = "order_triage/workflow.yaml"


def order(*lines: tuple[str, int, float], country: str = "CH") -> dict:
    return {
        "id": "EL-1000",
        "customer": "Roth",
        "country": country,
        "lines": [{"sku": sku, "quantity": quantity, "price": price} for sku, quantity, price in lines],
    }


ROADS = [
    (order(("PUMP", 2, 349.0)), "express"),
    (order(("VALVE", 2, 10.0)), "standard"),
    (order(("VALVE", 2, 10.0), country="AQ"), "look_at"),
    (order(("VALVE", 500, 0.0)), "look_at"),
]


@pytest.mark.parametrize(("given", "road"), ROADS)
async def test_roads(desk, given, road):
    run = await desk.start(PATH, order=given)
    outputs = await desk.outputs(run)
    assert outputs["road"] == road
    statuses = await desk.statuses(run)
    assert {name: statuses[name] for name in ("express", "standard", "look_at")} == {
        name: "succeeded" if name == road else "skipped" for name in ("express", "standard", "look_at")
    }
    assert statuses["backlog"] == "skipped"
    assert await desk.artifact(run, "report.txt") == f"EL-1000: succeeded, stock succeeded, road {road}\n"


@asynccontextmanager
async def warehouse(status: int) -> AsyncIterator[tuple[str, list[dict]]]:
    """A warehouse that answers every reservation with `status`, and what it was asked."""
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        asked.append({"line": head.split("\r\n")[0], "headers": headers, "body": body})
        writer.write(b"HTTP/1.1 %d x\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}" % status)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize(("status", "road", "calls"), [(201, "express", 1), (409, "backlog", 1), (503, "backlog", 3)])
async def test_a_real_warehouse(tmp_path: Path, status, road, calls):
    async with (
        warehouse(status) as (url, asked),
        LocalPlatform(Settings(home=tmp_path, drain_ms=1000, outbound_allow=[url.removeprefix("http://")])) as platform,
    ):
        desk = Desk(platform)
        run = await desk.start(PATH, mode="live", warehouse=url, order=order(("PUMP", 2, 349.0)))
        outputs = await desk.outputs(run)
        backlog, _ = await platform.gateway.step("default", run.run_id, "backlog")
    assert outputs["road"] == road
    assert len(asked) == calls
    assert asked[0]["line"].startswith("POST /reservations ")
    assert asked[0]["body"]["order"] == "EL-1000"
    assert len({request["headers"]["idempotency-key"] for request in asked}) == 1, "a repeated attempt reserves once"
    if road == "backlog":
        assert backlog.output == {"road": "backlog", "because": f"http_{status}"}
