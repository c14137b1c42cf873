"""Webhooks in: addresses that start runs. One route here is public, and what may come in by it is the input of a stored definition."""

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers_webhooks as answers
from runtime.api.bodies import JSON, SMALL, THREAD_FROM, check_type, read_bytes, read_model
from runtime.api.documented import documented
from runtime.api.keys import ADMIN, READ
from runtime.api.requests import HookBody, NoBody
from runtime.api.responses import json
from runtime.api.services import caller, services
from runtime.api.shield import finish
from runtime.api.strict_json import loads
from runtime.api.tracing import incoming
from runtime.gateway import views
from runtime.gateway.hooks import Fresh, HookRequest

router = APIRouter(tags=["webhooks in"])
_ADDRESS = "/hooks/{token}"
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "Idempotency-Key", "traceparent")


@router.post(
    _ADDRESS, **documented({202: answers.Received}, 400, 401, 404, 409, 421, 422, 429, 431, body={JSON[0]: {"schema": {}}}, public=True, headers=_HEADERS)
)
async def receive(request: Request, token: str) -> Response:
    """Start the run a message asks for; 202 once it is on disk. The token in the path is the permission, the signature the proof."""
    hooks = services(request).hooks
    hook = await hooks.admit(token)
    check_type(request, JSON)
    data = await read_bytes(request, SMALL)

    def header(name: str) -> str | None:
        given = request.headers.getlist(name)
        return given[0] if len(given) == 1 else None

    hooks.check(hook, header, data)
    body: Any = await asyncio.to_thread(loads, data) if len(data) > THREAD_FROM else loads(data)
    trace = incoming(request, _ADDRESS)
    started = await finish(hooks.start(hook, body, header, traceparent=trace.traceparent))
    if started.created:
        trace.ended(202)
    return json({"run_id": started.run.run_id, "created": started.created}, 202)


OPEN_ROUTE = next(route for route in router.routes if getattr(route, "path", None) == _ADDRESS)
"""The one route with a parameter that needs no API key; the guard is told of it."""


@router.post("/v1/hooks", **documented({201: answers.NewHook}, 404, 409, body=HookBody))
async def create(request: Request) -> Response:
    """Make an address that starts runs of a workflow. Address and secret are in this answer and nowhere else."""
    tenant = caller(request, ADMIN).tenant
    body = await read_model(request, HookBody)
    return _fresh(request, await finish(services(request).hooks.create(tenant, HookRequest(**dict(body)))), 201)


@router.get("/v1/hooks", **documented({200: answers.HookList}))
async def hooks(request: Request) -> Response:
    """All hooks of the tenant, by name, without their addresses."""
    return json({"hooks": [views.hook(row) for row in await services(request).hooks.hooks(caller(request, READ).tenant)]})


@router.get("/v1/hooks/{hook_id}", **documented({200: answers.Hook}, 404))
async def hook(request: Request, hook_id: str) -> Response:
    """One hook."""
    return json(views.hook(await services(request).hooks.hook(caller(request, READ).tenant, hook_id)))


@router.delete("/v1/hooks/{hook_id}", **documented({204: None}, 404))
async def delete(request: Request, hook_id: str) -> Response:
    """Its address answers 404 from now on."""
    await finish(services(request).hooks.remove(caller(request, ADMIN).tenant, hook_id))
    return Response(status_code=204)


@router.post("/v1/hooks/{hook_id}:rotate", **documented({200: answers.NewHook}, 404, body=NoBody, optional=True))
async def rotate(request: Request, hook_id: str) -> Response:
    """Another address and, where signatures are checked, another secret. The ones before end at once."""
    tenant = caller(request, ADMIN).tenant
    await read_model(request, NoBody, optional=True)
    return _fresh(request, await finish(services(request).hooks.rotate(tenant, hook_id)), 200)


def _fresh(request: Request, made: Fresh, status: int) -> Response:
    url = f"{str(request.base_url).rstrip('/')}{_ADDRESS.format(token=made.token)}"
    return json({**views.hook(made.hook), "url": url, "secret": made.secret}, status)
