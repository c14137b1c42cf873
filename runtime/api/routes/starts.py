"""Starting runs. The first route here is the hot path."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.bodies import SMALL, read_model
from runtime.api.callers import Caller
from runtime.api.documented import documented
from runtime.api.headers import idempotency_key, wait_seconds
from runtime.api.keys import WRITE
from runtime.api.requests import BatchBody, ForkBody, NoBody, StartBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway, services
from runtime.api.shield import finish
from runtime.api.tracing import incoming
from runtime.budgets.service import nothing
from runtime.engine.states import RunStatus, WaitingFor
from runtime.gateway import Gateway, StartRequest, views
from runtime.gateway.starts import Started
from runtime.store.protocol import RunRow

router = APIRouter(tags=["runs"])
_HEADERS = ("Idempotency-Key", "Prefer", "traceparent")


@router.post("/v1/workflows/{name}/runs", **documented({200: answers.RunDetail, 202: answers.RunDetail}, 404, 429, body=StartBody, headers=_HEADERS))
async def start(request: Request, name: str) -> Response:
    """Start a run. 202 once it is on disk; with `Prefer: wait=N` 200 when it ends in time."""
    who, service = caller(request, WRITE), gateway(request)
    body = await read_model(request, StartBody, limit=service.settings.max_input_bytes + SMALL)
    trace = incoming(request, "/v1/workflows/{name}/runs")
    wanted = _wanted(name, body, idempotency_key(request.headers.get("idempotency-key")), trace.traceparent, who)
    started = await finish(service.start(who.tenant, wanted))
    if started.traceparent is None:
        return await _accepted(request, service, started)
    trace.ended(202)
    return await _accepted(request, service, started, traceparent=started.traceparent)


@router.post("/v1/workflows/{name}/runs:batch", **documented({202: answers.StartedRuns}, 404, 429, body=BatchBody, headers=("Idempotency-Key", "traceparent")))
async def start_batch(request: Request, name: str) -> Response:
    """Start up to 1000 runs, all or none."""
    who, service = caller(request, WRITE), gateway(request)
    body = await read_model(request, BatchBody, limit=service.settings.max_input_bytes + SMALL)
    key = idempotency_key(request.headers.get("idempotency-key"))
    # Each run has a trace of its own, unless the client wants them all in its.
    trace = incoming(request, "/v1/workflows/{name}/runs:batch")
    shared = None if trace.above is None else trace.traceparent
    wanted = [_wanted(name, one, key and f"{key}/{len(body.runs)}/{index}", shared, who) for index, one in enumerate(body.runs)]
    started = await finish(service.start_batch(who.tenant, wanted))
    if shared is not None:
        trace.ended(202)
    return json({"runs": [{**views.run(one.run), "created": one.created} for one in started]}, 202)


@router.post(
    "/v1/runs/{run_id}:retry",
    **documented({200: answers.RunDetail, 202: answers.RunDetail}, 404, 409, 410, 429, body=NoBody, optional=True, headers=_HEADERS[:2]),
)
async def retry(request: Request, run_id: str) -> Response:
    """A new run that keeps what a failed or canceled one had finished."""
    who, service = caller(request, WRITE), gateway(request)
    await read_model(request, NoBody, optional=True)
    key = idempotency_key(request.headers.get("idempotency-key"))
    return await _accepted(request, service, await finish(service.retry(who.tenant, run_id, idempotency_key=key, user=who.key_id)))


@router.post(
    "/v1/runs/{run_id}:fork", **documented({200: answers.RunDetail, 202: answers.RunDetail}, 404, 410, 429, body=ForkBody, optional=True, headers=_HEADERS[:2])
)
async def fork(request: Request, run_id: str) -> Response:
    """A new run that starts again at a step, with other inputs if wanted; the run it comes from is not touched."""
    who, service = caller(request, WRITE), gateway(request)
    body = await read_model(request, ForkBody, limit=service.settings.max_input_bytes + SMALL, optional=True)
    key = idempotency_key(request.headers.get("idempotency-key"))
    forked = service.fork(who.tenant, run_id, from_step=body.from_step, inputs=body.inputs, idempotency_key=key, user=who.key_id)
    return await _accepted(request, service, await finish(forked))


def _wanted(name: str, body: StartBody, key: str | None, trace: str | None, who: Caller) -> StartRequest:
    budget = None if body.budget is None else body.budget.journalled()
    return StartRequest(name, body.inputs, body.version, body.mode, body.labels, body.priority, key, trace, budget=budget, user=who.key_id)


async def _accepted(request: Request, service: Gateway, started: Started, **headers: str) -> Response:
    """202 with the run, or 200 when the client prefers to wait and the run ends in time."""
    row, seconds = started.run, wait_seconds(request.headers.getlist("prefer"))
    if seconds:
        row = await service.wait(row.tenant, row.run_id, seconds, known=row)
        headers["Preference-Applied"] = f"wait={seconds}"
    status = 200 if row.status.ended and seconds else 202
    return json(await detail(request, row, started), status, Location=f"/v1/runs/{row.run_id}", **headers)


async def detail(request: Request, row: RunRow, started: Started | None = None) -> dict[str, Any]:
    """A run with its inputs, output and money; those of a run just started are at hand and need no read."""
    service, fresh = gateway(request), started is not None and started.created
    created = {"inputs": started.inputs, "budget": started.budget} if fresh and started is not None else (await service.created(row)).body or {}
    position = await service.position(row)
    shown = views.run_detail(row, inputs=await service.shown(created["inputs"]), output=await service.shown(row.result), position=position)
    return shown | await money(request, row, created)


async def money(request: Request, row: RunRow, created: Mapping[str, Any]) -> dict[str, Any]:
    """What a run has used and may spend. A run that cannot have made a model call is not asked about."""
    service, budgets = gateway(request), services(request).budgets
    spends = row.started_at is not None and (await service.plan(row)).spends
    waits = row.status is RunStatus.PAUSED and row.waiting_for == WaitingFor.BUDGET
    short = (await service.state(row.tenant, row.run_id)).short if waits else None
    budget = await budgets.budget_of(row, created, short) if spends or created.get("budget") else None
    return {"usage": await budgets.of_run(row) if spends else nothing(), "budget": budget}
