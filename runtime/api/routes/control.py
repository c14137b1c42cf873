"""Changing runs that exist: cancel, pause, resume, remove, signals, decisions."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.bodies import SMALL, read_model
from runtime.api.documented import documented
from runtime.api.headers import idempotency_key
from runtime.api.keys import WRITE
from runtime.api.requests import CancelBody, DecisionBody, NoBody, SignalBody
from runtime.api.requests_money import ResumeBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway
from runtime.api.shield import finish
from runtime.gateway import views

router = APIRouter(tags=["runs"])


@router.post("/v1/runs/{run_id}:cancel", **documented({202: answers.Run}, 404, 409, body=CancelBody, optional=True))
async def cancel(request: Request, run_id: str) -> Response:
    """After 202 the run ends canceled, whatever happens; 409 names the end it already has."""
    who = caller(request, WRITE)
    body = await read_model(request, CancelBody, optional=True)
    return json(views.run(await finish(gateway(request).cancel(who.tenant, run_id, reason=body.reason, by=who.name))), 202)


@router.post("/v1/runs/{run_id}:pause", **documented({202: answers.Run}, 404, 409, body=NoBody, optional=True))
async def pause(request: Request, run_id: str) -> Response:
    """Start no new step; those under way finish."""
    tenant = caller(request, WRITE).tenant
    await read_model(request, NoBody, optional=True)
    return json(views.run(await finish(gateway(request).pause(tenant, run_id))), 202)


@router.post("/v1/runs/{run_id}:resume", **documented({202: answers.Run}, 404, 409, body=ResumeBody, optional=True))
async def resume(request: Request, run_id: str) -> Response:
    """Go on after a pause, with another budget if one is given."""
    who = caller(request, WRITE)
    body = await read_model(request, ResumeBody, optional=True)
    budget = None if body.budget is None else body.budget.journalled()
    return json(views.run(await finish(gateway(request).resume(who.tenant, run_id, budget=budget, by=who.name))), 202)


@router.delete("/v1/runs/{run_id}", **documented({204: None}, 404, 409))
async def remove(request: Request, run_id: str) -> Response:
    """Remove an ended run, its journal, approvals and artifacts; 409 while it goes on. There is no way back."""
    await finish(gateway(request).remove(caller(request, WRITE).tenant, run_id))
    return Response(status_code=204)


@router.post("/v1/runs/{run_id}/signals/{name}", **documented({202: answers.Run}, 404, 409, body=SignalBody, optional=True, headers=("Idempotency-Key",)))
async def signal(request: Request, run_id: str, name: str) -> Response:
    """Send a message to the step that waits for it, now or later."""
    tenant, service = caller(request, WRITE).tenant, gateway(request)
    body = await read_model(request, SignalBody, limit=service.settings.max_input_bytes + SMALL, optional=True)
    key = idempotency_key(request.headers.get("idempotency-key"))
    return json(views.run(await finish(service.signal(tenant, run_id, name, body.payload, idempotency_key=key))), 202)


@router.post("/v1/runs/{run_id}/decisions", **documented({202: answers.Run}, 404, 409, body=DecisionBody, headers=("Idempotency-Key",)))
async def decide(request: Request, run_id: str) -> Response:
    """Say what became of an attempt whose effect is unknown (`on_crash: ask`)."""
    tenant, service = caller(request, WRITE).tenant, gateway(request)
    body = await read_model(request, DecisionBody, limit=service.settings.max_input_bytes + SMALL)
    key = idempotency_key(request.headers.get("idempotency-key"))
    decided = service.decide_step(tenant, run_id, body.step, body.action, index=body.index, output=body.output, idempotency_key=key)
    return json(views.run(await finish(decided)), 202)
