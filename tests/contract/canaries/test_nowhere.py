"""Secrets planted everywhere a secret may be, a day on which everything goes wrong, and then a look into every place anybody may look into.

Real HTTP servers on both wire formats repeat the keys they are sent, functions raise them in five ways of writing, a crash dumps core. What is looked
through afterwards: log lines of ours and of libraries at their lowest level, standard error, events, artifacts, traces with content, metrics, answers of
the API, the database with its files, environments and arguments of every process that was started.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3
import httpx2
import pytest
import structlog

from runtime.agents.limiting import REPEATS
from runtime.agents.loop import warm
from runtime.api.app import build_app
from runtime.api.keys import ADMIN, issue
from runtime.api.services import Services, over
from runtime.errors import StoreUnavailable
from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.logs import set_up_logs
from runtime.settings import Settings
from runtime.store.open import open_store
from tests.api.conftest import serving
from tests.canaries import Canaries, Leak, children
from tests.contract.artifacts.conftest import s3_server  # noqa: F401 - a fixture
from tests.contract.canaries import functions
from tests.support.anthropic_server import anthropic_server
from tests.support.api_server import ApiServer, Reply, api_server
from tests.support.collector import Collector, collecting
from tests.support.mcp_server import mcp_server
from tests.support.openai_server import OpenAIServer, Raw, Refuse, Text, ToolCalls, openai_server
from tests.support.receiver import Receiver, receiving

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]
TENANT, OTHER = "default", "acme"
MODULE = "tests.contract.canaries.functions"
ONCE = {"max_attempts": 1}
PATIENCE = 240.0
"""Seconds for one run: the first one imports the SDKs, while everything else is traced and logged at the lowest level."""


class Day:
    """Everything of one trial: servers, settings, secrets, and what was seen."""

    def __init__(self, home: Path, stack: AsyncExitStack) -> None:
        self.home, self.stack, self.canaries = home, stack, Canaries()
        self.openai: OpenAIServer
        self.anthropic: OpenAIServer
        self.gateway: OpenAIServer
        self.pets: ApiServer
        self.receiver: Receiver
        self.collector: Collector
        self.settings: Settings
        self.seen: list[tuple[str, bytes]] = []
        """What came out: where, and what."""
        self.before = set(children())

    async def open_servers(self) -> None:
        enter = self.stack.enter_async_context
        self.mcp = await enter(mcp_server())
        self.openai, self.anthropic, self.gateway = await enter(openai_server()), await enter(anthropic_server()), await enter(openai_server())
        self.pets, self.receiver, self.collector = await enter(api_server()), await enter(receiving()), await enter(collecting())
        self.before = set(children())

    def plant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        new = self.canaries.new
        variables = {
            "OPENAI_API_KEY": new("the operator's OpenAI key", prefix="sk-", awkward=False),
            "ANTHROPIC_API_KEY": new("the operator's Anthropic key", prefix="sk-ant-"),
            "SECRET_KEY": new("SECRET_KEY"),
            "AWS_SECRET_ACCESS_KEY": new("the S3 secret key", awkward=False),
            "CANARY_TOOL": new("a tool's credential"),
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-collector-key={new('the header of the collector', awkward=False)}",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        (self.home / "mcp-token").write_text(new("the token of the MCP server"))
        self.tenants_key = new("the key a tenant has stored", prefix="sk-")
        self.userinfo = new("the key inside a base URL", awkward=False)
        self.hook_secret = new("the secret of a hook")

    def configure(self, database: str, **more: Any) -> None:
        host = urlsplit(self.gateway.url)
        self.settings = Settings(
            home=self.home,
            database_url=database,
            run_mode="live",
            drain_ms=2000,
            log_format="json",
            log_level="DEBUG",
            python_modules=["tests"],
            code_steps=True,
            outbound_allow=["127.0.0.1"],
            openai_base_url=self.openai.url,
            anthropic_base_url=self.anthropic.url,
            openai_compatible_base_url=urlunsplit(host._replace(netloc=f"key:{self.userinfo}@{host.netloc}")),
            otel_endpoint=self.collector.url,
            otel_capture_content=True,
            apis={"pets": {"document": f"{self.pets.url}/openapi.json", "base_url": f"{self.pets.url}/v1", "credential": {"env": "CANARY_TOOL"}}},
            mcp_servers={"test": {"url": self.mcp.url, "token": {"file": self.home / "mcp-token"}}},
            **more,
        )
        functions.KNOWN.update(self.canaries.planted)

    def look(self, place: str, data: bytes | str) -> None:
        self.seen.append((place, data if isinstance(data, bytes) else data.encode()))

    def leaks(self) -> list[Leak]:
        return [leak for place, data in self.seen for leak in self.canaries.in_bytes(data, place)]


@pytest.fixture
async def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Day]:
    await warm()
    async with AsyncExitStack() as stack:
        made = Day(tmp_path, stack)
        await made.open_servers()
        made.plant(monkeypatch)
        yield made


@pytest.fixture
def logs() -> Iterator[StringIO]:
    """Everything that is logged, by whomever, at the lowest level. The set-up of the process is put back afterwards."""
    factory, root, hooks = logging.getLogRecordFactory(), logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    root.setLevel(logging.DEBUG)
    yield StringIO()
    logging.setLogRecordFactory(factory)
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()


# --- the day -----------------------------------------------------------------------------------------------------------


async def ended(platform: LocalPlatform, day: Day, name: str, steps: dict[str, Any], tenant: str = TENANT) -> Any:
    """One run to its end, with all that anybody can see of it."""
    await platform.gateway.publish(tenant, {"name": name, "steps": steps})
    run = (await platform.gateway.start(tenant, StartRequest(name))).run
    row = await platform.gateway.wait(tenant, run.run_id, PATIENCE)
    assert row.status.ended, name
    return row


def agent(model: str, **more: Any) -> dict[str, Any]:
    return {"ask": {"agent": {"model": model, "prompt": "go", **more}, "retry": ONCE}}


async def providers(platform: LocalPlatform, day: Day) -> None:
    """Each provider repeats the key it is sent, in every kind of answer there is."""
    planted = day.canaries.planted
    asked = [
        (day.openai, "openai:m", planted["the operator's OpenAI key"], TENANT),
        (day.anthropic, "anthropic:m", planted["the operator's Anthropic key"], TENANT),
        (day.gateway, "openai-compatible:m", day.userinfo, TENANT),
        (day.openai, "openai:m", day.tenants_key, OTHER),
    ]
    for server, model, key, tenant in asked:
        answers = [
            Refuse(401, f"Incorrect API key provided: {key}. You can find your key at example.com"),
            Refuse(401, f"Incorrect API key provided: {key}"),  # a refused key is looked up anew, and sent once more
            Refuse(400, f"this is wrong with {functions.WRITTEN['base64'](key)}"),
            Refuse(500, f"{'x' * 490}{key}"),
            Refuse(429, f"slow down, {key}"),
            Raw(f"<html>your key is {key}</html>".encode(), "text/html"),
            Raw(json.dumps({"key": key}).encode()),
            Text(f"I was asked with {key}"),
            ToolCalls(("unknown", {"key": key})),
            Text("done"),
        ]
        for answer in answers:
            server._script.clear()
            server.say(*[answer] * (REPEATS + 1), *[Text("done")] * 4)  # the limiter asks again before it tells anybody that there were too many
            await ended(platform, day, "provider", agent(model), tenant)
        server._script.clear()
        server.default = lambda request: Refuse(400, str(request.headers))
        await ended(platform, day, "echo", agent(model), tenant)
        server.default = lambda request: Text("done")


async def tools(platform: LocalPlatform, day: Day) -> None:
    """The API and the MCP server repeat what they are sent; the model repeats what it is told."""
    credential = day.canaries.planted["a tool's credential"]
    entries = [{"openapi": "pets", "operations": ["listPets"]}, {"mcp": "test", "tools": ["fail", "add"]}]
    for reply in (None, Reply(500, f"no: {credential}".encode()), Reply(body=json.dumps({"was": functions.WRITTEN["base64"](credential)}).encode())):
        day.pets.answers = {} if reply is None else {"/v1/pets": reply}
        day.openai.say(ToolCalls(("pets_listPets", {})), ToolCalls(("test_fail", {"why": day.canaries.planted["the token of the MCP server"]})), Text("done"))
        row = await ended(platform, day, "tools", agent("openai:m", tools=entries))
        assert row.status == "succeeded", row.error
    assert credential in day.pets.calls[-1].headers["authorization"]
    assert f"Bearer {day.canaries.planted['the token of the MCP server']}" in (await day.mcp.counts())["authorization"]


async def failures(platform: LocalPlatform, day: Day) -> None:
    """Functions raise every secret in every way; processes of their own crash."""
    for name in day.canaries.planted:
        steps = {
            f"{function}_{how}": {
                "python": {"function": f"{MODULE}:{function}", "args": {"name": name, "how": how}},
                "retry": ONCE,
                "on_error": "continue",
            }
            for function in ("in_thread", "in_loop")
            for how in functions.WRITTEN
        }
        await ended(platform, day, "failures", steps)
        day.openai.say(ToolCalls(("in_thread", {"name": name, "how": "plain"})), Text("done"))
        await ended(platform, day, "failing-tool", agent("openai:m", tools=[f"{MODULE}:in_thread"]))
    isolated = {"resources": {"num_cpus": 1}, "retry": ONCE, "on_error": "continue", "on_crash": "fail"}
    steps = {
        "environment": {"python": {"function": f"{MODULE}:environment", "args": {"file": str(day.home / "environment")}}, **isolated},
        "die": {"python": {"function": f"{MODULE}:die"}, **isolated},
        "sandboxed": {"code": {"source": "1 / 0"}, "retry": ONCE, "on_error": "continue"},
    }
    await ended(platform, day, "processes", steps)
    assert (day.home / "environment").exists()


async def messages(platform: LocalPlatform, day: Day, api: httpx2.AsyncClient) -> None:
    """Webhooks out and in, signed rightly and wrongly."""
    made = await api.post("/v1/endpoints", json={"url": day.receiver.url, "events": ["run.succeeded", "run.failed", "step.failed"]})
    assert made.status_code == 201, made.text
    secret = day.canaries.plant("the signing secret of an endpoint", made.json()["secret"])
    functions.KNOWN["the signing secret of an endpoint"] = secret
    day.receiver.secrets = [secret]
    day.receiver.answers = [500, f"HTTP/1.1 400 {secret}\r\ncontent-length: 0\r\n\r\n".encode(), b"nonsense: " + secret.encode()]
    await platform.gateway.publish(TENANT, {"name": "empty", "steps": {"one": {"set": {"x": 1}}}})
    for _ in range(4):
        await platform.gateway.wait(TENANT, (await platform.gateway.start(TENANT, StartRequest("empty"))).run.run_id, 30)
    await day.receiver.until(4)
    assert day.receiver.forged == []
    wanted = {"name": "in", "workflow": "empty", "verify": "hmac-sha256-hex", "header": "x-signature", "secret": day.hook_secret}
    made = await api.post("/v1/hooks", json=wanted)
    assert made.status_code == 201, made.text
    address = urlsplit(made.json()["url"]).path
    day.canaries.plant("the address of a hook", address.rpartition("/")[2])
    for signature in ("sha256=00", day.hook_secret):
        answer = await api.post(address, json={"x": 1}, headers={"x-signature": signature})
        day.look("the answer to a forged message", answer.content)


async def requests(platform: LocalPlatform, day: Day, api: httpx2.AsyncClient, key: str) -> None:
    """What the API answers to those who may ask, those who may not, and those who ask wrongly."""
    for path in (
        "/v1/runs?page_size=500",
        "/v1/workflows",
        "/v1/endpoints",
        "/v1/hooks",
        "/v1/provider-keys",
        "/v1/keys",
        "/metrics",
        "/health",
        "/openapi.json",
    ):
        answer = await api.get(path)
        assert answer.status_code == 200, (path, answer.text)
        day.look(f"the answer of {path}", answer.content)
    for run in (await api.get("/v1/runs?page_size=500")).json()["runs"]:
        for path in ("", "/events?page_size=1000", "/steps", "/artifacts"):
            answer = await api.get(f"/v1/runs/{run['run_id']}{path}", headers={"accept": "application/json"})
            day.look(f"the answer of /v1/runs/…{path}", answer.content)
    for path in (f"/v1/runs?token={key}", f"/hooks/{key}", f"/v1/runs/{key}", "/v1/keys"):
        answer = await api.get(path, headers={"Authorization": f"Bearer {key[:-1]}x"})
        day.look("the answer to a stranger", answer.content)
    stored = await api.put("/v1/provider-keys/openai", json={"key": day.tenants_key, "base_url": "https://10.0.0.1/"})
    day.look("the refusal of a key", stored.content)
    day.look("the answer of a test", (await api.post("/v1/provider-keys/openai-compatible:test", json={})).content)


@asynccontextmanager
async def opened(day: Day) -> AsyncIterator[tuple[LocalPlatform, httpx2.AsyncClient, str]]:
    """The platform behind a real server, and a client with a key."""
    async with LocalPlatform(day.settings) as platform:
        key, _ = await issue(platform.store.catalog, TENANT, name="tester", scopes=(ADMIN,), now=0)
        other, _ = await issue(platform.store.catalog, OTHER, name="tester", scopes=(ADMIN,), now=0)
        day.canaries.plant("an API key", key.text)

        @asynccontextmanager
        async def services() -> AsyncIterator[Services]:
            yield over(platform.store, platform.gateway, day.settings, tracer=platform.tracer)

        app = build_app(services, day.settings)
        async with app.router.lifespan_context(app), serving(app, key.text) as api:
            put = {"key": day.tenants_key, "base_url": day.openai.url}
            stored = await api.put("/v1/provider-keys/openai", json=put, headers={"Authorization": f"Bearer {other.text}"})
            assert stored.status_code == 200, stored.text
            day.look("the answer about a stored key", stored.content)
            yield platform, api, key.text


async def everything(day: Day, stream: StringIO) -> None:
    set_up_logs(day.settings, stream)
    async with opened(day) as (platform, api, key):
        await providers(platform, day)
        await tools(platform, day)
        await messages(platform, day, api)
        await failures(platform, day)
        await requests(platform, day, api, key)
        processes = [pid for pid in children() if pid not in day.before]
        found = day.canaries.in_processes(processes)
        assert processes, "no worker of the sandbox is left to look at"
        assert found == []
    wrong = urlunsplit(urlsplit(f"postgresql://me:{day.canaries.planted['the S3 secret key']}@127.0.0.1:9/x"))
    with pytest.raises(StoreUnavailable) as failed:
        await open_store(wrong)
    structlog.get_logger("test").error("no database", exc_info=failed.value)
    day.look("traces", b"\n".join(day.collector.bodies))
    assert day.collector.spans
    assert day.collector.headers[0]["x-collector-key"] in day.settings.otel_headers.get_secret_value()


def environment_of_steps(day: Day) -> list[Leak]:
    """What a step's own process had in its environment."""
    return day.canaries.in_file(day.home / "environment")


async def test_no_secret_comes_out_of_sqlite_and_s3(day: Day, logs: StringIO, capfd, s3_server: str):  # noqa: F811 - the fixture
    bucket = f"canaries-{os.getpid()}"
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=bucket)
    day.configure(f"sqlite:///{day.home / 'db' / 'workflows.db'}", artifacts_storage="s3", s3_bucket=bucket, s3_endpoint=s3_server)
    await everything(day, logs)
    for stored in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        day.look("an artifact", client.get_object(Bucket=bucket, Key=stored["Key"])["Body"].read())
    client.close()
    await look_through(day, logs, capfd)


async def test_no_secret_comes_out_of_postgresql_and_a_folder(day: Day, logs: StringIO, capfd, postgres_url: str):
    parts = urlsplit(postgres_url)
    password = day.canaries.new("the database password", awkward=False)
    host = parts.netloc.rpartition("@")[2]
    day.configure(urlunsplit(parts._replace(netloc=f"{parts.username or 'postgres'}:{password}@{host}")))
    await everything(day, logs)
    await look_through(day, logs, capfd)


async def look_through(day: Day, logs: StringIO, capfd: Any) -> None:
    written = capfd.readouterr()
    lines = logs.getvalue()
    day.look("the log", lines)
    day.look("standard output", written.out)
    day.look("standard error", written.err)
    assert lines.count("step_raised") >= 10
    assert "botocore" in lines or day.settings.artifacts_storage == "local"
    held = {day.home / name for name in ("secret-key", "api-key", "mcp-token", "environment")}
    found = day.leaks() + day.canaries.in_folder(day.home, but=held) + await day.canaries.in_database(day.settings.database)
    assert found == [], "\n".join(sorted(repr(leak) for leak in set(found)))
    # A step's own process may have the bucket's key, because it stores what it makes there by itself (docs/security.md); nothing else.
    assert {leak.secret for leak in environment_of_steps(day)} <= {"the S3 secret key"}
