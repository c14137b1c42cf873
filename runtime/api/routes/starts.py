"""Starting runs. The first route here is the hot path."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.bodies import SMALL, read_model
from runtime.api.documented import documented
from runtime.api.headers import idempotency_key, wait_seconds
from runtime.api.keys import WRITE
from runtime.api.requests import BatchBody, ForkBody, NoBody, StartBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway
from runtime.api.shield import finish
from runtime.api.tracing import incoming
from runtime.gateway import Gateway, StartRequest, views
from runtime.gateway.starts import Started
from runtime.store.protocol import RunRow

router = APIRouter(tags=["runs"])
_HEADERS = ("Idempotency-Key", "Prefer", "traceparent")


@router.post("/v1/workflows/{name}/runs", **documented({200: answers.RunDetail, 202: answers.RunDetail}, 404, 429, body=StartBody, headers=_HEADERS))
async def start(request: Request, name: str) -> Response:
    """Start a run. 202 once it is on disk; with `Prefer: wait=N` 200 when it ends in time."""
    tenant, service = caller(request, WRITE).tenant, gateway(request)
    body = await read_model(request, StartBody, limit=service.settings.max_input_bytes + SMALL)
    trace = incoming(request, "/v1/workflows/{name}/runs")
    wanted = _wanted(name, body, idempotency_key(request.headers.get("idempotency-key")), trace.traceparent)
    started = await finish(service.start(tenant, wanted))
    if started.traceparent is None:
        return await _accepted(request, service, started)
    trace.ended(202)
    return await _accepted(request, service, started, traceparent=started.traceparent)


@router.post("/v1/workflows/{name}/runs:batch", **documented({202: answers.StartedRuns}, 404, 429, body=BatchBody, headers=("Idempotency-Key", "traceparent")))
async def start_batch(request: Request, name: str) -> Response:
    """Start up to 1000 runs, all or none."""
    tenant, service = caller(request, WRITE).tenant, gateway(request)
    body = await read_model(request, BatchBody, limit=service.settings.max_input_bytes + SMALL)
    key = idempotency_key(request.headers.get("idempotency-key"))
    # Each run has a trace of its own, unless the client wants them all in its.
    trace = incoming(request, "/v1/workflows/{name}/runs:batch")
    shared = None if trace.above is None else trace.traceparent
    wanted = [_wanted(name, one, key and f"{key}/{len(body.runs)}/{index}", shared) for index, one in enumerate(body.runs)]
    started = await finish(service.start_batch(tenant, wanted))
    if shared is not None:
        trace.ended(202)
    return json({"runs": [{**views.run(one.run), "created": one.created} for one in started]}, 202)


@router.post(
    "/v1/runs/{run_id}:retry",
    **documented({200: answers.RunDetail, 202: answers.RunDetail}, 404, 409, 410, 429, body=NoBody, optional=True, headers=_HEADERS[:2]),
)
async def retry(request: Request, run_id: str) -> Response:
    """A new run that keeps what a failed or canceled one had finished."""
    tenant, service = caller(request, WRITE).tenant, gateway(request)
    await read_model(request, NoBody, optional=True)
    key = idempotency_key(request.headers.get("idempotency-key"))
    return await _accepted(request, service, await finish(service.retry(tenant, run_id, idempotency_key=key)))


@router.post(
    "/v1/runs/{run_id}:fork", **documented({200: answers.RunDetail, 202: answers.RunDetail}, 404, 410, 429, body=ForkBody, optional=True, headers=_HEADERS[:2])
)
async def fork(request: Request, run_id: str) -> Response:
    """A new run that starts again at a step, with other inputs if wanted; the run it comes from is not touched."""
    tenant, service = caller(request, WRITE).tenant, gateway(request)
    body = await read_model(request, ForkBody, limit=service.settings.max_input_bytes + SMALL, optional=True)
    key = idempotency_key(request.headers.get("idempotency-key"))
    forked = service.fork(tenant, run_id, from_step=body.from_step, inputs=body.inputs, idempotency_key=key)
    return await _accepted(request, service, await finish(forked))


def _wanted(name: str, body: StartBody, key: str | None, trace: str | None) -> StartRequest:
    return StartRequest(name, body.inputs, body.version, body.mode, body.labels, body.priority, key, trace)


async def _accepted(request: Request, service: Gateway, started: Started, **headers: str) -> Response:
    """202 with the run, or 200 when the client prefers to wait and the run ends in time."""
    row, seconds = started.run, wait_seconds(request.headers.getlist("prefer"))
    if seconds:
        row = await service.wait(row.tenant, row.run_id, seconds, known=row)
        headers["Preference-Applied"] = f"wait={seconds}"
    status = 200 if row.status.ended and seconds else 202
    return json(await detail(service, row, started), status, Location=f"/v1/runs/{row.run_id}", **headers)


async def detail(service: Gateway, row: RunRow, started: Started | None = None) -> dict[str, Any]:
    """A run with its inputs and output; those of a run just started are at hand and need no read."""
    inputs = started.inputs if started is not None and started.created else ((await service.created(row)).body or {})["inputs"]
    position = await service.position(row)
    return views.run_detail(row, inputs=await service.shown(inputs), output=await service.shown(row.result), position=position)
