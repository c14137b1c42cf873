"""Provider keys from outside: they go in and never come out, stay with their address, and are nobody else's business."""

import asyncio
import base64
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from sqlalchemy import select, text
from structlog.testing import capture_logs

from runtime.api.keys import ADMIN, issue
from runtime.settings import Settings
from runtime.store.tables import metadata
from tests.api.world import World
from tests.support.models_server import ModelsServer, models_server, response

KEY = 'sk-canary-27182818"<&%\\284590'
"""With characters that JSON, HTML and URLs write in other ways."""
PATH = "/v1/provider-keys/openai"
DOCS = Path(__file__).parents[2] / "docs" / "keys.md"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, outbound_allow=["127.0.0.1"])


@pytest.fixture
async def server() -> AsyncIterator[ModelsServer]:
    async with models_server(KEY) as running:
        yield running


async def stranger(world: World) -> str:
    key, _ = await issue(world.store.catalog, "other", name="o", scopes=(ADMIN,), now=0)
    return f"Bearer {key.text}"


async def put(client: httpx2.AsyncClient, path: str = PATH, **body: Any) -> dict[str, Any]:
    answer = await client.put(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_key_goes_in_and_its_end_comes_out(client: httpx2.AsyncClient) -> None:
    made = await put(client, key=KEY)
    assert made == {
        "provider": "openai",
        "base_url": "https://api.openai.com/v1",
        "has_key": True,
        "last_four": "4590",
        "fingerprint": made["fingerprint"],
        "readable": True,
        "limits": {"requests_per_minute": None, "tokens_per_minute": None, "in_flight": None},
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
    }
    assert (await client.get(PATH)).json() == made
    assert (await client.get("/v1/provider-keys")).json() == {"provider_keys": [made]}
    other = await put(client, key="sk-another-key-of-mine-1234")
    assert (other["last_four"], other["created_at"]) == ("1234", made["created_at"])
    assert other["fingerprint"] != made["fingerprint"]
    assert (await client.delete(PATH)).status_code == 204
    assert (await client.get(PATH)).status_code == 404


async def test_another_address_needs_the_key_again(client: httpx2.AsyncClient) -> None:
    before = await put(client, key=KEY)
    answer = await client.put(PATH, json={"base_url": "https://evil.example/v1"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/key")
    assert (await client.get(PATH)).json() == before
    moved = await put(client, key=KEY, base_url="https://eu.example/v1")
    assert moved["base_url"] == "https://eu.example/v1"
    # And a key without an address is for the provider's own again, not for the last one.
    assert (await put(client, key=KEY))["base_url"] == before["base_url"]


async def test_a_server_without_keys(client: httpx2.AsyncClient, server: ModelsServer) -> None:
    made = await put(client, base_url=server.url)
    assert (made["has_key"], made["last_four"], made["fingerprint"]) == (False, None, None)
    assert (await put(client, base_url=server.url.replace("/v1", "/v2")))["base_url"].endswith("/v2")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"key": ""},
        {"key": None},
        {"key": []},
        {"key": {}},
        {"key": True},
        {"key": "short"},
        {"key": "x" * 4097},
        {"key": "sk-with a space"},
        {"key": "sk-with\r\nHost: evil"},
        {"key": "sk-näive-key"},
        {"key": KEY, "tenant": "other"},
        {"key": KEY, "user_id": "other"},
        {"key": KEY, "provider": "anthropic"},
        {"key": KEY, "base_url": ""},
        {"key": KEY, "base_url": "http://api.example/v1"},
        {"key": KEY, "base_url": "https://10.0.0.1/v1"},
        {"key": KEY, "base_url": "https://169.254.169.254/"},
        {"key": KEY, "base_url": "https://u:p@api.example/"},
        {"key": KEY, "base_url": "https://api.example/?x=1"},
        {"key": KEY, "base_url": ["https://api.example"]},
    ],
)
async def test_what_is_refused_is_not_repeated(client: httpx2.AsyncClient, body: Any) -> None:
    answer = await client.put(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    for secret in (KEY, "canary", "with a space", "evil"):
        assert secret not in answer.text
    assert (await client.get(PATH)).status_code == 404


async def test_bedrock_needs_its_address(client: httpx2.AsyncClient) -> None:
    path = "/v1/provider-keys/bedrock"
    assert (await client.put(path, json={"key": KEY})).json()["errors"][0]["pointer"] == "/base_url"
    await put(client, path, key=KEY, base_url="https://bedrock-runtime.eu-west-1.amazonaws.com")


async def test_another_tenant_sees_changes_and_tests_nothing(client: httpx2.AsyncClient, world: World, server: ModelsServer) -> None:
    mine = await put(client, key=KEY, base_url=server.url)
    own = client.headers["authorization"]
    client.headers["authorization"] = await stranger(world)
    assert (await client.get("/v1/provider-keys")).json() == {"provider_keys": []}
    answers = []
    for name in ("openai", "anthropic", "nobody", "%00", "openai%2f", "..", "OPENAI"):
        for method, where in (("GET", ""), ("DELETE", ""), ("POST", ":test")):
            answer = await client.request(method, f"/v1/provider-keys/{name}{where}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, name)
            answers.append(answer.json()["detail"].replace("anthropic", "openai"))
    assert answers[0] == answers[3], "what is somebody else's answers as what is not there"
    assert server.asked == []
    await put(client, key="sk-the-other-tenants-0001")
    client.headers["authorization"] = own
    assert (await client.get(PATH)).json() == mine
    assert (await client.put("/v1/provider-keys/nobody", json={"key": KEY})).status_code == 404


async def test_a_row_that_was_swapped_opens_for_nobody(client: httpx2.AsyncClient, world: World, server: ModelsServer) -> None:
    await put(client, key=KEY, base_url=server.url)
    for column, value in (("user_id", "other"), ("provider", "anthropic")):
        await change(world, f"UPDATE settings SET {column} = '{value}'")
        if column == "user_id":
            own, client.headers["authorization"] = client.headers["authorization"], await stranger(world)
        (seen,) = (await client.get("/v1/provider-keys")).json()["provider_keys"]
        assert (seen["readable"], seen["base_url"], seen["last_four"], seen["fingerprint"]) == (False, None, None, None)
        answer = await client.post(f"/v1/provider-keys/{seen['provider']}:test")
        assert (answer.status_code, answer.json()["code"]) == (503, "secret_unreadable")
        # An address alone does not get into its place either; a whole new pair does.
        assert (await client.put(f"/v1/provider-keys/{seen['provider']}", json={"base_url": "https://evil.example"})).status_code == 422
        await change(world, f"UPDATE settings SET {column} = '{'default' if column == 'user_id' else 'openai'}'")
        client.headers["authorization"] = own
    assert server.asked == []
    assert (await client.get(PATH)).json()["readable"] is True


async def change(world: World, statement: str) -> None:
    from runtime.store.operations import Work

    await world.store.writer.write(Work(lambda connection: connection.execute(text(statement)) and None))


async def test_a_test_says_what_the_provider_makes_of_the_key(client: httpx2.AsyncClient, server: ModelsServer) -> None:
    await put(client, key=KEY, base_url=server.url)
    tested = (await client.post(f"{PATH}:test")).json()
    assert (tested["provider"], tested["ok"], tested["verdict"], tested["status"]) == ("openai", True, "accepted", 200)
    await put(client, key="sk-wrong-key-0123456789", base_url=server.url)
    answer = await client.post(f"{PATH}:test")
    assert (answer.json()["ok"], answer.json()["verdict"]) == (False, "refused")
    assert "sk-wrong" not in answer.text
    server.answer = response(302, b"", more="Location: http://127.0.0.1:1/\r\n")
    assert (await client.post(f"{PATH}:test")).json()["verdict"] == "unexpected"
    assert len(server.asked) == 3


async def test_an_address_that_is_no_longer_listed_is_not_asked(client: httpx2.AsyncClient, server: ModelsServer, app: Any) -> None:
    await put(client, key=KEY, base_url=server.url)
    keys = app.state.services.provider_keys
    keys._urls = type(keys._urls)([])
    assert (await client.post(f"{PATH}:test")).json()["verdict"] == "not_allowed"
    assert server.asked == []


async def test_only_so_many_are_tested_at_once(client: httpx2.AsyncClient, server: ModelsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.keys.service.MAX_TESTS", 0)
    await put(client, key=KEY, base_url=server.url)
    answer = await client.post(f"{PATH}:test")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize("field", ["base_url", "api_key", "headers"])
async def test_no_definition_and_no_run_can_say_where_a_key_goes(client: httpx2.AsyncClient, field: str) -> None:
    agent = {"prompt": "x", "model": "openai:m", field: "https://evil.example"}
    answer = await client.post("/v1/workflows", json={"name": "steal", "steps": {"a": {"agent": agent}}})
    assert (answer.status_code, answer.json()["code"]) == (422, "definition_invalid")
    assert (await client.post("/v1/workflows", json={"name": "plain", "steps": {"a": {"set": {"x": 1}}}})).status_code == 201
    started = await client.post("/v1/workflows/plain/runs", json={field: "https://evil.example"})
    assert (started.status_code, started.json()["code"]) == (422, "request_invalid")


def disguises(secret: str) -> set[str]:
    """The forms in which a secret might lie about, and halves of it."""
    plain = secret.encode()
    coded = {base64.b64encode(plain[start:]).decode()[4:-4] for start in range(3)} | {base64.urlsafe_b64encode(plain).decode()[:-4]}
    return {
        secret,
        json.dumps(secret)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        plain.hex(),
        secret[: len(secret) // 2],
        secret[len(secret) // 2 : -4],
        *coded,
    }


def bytes_below(folder: Path) -> str:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()).decode("latin-1")


async def test_a_key_lies_about_nowhere(
    client: httpx2.AsyncClient, world: World, server: ModelsServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_logs() as lines:
        seen = [(await client.put(PATH, json={"key": KEY, "base_url": server.url})).text]
        for verdict in (None, response(500, {}), b"rubbish\r\n\r\n"):
            server.answer = verdict
            seen.append((await client.post(f"{PATH}:test")).text)
        seen += [(await client.get(path)).text for path in (PATH, "/v1/provider-keys", "/openapi.json")]
        seen.append((await client.put(PATH, json={"key": KEY, "base_url": "ftp://x"})).text)
        seen.append((await client.put(PATH, content=json.dumps({"key": KEY}) + ",", headers={"content-type": "application/json"})).text)
        await change(world, "UPDATE settings SET encrypted_value = 'x' || encrypted_value")
        seen += [(await client.get(PATH)).text, (await client.post(f"{PATH}:test")).text]
        await put(client, key=KEY, base_url=server.url)
        await client.delete(PATH)
        await put(client, key=KEY)
    dump = await world.store.reader.read(lambda connection: "".join(str(connection.execute(select(table)).all()) for table in metadata.sorted_tables))
    files = bytes_below(tmp_path)
    printed = "".join(capfd.readouterr())
    for form in disguises(KEY):
        for place, content in {"answers": "".join(seen), "logs": repr(lines), "database": dump, "files": files, "output": printed}.items():
            assert form not in content, (form, place)
    told = [(line["event"], line["tenant"], line["provider"], line.get("by")) for line in lines if line["event"].startswith("provider_key_")]
    assert told[0] == ("provider_key_set", "default", "openai", "tester")
    assert {"provider_key_set", "provider_key_tested", "provider_key_deleted", "provider_key_unreadable"} == {event for event, *_ in told}


async def test_the_example_of_the_documentation(served: httpx2.AsyncClient, world: World, server: ModelsServer, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "keys.py").write_text(example[1])
    environment = {"PATH": os.environ["PATH"], "AGENTIC_URL": str(served.base_url), "AGENTIC_API_KEY": world.key, "MODEL_KEY": KEY, "MODEL_URL": server.url}
    process = await asyncio.create_subprocess_exec(sys.executable, str(tmp_path / "keys.py"), env=environment, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().splitlines() == [
        f"openai …4590 for {server.url}",
        "accepted: the provider accepts the key",
        "a key belongs to its address: 422",
        "deleted",
    ]
