"""A small HTTP API with an OpenAPI document, and answers a test may choose.

async with api_server() as api:
    api.answers["listPets"] = Reply(500, b"broken")
    settings = Settings(apis={"pets": {"document": f"{api.url}/openapi.json"}}, outbound_allow=["127.0.0.1"])
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "/v1"}],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List pets.",
                "parameters": [
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "filter[age]", "in": "query", "schema": {"type": "integer", "minimum": 0}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                ],
            },
            "post": {
                "operationId": "addPet",
                "description": "Add a pet.",
                "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}},
            },
        },
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "getPet"},
            "delete": {"summary": "Remove a pet."},
        },
        "/upload": {"post": {"operationId": "upload", "requestBody": {"required": True, "content": {"multipart/form-data": {}}}}},
    },
    "components": {
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string", "pattern": "^(?!x)[a-z]+$"},
                    "parent": {"$ref": "#/components/schemas/Pet"},
                },
            }
        }
    },
}


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class ApiServer:
    """What was asked, and what is answered: `answers` by path, else the request itself as JSON."""

    port: int = 0
    document: Any = field(default_factory=lambda: json.loads(json.dumps(DOCUMENT)))
    answers: dict[str, Reply] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    release: asyncio.Event | None = None
    """Answers wait for it, when there is one."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[Asked]:
        """What was asked besides the document."""
        return [asked for asked in self.asked if asked.path != "/openapi.json"]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["raw_path"].decode()
        asked = Asked(scope["method"], path, parse_qsl(scope["query_string"].decode(), keep_blank_values=True), headers, body)
        self.asked.append(asked)
        reply = self.answers.get(path) or self._usual(asked)
        if self.release is not None:
            await self.release.wait()
        await send({"type": "http.response.start", "status": reply.status, "headers": list(reply.headers)})
        await send({"type": "http.response.body", "body": reply.body})

    def _usual(self, asked: Asked) -> Reply:
        if asked.path == "/openapi.json":
            return Reply(body=self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode())
        return Reply(body=json.dumps({"path": asked.path, "query": asked.query, "headers": asked.headers, "body": asked.body.decode()}).encode())


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """A running server on a free port; closed at the end."""
    server = ApiServer()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server.port = listener.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(server, lifespan="off", log_level="critical", timeout_graceful_shutdown=1, http="h11"))
    running.install_signal_handlers = lambda: None
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        yield server
    finally:
        running.should_exit = True
        if server.release is not None:
            server.release.set()
        await task
        listener.close()
