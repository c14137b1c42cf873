"""Workflows: create, new version, look up, validate, delete."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers, bodies
from runtime.api.documented import DEFINITION, documented
from runtime.api.headers import etag
from runtime.api.keys import READ, WRITE
from runtime.api.paging import PageSize, PageToken, decode, decode_number, page
from runtime.api.responses import json
from runtime.api.services import caller, gateway
from runtime.api.shield import finish
from runtime.definition.validation import Loaded
from runtime.errors import DefinitionInvalid, Problem
from runtime.gateway import views
from runtime.store.catalog_protocol import DefinitionRow

router = APIRouter(tags=["workflows"])


@router.post("/v1/workflows:validate", **documented({200: answers.Validated}, body=DEFINITION))
async def validate(request: Request) -> Response:
    """Check a definition without storing it: all problems at once, with line and column."""
    caller(request, READ)
    loaded = await _loaded(request)
    return json({"valid": True, "name": loaded.definition.name, "version": loaded.hash, "steps": [*loaded.plan.main, *loaded.plan.final]})


@router.post("/v1/workflows", **documented({201: answers.WorkflowDetail}, 409, body=DEFINITION))
async def create(request: Request) -> Response:
    """Publish a new workflow. 409 when the name is taken."""
    tenant = caller(request, WRITE).tenant
    row = await finish(gateway(request).publish(tenant, await _loaded(request), create=True))
    return _detail(row, 201)


@router.put("/v1/workflows/{name}", **documented({200: answers.WorkflowDetail}, 412, body=DEFINITION, headers=("If-Match",)))
async def publish(request: Request, name: str) -> Response:
    """Publish a version. The same content again changes nothing; with `If-Match` only when that version is still the current one."""
    tenant = caller(request, WRITE).tenant
    loaded = await _loaded(request)
    if loaded.definition.name != name:
        detail = f"the definition is named {loaded.definition.name}, the URL says {name[:100]}"
        raise DefinitionInvalid(detail, problems=[Problem("/name", detail)])
    row = await finish(gateway(request).publish(tenant, loaded, if_match=etag(request.headers.get("if-match"))))
    return _detail(row)


@router.get("/v1/workflows", **documented({200: answers.Workflows}))
async def workflows(request: Request, page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """Workflows by name, each with its current version."""
    tenant = caller(request, READ).tenant
    rows = await gateway(request).workflows(tenant, after=decode(page_token), limit=page_size)
    cursor = rows[-1].workflow if rows else None
    return json(page("workflows", [views.workflow(row) for row in rows], full=len(rows) == page_size, cursor=cursor))


@router.get("/v1/workflows/{name}", **documented({200: answers.WorkflowDetail}, 404))
async def workflow(request: Request, name: str, version: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None) -> Response:
    """The current version, or another by its content hash."""
    return _detail(await gateway(request).workflow(caller(request, READ).tenant, name, version))


@router.get("/v1/workflows/{name}/versions", **documented({200: answers.Workflows}, 404))
async def versions(request: Request, name: str, page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """All versions, newest first."""
    tenant = caller(request, READ).tenant
    rows = await gateway(request).versions(tenant, name, before=decode_number(page_token), limit=page_size)
    cursor = rows[-1].version if rows else None
    return json(page("workflows", [views.workflow(row) for row in rows], full=len(rows) == page_size, cursor=cursor))


@router.delete("/v1/workflows/{name}", **documented({204: None}, 404))
async def delete(request: Request, name: str) -> Response:
    """Take a workflow away: no new runs. Runs under way go on, and its versions stay readable to them."""
    await finish(gateway(request).delete_workflow(caller(request, WRITE).tenant, name))
    return Response(status_code=204)


async def _loaded(request: Request) -> Loaded:
    """The definition in the body. A large one is compiled off the event loop."""
    service = gateway(request)
    bodies.check_type(request, bodies.DEFINITION)
    data = await bodies.read_bytes(request, service.settings.max_definition_bytes)
    if len(data) > bodies.THREAD_FROM // 4:
        return await asyncio.to_thread(service.validate, data)
    return service.validate(data)


def _detail(row: DefinitionRow, status: int = 200) -> Response:
    return json(views.workflow_detail(row), status, ETag=f'"{row.definition}"', Location=f"/v1/workflows/{row.workflow}")
