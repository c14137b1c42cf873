"""Looking at runs: lists, one run, its steps and their items."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runtime.api import answers
from runtime.api.documented import documented
from runtime.api.headers import wait_seconds
from runtime.api.keys import READ
from runtime.api.paging import PageSize, PageToken, decode, decode_number, invalid, labels, moment, page
from runtime.api.responses import json
from runtime.api.routes.starts import detail
from runtime.api.services import caller, gateway, scheduling, services
from runtime.engine.states import RunStatus, StepStatus, WaitingFor
from runtime.gateway import views
from runtime.ids import is_uuid
from runtime.store.protocol import RunQuery, RunRow

router = APIRouter(tags=["runs"])
Moment = Annotated[str | None, Query(max_length=40, description="RFC 3339.")]


@router.get("/v1/runs/{run_id}", **documented({200: answers.RunDetail}, 404, 410, headers=("Prefer",)))
async def run(request: Request, run_id: str) -> Response:
    """One run with its inputs and output. With `Prefer: wait=N` the answer comes when the run has ended, or after N seconds."""
    tenant, service = caller(request, READ).tenant, gateway(request)
    seconds = wait_seconds(request.headers.getlist("prefer"))
    row = await (service.wait(tenant, run_id, seconds) if seconds else service.run(tenant, run_id))
    return json(await detail(request, row))


@router.get("/v1/runs", **documented({200: answers.Runs}, 404))
async def runs(  # noqa: PLR0913, PLR0917 - each is a query parameter
    request: Request,
    workflow: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = None,
    status: Annotated[list[RunStatus], Query()] = [],  # noqa: B006 - FastAPI copies it
    label: Annotated[list[str], Query(max_length=10, description="`key=value`; all must match.")] = [],  # noqa: B006 - FastAPI copies it
    waiting_for: Annotated[WaitingFor | Literal["slot"] | None, Query(description="`slot`: queued until another run ends.")] = None,
    parent: Annotated[str | None, Query(description="Id of the run whose step started them.")] = None,
    schedule: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Name of the schedule that started them.")] = None,
    created_after: Moment = None,
    created_before: Moment = None,
    page_size: PageSize = 50,
    page_token: PageToken = None,
) -> Response:
    """Runs, newest first. 404 when `schedule` names one that is not there."""
    tenant = caller(request, READ).tenant
    query = RunQuery(
        tenant,
        workflow=workflow,
        status=tuple(dict.fromkeys(each.value for each in status)),
        waiting_for=waiting_for,
        parent_run=_id("parent", parent),
        schedule_id=None if schedule is None else (await scheduling(request).schedule(tenant, schedule)).schedule_id,
        labels=labels(label),
        created_after=moment("created_after", created_after),
        created_before=moment("created_before", created_before),
        before=_id("page_token", decode(page_token)),
        limit=page_size,
    )
    rows = await gateway(request).runs(tenant, query)
    return json(page("runs", [views.run(row) for row in rows], full=len(rows) == page_size, cursor=rows[-1].run_id if rows else None))


@router.get("/v1/runs/{run_id}/steps", **documented({200: answers.Steps}, 404))
async def steps(request: Request, run_id: str) -> Response:
    """All steps in the order of the plan, and how many are in which state."""
    tenant, service = caller(request, READ).tenant, gateway(request)
    row = await service.run(tenant, run_id)
    used = await _used(request, row)
    state = await service.state(tenant, run_id)
    plan = state.plan
    shown = {name: state.steps[name] for name in (*plan.main, *plan.final)}
    listed = [views.step(name, plan.steps[name].kind.value, step) | {"usage": used.get(name)} for name, step in shown.items()]
    return json({"steps": listed, "progress": views.progress(shown)})


@router.get("/v1/runs/{run_id}/steps/{step}", **documented({200: answers.Step}, 404, 410))
async def step(request: Request, run_id: str, step: str) -> Response:
    """One step. The outputs of a map are read from its items."""
    tenant, service = caller(request, READ).tenant, gateway(request)
    used = await _used(request, await service.run(tenant, run_id))
    found, kind = await service.step(tenant, run_id, step)
    view = views.step(step, kind, found) | {"usage": used.get(step)}
    return json(view | {"output": await service.shown(view["output"])})


@router.get("/v1/runs/{run_id}/steps/{step}/items", **documented({200: answers.Items}, 404))
async def items(
    request: Request, run_id: str, step: str, status: StepStatus | None = None, page_size: PageSize = 100, page_token: PageToken = None
) -> Response:
    """A page of a map's items by index, all or those in one state."""
    after = decode_number(page_token)
    found = await gateway(request).items(caller(request, READ).tenant, run_id, step, status=status, after=-1 if after is None else after, limit=page_size)
    return json(page("items", [views.item(each) for each in found], full=len(found) == page_size, cursor=found[-1].index if found else None))


@router.get("/v1/runs/{run_id}/values/{sha256}", **documented({200: {"application/json": {"schema": {}}}}, 404, 410))
async def value(request: Request, run_id: str, sha256: str) -> Response:
    """A large value that an answer shows as `{"$artifact": …}`, as JSON."""
    service = gateway(request)
    size = await service.value(caller(request, READ).tenant, run_id, sha256)
    await service.present(sha256)
    return StreamingResponse(service.content(sha256), media_type="application/json", headers={"Content-Length": str(size)})


async def _used(request: Request, row: RunRow) -> dict[str, Any]:
    """What the steps of a run have used, as far as they have made model calls."""
    if row.started_at is None or not (await gateway(request).plan(row)).spends:
        return {}
    return await services(request).budgets.of_steps(row)


def _id(name: str, text: str | None) -> str | None:
    if text is not None and not is_uuid(text):
        raise invalid(name, "this is not the id of a run" if name == "parent" else "this is not a page token")
    return text
