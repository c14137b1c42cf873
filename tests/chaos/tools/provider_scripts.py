"""What a provider can do wrong on the wire, beyond statuses: answers that break, lie, swell, or never end. Imported by the witness."""

import asyncio
import json
from typing import Any

from aiohttp import web

from tests.chaos.provider import Directive, script

HUGE = 50 * 2**20
PIECE = b"x" * 65536
MOST_SECONDS = 600.0
"""An endless answer ends here at the latest, should its client stay."""


@script("cut")
async def _cut(request: web.Request, _directive: Directive, answer: dict[str, Any]) -> web.StreamResponse:
    """Half of the answer, then the connection breaks."""
    data = json.dumps(answer).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.abort()
    return response


@script("unanswered")
async def _unanswered(request: web.Request, _directive: Directive, _answer: dict[str, Any]) -> web.StreamResponse:
    """The connection breaks before the first byte."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


@script("malformed")
async def _malformed(_request: web.Request, _directive: Directive, answer: dict[str, Any]) -> web.StreamResponse:
    """JSON that stops in the middle, with a length that says it is whole."""
    return web.Response(text=json.dumps(answer)[:-20], content_type="application/json")


@script("choiceless")
async def _choiceless(_request: web.Request, _directive: Directive, answer: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({**answer, "choices": []})


@script("misshapen")
async def _misshapen(_request: web.Request, _directive: Directive, answer: dict[str, Any]) -> web.StreamResponse:
    """JSON of another schema."""
    return web.json_response({"id": answer["id"], "choices": [{"index": 0, "message": {"role": "assistant", "content": {"no": 1}}, "finish_reason": 7}]})


@script("html")
async def _html(_request: web.Request, _directive: Directive, _answer: dict[str, Any]) -> web.StreamResponse:
    """The page of a proxy, with status 200."""
    return web.Response(text="<html><body>Welcome to the hotel's network</body></html>", content_type="text/html")


@script("huge")
async def _huge(request: web.Request, directive: Directive, answer: dict[str, Any]) -> web.StreamResponse:
    """A well-formed answer with a text of 50 MB."""
    before, _, after = json.dumps({**answer, "note": "@"}).encode().partition(b"@")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(before)
    for _ in range(int(directive.options.get("bytes", HUGE)) // len(PIECE)):
        await response.write(PIECE)
    await response.write(after)
    return response


@script("endless")
async def _endless(request: web.Request, directive: Directive, _answer: dict[str, Any]) -> web.StreamResponse:
    """Blanks before the JSON, one every now and then, until the client goes away."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    pause = float(directive.options.get("pause", 0.05))
    for _ in range(int(MOST_SECONDS / pause)):
        await response.write(b" ")  # raises ConnectionResetError once nobody listens
        await asyncio.sleep(pause)
    return response
