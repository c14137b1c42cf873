"""The guard: what a stranger gets on every route, by every method and trick, and what every answer carries."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI

from runtime.api import problems
from runtime.api.keys import READ, WRITE, issue
from runtime.errors import AgenticError, StoreUnavailable
from runtime.tokens import make
from tests.api.world import World

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
PUBLIC = {"/livez", "/readyz", "/health", "/openapi.json", "/docs"}
OPEN = "/hooks/{token}"
"""The one public route that is not read: tests/api/test_hooks_api.py goes through it."""
RUN = "01890a5d-ac96-774b-bcce-b302099a8057"


async def never() -> dict[str, Any]:
    raise AssertionError("the body was read before the caller was known")


async def ask(
    app: FastAPI, method: str, raw: str, headers: dict[str, str] | None = None, query: str = "", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request as a server would hand it on, without a client that tidies the path first."""
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in ({"host": "localhost"} | (headers or {})).items()]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body or b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": given,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    await app(scope, never if body is None else receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return start["status"], {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}, content


def paths(app: FastAPI) -> list[str]:
    """Every path of the router with its parameters filled in."""
    fill = {
        "run_id": RUN,
        "approval_id": RUN,
        "name": "demo",
        "name:path": "a/b",
        "step": "first",
        "sha256": "0" * 64,
        "key_id": "0" * 16,
        "endpoint_id": RUN,
        "delivery_id": RUN,
        "hook_id": RUN,
        "provider": "openai",
        "conversation_id": "talk",
        "scope": "workflow",
        "period": "day",
    }
    found = []
    for route in app.router.routes:
        path = route.path
        if path == OPEN:
            continue
        for name, value in fill.items():
            path = path.replace("{" + name + "}", value)
        assert "{" not in path
        found.append(path)
    return sorted(set(found))


def tricks(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The same path in the disguises that have opened other doors."""
    yield path, {}
    for suffix in (
        "/health",
        "/ready",
        "/livez",
        "/configs",
        "/docs",
        "/openapi.json",
        "//",
        "/",
        ".",
        "..;/livez",
        ";x",
        ";/livez",
        "%2e",
        "%2f..%2flivez",
        "?x=/livez",
        "#/livez",
        "%00",
        "%20",
    ):
        yield path + suffix, {}
    for prefix in ("/livez/..", "/docs/..", "/docs/../", "/.", "//", "/health", "/livez;"):
        yield prefix + path, {}
    yield path.upper(), {}
    yield path.replace("/", "//"), {}
    yield path.replace("/v1", "/v1/."), {}
    for header in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path"):
        yield path, {header: "/livez"}
    yield path, {"X-HTTP-Method-Override": "GET", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost"}


async def test_a_stranger_gets_nothing_anywhere(app: FastAPI) -> None:
    closed = [path for path in paths(app) if path not in PUBLIC]
    assert len(closed) > 25
    for path in closed:
        for disguised, headers in tricks(path):
            for method in METHODS:
                status, answer, body = await ask(app, method, disguised, headers)
                assert status == 401, (method, disguised)
                assert answer["www-authenticate"] == "Bearer"
                assert answer["connection"] == "close"
                assert b'"code":"unauthorized"' in body


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_public_routes_are_public_by_get_alone(app: FastAPI, path: str) -> None:
    assert (await ask(app, "GET", path, body=b""))[0] == 200
    for method in METHODS[1:]:
        assert (await ask(app, method, path))[0] == 401, method
    for disguised, headers in tricks(path):
        status, _, _ = await ask(app, "GET", disguised, headers, body=b"")
        assert status == (200 if disguised == path else 401), disguised


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer null",
        "Bearer []",
        "Bearer {}",
        "Bearer true",
        "Basic dXNlcjpwYXNz",
        "ak_x",
        pytest.param(f"Bearer {make().text}", id="an unknown key"),
        pytest.param(f"Bearer {make('st').text}", id="an unknown ticket"),
        "Bearer ak_" + "0" * 16,
        "Bearer \xff",
    ],
)
async def test_bad_credentials_all_look_the_same(app: FastAPI, credential: str) -> None:
    assert (await ask(app, "GET", "/v1/runs", {"authorization": credential}))[0] == 401


async def test_a_key_in_the_url_is_refused_even_beside_a_good_one(app: FastAPI, world: World) -> None:
    for query in (f"token={world.key}", f"api_key={world.key}", f"x={world.key.replace('ak_', '%61k%5f')}"):
        assert (await ask(app, "GET", "/v1/runs", {"authorization": f"Bearer {world.key}"}, query))[0] == 400


async def test_two_authorization_headers_are_malformed(app: FastAPI, world: World) -> None:
    status, _, body = await ask(app, "GET", "/v1/runs", {"Authorization": f"Bearer {world.key}", "authorization": "Bearer x"})
    assert status == 400, body


async def test_host_header_and_size(app: FastAPI, world: World) -> None:
    good = {"authorization": f"Bearer {world.key}"}
    assert (await ask(app, "GET", "/v1/runs", {**good, "host": "evil.example"}))[0] == 421
    assert (await ask(app, "GET", "/docs", {"host": "evil.example"}))[0] == 421
    assert (await ask(app, "GET", "/livez", {"host": "10.0.0.7:8000"}, body=b""))[0] == 200
    assert (await ask(app, "GET", "/v1/runs", {**good, "x-big": "x" * 16_400}))[0] == 431


async def test_scopes(app: FastAPI, world: World) -> None:
    reader, _ = await issue(world.store.catalog, "default", name="r", scopes=(READ,), now=0)
    writer, _ = await issue(world.store.catalog, "default", name="w", scopes=(WRITE,), now=0)
    for key, allowed in ((reader, {"GET"}), (writer, {"GET", "POST", "PUT", "PATCH", "DELETE"})):
        for route in app.router.routes:
            for method in route.methods:
                path = route.path.replace("{run_id}", RUN).replace("{name:path}", "a").replace("{sha256}", "0" * 64)
                path = path.replace("{scope}", "workflow").replace("{period}", "day")
                if path in PUBLIC or path == OPEN or path.endswith(":ticket") or path == "/v1/workflows:validate":
                    continue
                status, _, _ = await ask(app, method, path, {"authorization": f"Bearer {key.text}"}, body=b"")
                lasting = path.startswith(("/v1/endpoints", "/v1/hooks", "/v1/budgets")) and method != "GET"
                refused = path.startswith(("/v1/keys", "/v1/provider-keys", "/v1/provider-limits", "/v1/cached-calls")) or lasting or method not in allowed
                assert (status == 403) is refused, (method, path, status)


async def test_every_answer_carries_the_security_headers(app: FastAPI, world: World) -> None:
    for path, status in (("/livez", 200), ("/docs", 200), ("/v1/runs", 401), ("/nothing", 401)):
        found, headers, _ = await ask(app, "GET", path, body=b"")
        assert found == status
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


async def test_cors_only_for_listed_origins(app: FastAPI, world: World) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    status, headers, _ = await ask(app, "OPTIONS", "/v1/runs", {"origin": "https://page.example", **asked})
    assert (status, headers["access-control-allow-origin"]) == (204, "https://page.example")
    assert "authorization" in headers["access-control-allow-headers"].lower()
    for origin in ("https://evil.example", "null", "https://page.example.evil.example", "http://page.example", ""):
        status, headers, _ = await ask(app, "OPTIONS", "/v1/runs", {"origin": origin, **asked})
        assert status == 401
        assert "access-control-allow-origin" not in headers
    status, headers, _ = await ask(app, "GET", "/v1/runs", {"origin": "https://page.example", "authorization": f"Bearer {world.key}"}, body=b"")
    assert (status, headers["access-control-allow-origin"]) == (200, "https://page.example")
    assert "access-control-allow-credentials" not in headers


async def test_a_websocket_is_closed(app: FastAPI) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/v1/runs", "headers": [], "query_string": b""}, never, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_wrong_methods_name_the_right_ones(app: FastAPI, world: World) -> None:
    status, headers, body = await ask(app, "PATCH", "/v1/workflows/demo", {"authorization": f"Bearer {world.key}"}, body=b"")
    assert (status, headers["allow"]) == (405, "DELETE, GET, PUT")
    assert b'"code":"method_not_allowed"' in body
    assert (await ask(app, "GET", "/v1/nothing", {"authorization": f"Bearer {world.key}"}, body=b""))[0] == 404


async def test_a_defect_is_a_500_without_details(app: FastAPI, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_args: Any) -> None:
        raise RuntimeError("secret: hunter2")

    monkeypatch.setattr(world.gateway, "run", broken)
    status, headers, body = await ask(app, "GET", f"/v1/runs/{RUN}", {"authorization": f"Bearer {world.key}"}, body=b"")
    assert (status, headers["content-type"]) == (500, "application/problem+json")
    assert b"hunter2" not in body
    assert b"RuntimeError" not in body


async def test_without_a_database_it_is_alive_but_not_ready(app: FastAPI, world: World) -> None:
    async def gone() -> None:
        raise StoreUnavailable("the database does not answer")

    app.state.services.ready = gone
    assert (await ask(app, "GET", "/livez", body=b""))[0] == 200
    for path in ("/readyz", "/health"):
        status, headers, _ = await ask(app, "GET", path, body=b"")
        assert (status, headers["retry-after"]) == (503, "1")


def test_every_error_has_a_status() -> None:
    def tree(kind: type[AgenticError]) -> Iterator[type[AgenticError]]:
        for child in kind.__subclasses__():
            yield child
            yield from tree(child)

    ours = {"internal", "poison", "invalid_transition", "step_failed", "schema_mismatch", "journal_damaged", "stuck"}
    codes = {kind.code for kind in tree(AgenticError) if kind.__module__.startswith("runtime.")}
    assert codes - set(problems.STATUS) <= ours
    assert not ours & set(problems.STATUS)
