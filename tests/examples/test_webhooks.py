"""Webhooks from one end to the other: the platform, a real receiver over HTTP, and the receiver that docs/webhooks.md shows."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.api.services import Services, over
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.fsck import fsck
from runtime.store.protocol import ApprovalQuery
from tests.examples.conftest import PATIENCE, TENANT
from tests.support.receiver import Receiver, receiving

DOCS = Path(__file__).parents[2] / "docs" / "webhooks.md"
ASK = """
name: ask
inputs: {topic: {type: string}}
labels: {team: blue}
steps:
  review: {approval: {message: "Is ${{ inputs.topic }} good?", form: {type: object, properties: {stars: {type: integer}}}}}
outputs: {stars: steps.review.output.form.stars}
"""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000, outbound_allow=["127.0.0.1"])) as opened:
        await opened.gateway.publish(TENANT, ASK)
        yield opened


@pytest.fixture
def services(platform: LocalPlatform) -> Services:
    return over(platform.store, platform.gateway, platform.settings)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


async def test_a_run_is_told_from_its_start_to_its_end(platform: LocalPlatform, services: Services, receiver: Receiver) -> None:
    _, secret = await services.endpoints.create(TENANT, receiver.url, events=["*"])
    receiver.secrets = [secret]
    run = (await platform.gateway.start(TENANT, StartRequest("ask", {"topic": "it"}))).run
    asked = next(got.message for got in await receiver.until(2) if got.message["type"] == "approval.requested")
    assert asked["data"]["message"] == "Is it good?"
    (approval,) = await platform.gateway.approvals(TENANT, ApprovalQuery(TENANT, run_id=run.run_id))
    assert asked["data"]["approval_id"] == approval.approval_id
    await receiver.until(3)
    await platform.gateway.decide(TENANT, approval.approval_id, approved=True, form={"stars": 5}, by="ada")
    messages = [got.message for got in await receiver.until(5)]
    assert [message["type"] for message in messages] == ["run.started", "approval.requested", "run.waiting", "approval.resolved", "run.succeeded"]
    seqs = [message["data"]["seq"] for message in messages]
    assert seqs == sorted(seqs)
    assert messages[-1]["data"] == {
        "run_id": run.run_id,
        "workflow": "ask",
        "labels": {"team": "blue"},
        "seq": seqs[-1],
        "status": "succeeded",
        "output": {"stars": 5},
    }
    assert messages[3]["data"]["by"] == "ada"
    assert receiver.forged == []
    assert len({got.id for got in receiver.got}) == 5
    assert await fsck(platform.store) == []


async def test_what_happens_last_is_sent_before_the_process_ends(tmp_path: Path, receiver: Receiver) -> None:
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=1000, outbound_allow=["127.0.0.1"])) as platform:
        await over(platform.store, platform.gateway, platform.settings).endpoints.create(TENANT, receiver.url, events=["run.succeeded"])
        await platform.gateway.publish(TENANT, "name: quick\nsteps:\n  a: {set: {x: 1}}\n")
        run = (await platform.gateway.start(TENANT, StartRequest("quick"))).run
        assert (await platform.gateway.wait(TENANT, run.run_id, PATIENCE)).status == "succeeded"
    assert [got.message["data"]["run_id"] for got in receiver.got] == [run.run_id]


async def test_the_receiver_of_the_documentation(platform: LocalPlatform, services: Services, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "receiver.py").write_text(example[1])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint, secret = await services.endpoints.create(TENANT, f"http://127.0.0.1:{port}/", events=["run.succeeded", "run.canceled"])
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "receiver.py"), env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        # Whether or not it listens yet: the second try comes five seconds after the first.
        await services.endpoints.test(TENANT, endpoint.endpoint_id)
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"endpoint.test None\n"
            await platform.gateway.publish(TENANT, "name: quick\nsteps:\n  a: {set: {x: 1}}\noutputs: {x: steps.a.output.x}\n")
            await platform.gateway.start(TENANT, StartRequest("quick"))
            assert await process.stdout.readline() == b"run.succeeded {'x': 1}\n"
            run = (await platform.gateway.start(TENANT, StartRequest("ask", {"topic": "it"}))).run
            await platform.gateway.cancel(TENANT, run.run_id)
            assert await process.stdout.readline() == b"run.canceled None\n"
    finally:
        process.kill()
        await process.wait()


def test_the_documentation_lists_what_is_told() -> None:
    from runtime.store.announcements import ANNOUNCED

    table = DOCS.read_text().split("| event |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)) == set(ANNOUNCED)
    for event, names in ANNOUNCED.items():
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{event}`")]
        assert all(f"`{name}`" in row for name in names), event
