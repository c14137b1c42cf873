"""Events of a run: as pages, or as a stream that can be resumed."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runtime.api import answers, sse
from runtime.api.bodies import read_model
from runtime.api.documented import documented
from runtime.api.headers import event_id
from runtime.api.keys import READ
from runtime.api.paging import PageSize, PageToken, decode_number, page
from runtime.api.requests import NoBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway, services
from runtime.clock import rfc3339
from runtime.gateway import views

router = APIRouter(tags=["events"])

_PAGE_OR_STREAM = {
    "application/json": {"schema": {"$ref": "#/components/schemas/Events"}},
    sse.MEDIA_TYPE: {
        "schema": {"type": "string", "description": "Each `data` is an Event, `id` its seq; with `deltas=true` also a Delta, without an `id`."},
    },
}


@router.get("/v1/runs/{run_id}/events", **documented({200: _PAGE_OR_STREAM, 204: None}, 404, 429, headers=("Last-Event-ID",)))
async def events(
    request: Request,
    run_id: str,
    after: Annotated[int, Query(ge=0, le=10**15, description="Only events with a higher seq.")] = 0,
    page_size: PageSize = 100,
    page_token: PageToken = None,
    deltas: Annotated[Literal["true", "false"], Query(description="Whether a stream also carries what models say while they say it.")] = "false",
    ticket: Annotated[str | None, Query(max_length=200, description="Instead of a key, for an EventSource.")] = None,  # noqa: ARG001 - read by the guard
) -> Response:
    """A page of the journal; with `Accept: text/event-stream` a stream that ends after the run's last event.

    `Last-Event-ID` or `after` resumes without gap or repeat, also after the run has ended. 204: it has ended, and there is nothing later.
    With `deltas=true` the stream carries the text of model calls while it comes, as `step.delta`: outside the journal, best effort.
    """
    tenant = caller(request, READ, run_id=run_id).tenant
    last = event_id(request.headers.get("last-event-id"))
    after = max(decode_number(page_token) or 0, after) if last is None else last
    if sse.MEDIA_TYPE in request.headers.get("accept", ""):
        return await _stream(request, tenant, run_id, after, deltas=deltas == "true")
    found = await gateway(request).events(tenant, run_id, after=after, limit=page_size)
    return json(page("events", [views.event(event) for event in found], full=len(found) == page_size, cursor=found[-1].seq if found else None))


async def _stream(request: Request, tenant: str, run_id: str, after: int, *, deltas: bool) -> Response:
    row = await gateway(request).run(tenant, run_id)
    if row.status.ended and after >= row.head:
        return Response(status_code=204)
    found = services(request)
    found.streams.check(tenant)
    chunks = sse.stream(found.gateway, found.streams, tenant, run_id, after, found.deltas if deltas else None)
    return StreamingResponse(chunks, media_type=sse.MEDIA_TYPE, headers=sse.HEADERS)


@router.post("/v1/runs/{run_id}/events:ticket", **documented({201: answers.Ticket}, 404, body=NoBody, optional=True))
async def ticket(request: Request, run_id: str) -> Response:
    """A ticket that opens this run's stream once within 60 s, for a browser's EventSource, which cannot send a key."""
    who = caller(request, READ)
    await read_model(request, NoBody, optional=True)
    await gateway(request).run(who.tenant, run_id)
    text, expires_at = await services(request).callers.ticket(who, run_id)
    return json({"ticket": text, "url": f"/v1/runs/{run_id}/events?ticket={text}", "expires_at": rfc3339(expires_at)}, 201)
