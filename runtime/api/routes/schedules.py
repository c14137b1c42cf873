"""Schedules: put, look up, pause, trigger, backfill, and what became of their ticks."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers, schedule_answers
from runtime.api.bodies import SMALL, read_json, read_model
from runtime.api.documented import documented
from runtime.api.headers import etag, idempotency_key
from runtime.api.keys import READ, WRITE
from runtime.api.paging import PageSize, PageToken, decode, decode_number, page
from runtime.api.requests import BackfillBody, NoBody, PauseBody
from runtime.api.responses import json
from runtime.api.routes.starts import detail
from runtime.api.services import caller, scheduling, services
from runtime.api.shield import finish
from runtime.schedules.overlap import Overlap
from runtime.schedules.spec import ScheduleBody
from runtime.scheduling import views
from runtime.store.schedules.protocol import ScheduleRow

router = APIRouter(tags=["schedules"])
Count = Annotated[int, Query(ge=1, le=1000, description="How many.")]


@router.get("/v1/schedules", **documented({200: schedule_answers.Schedules}))
async def schedules(request: Request, page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """Schedules by name."""
    tenant = caller(request, READ).tenant
    rows = await scheduling(request).schedules(tenant, after=decode(page_token), limit=page_size)
    cursor = rows[-1].name if rows else None
    return json(page("schedules", [views.schedule(row) for row in rows], full=len(rows) == page_size, cursor=cursor))


@router.post("/v1/schedules", **documented({201: schedule_answers.ScheduleDetail}, 409, body=ScheduleBody))
async def create(request: Request) -> Response:
    """Make a schedule. 409 when the name is taken; 422 lists every problem, those of the workflow and its inputs included."""
    tenant = caller(request, WRITE).tenant
    document = await read_json(request, limit=_limit(request))
    row = await finish(scheduling(request).put(tenant, document, create=True))
    return await _detail(request, row, 201)


@router.get("/v1/schedules/{name}", **documented({200: schedule_answers.ScheduleDetail}, 404))
async def schedule(request: Request, name: str) -> Response:
    """One schedule, which of its runs have not ended, and how many ticks wait."""
    return await _detail(request, await scheduling(request).schedule(caller(request, READ).tenant, name))


@router.put("/v1/schedules/{name}", **documented({200: schedule_answers.ScheduleDetail}, 409, 412, body=ScheduleBody, headers=("If-Match",)))
async def put(request: Request, name: str) -> Response:
    """Make or change a schedule; with `If-Match` only while that is its ETag. Ticks that were decided are never decided again."""
    tenant = caller(request, WRITE).tenant
    if_match = etag(request.headers.get("if-match"))
    document = await read_json(request, limit=_limit(request))
    return await _detail(request, await finish(scheduling(request).put(tenant, document, name=name, if_match=if_match)))


@router.delete("/v1/schedules/{name}", **documented({204: None}, 404, 412, headers=("If-Match",)))
async def delete(request: Request, name: str) -> Response:
    """Remove a schedule and the record of its ticks. Its runs stay, and go on."""
    tenant = caller(request, WRITE).tenant
    await finish(scheduling(request).delete(tenant, name, if_match=etag(request.headers.get("if-match"))))
    return Response(status_code=204)


@router.post("/v1/schedules/{name}:pause", **documented({200: schedule_answers.ScheduleDetail}, 404, 409, body=PauseBody, optional=True))
async def pause(request: Request, name: str) -> Response:
    """No tick starts until `:resume`. Runs under way go on."""
    tenant = caller(request, WRITE).tenant
    body = await read_model(request, PauseBody, optional=True)
    return await _detail(request, await finish(scheduling(request).pause(tenant, name, body.note)))


@router.post("/v1/schedules/{name}:resume", **documented({200: schedule_answers.ScheduleDetail}, 404, 409, body=NoBody, optional=True))
async def resume(request: Request, name: str) -> Response:
    """Go on with the first tick from now; the pause is not caught up (`:backfill` can)."""
    tenant = caller(request, WRITE).tenant
    await read_model(request, NoBody, optional=True)
    return await _detail(request, await finish(scheduling(request).resume(tenant, name)))


@router.post("/v1/schedules/{name}:trigger", **documented({202: answers.RunDetail}, 404, 410, 429, body=NoBody, optional=True, headers=("Idempotency-Key",)))
async def trigger(request: Request, name: str) -> Response:
    """Start a run now, outside the ticks and whatever the overlap policy says; also while the schedule is paused."""
    tenant = caller(request, WRITE).tenant
    await read_model(request, NoBody, optional=True)
    key = idempotency_key(request.headers.get("idempotency-key"))
    started = await finish(scheduling(request).trigger(tenant, name, idempotency_key=key))
    return json(await detail(request, started.run, started), 202, Location=f"/v1/runs/{started.run.run_id}")


@router.post("/v1/schedules/{name}:backfill", **documented({202: schedule_answers.Backfilled}, 404, body=BackfillBody))
async def backfill(request: Request, name: str) -> Response:
    """Start the ticks of a past range after all, at most 1000; those that were started stay as they are, so that repeating this is safe."""
    tenant = caller(request, WRITE).tenant
    body = await read_model(request, BackfillBody)
    rows = await finish(scheduling(request).backfill(tenant, name, body.from_, body.to, Overlap(body.overlap)))
    return json({"ticks": [views.tick(row) for row in rows]}, 202)


@router.get("/v1/schedules/{name}/ticks", **documented({200: schedule_answers.Ticks}, 404))
async def ticks(request: Request, name: str, page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """What became of its ticks, the latest record first."""
    tenant = caller(request, READ).tenant
    rows = await scheduling(request).ticks(tenant, name, before=decode_number(page_token), limit=page_size)
    return json(page("ticks", [views.tick(row) for row in rows], full=len(rows) == page_size, cursor=rows[-1].id if rows else None))


@router.get("/v1/schedules/{name}/upcoming", **documented({200: schedule_answers.Upcoming}, 404))
async def upcoming(request: Request, name: str, count: Count = 10) -> Response:
    """The next ticks, as if the schedule were not paused."""
    found = await scheduling(request).upcoming(caller(request, READ).tenant, name, count)
    return json({"upcoming": [views.upcoming(tick, due) for tick, due in found]})


def _limit(request: Request) -> int:
    return services(request).settings.max_input_bytes + SMALL


async def _detail(request: Request, row: ScheduleRow, status: int = 200) -> Response:
    standing = await scheduling(request).standing(row)
    return json(views.schedule_detail(row, standing), status, ETag=f'"{row.etag}"', Location=f"/v1/schedules/{row.name}")
