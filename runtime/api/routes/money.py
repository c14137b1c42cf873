"""What model calls took, and what may be spent."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers_money as answers
from runtime.api.bodies import read_model
from runtime.api.documented import documented
from runtime.api.keys import ADMIN, READ
from runtime.api.paging import PageSize, PageToken, decode_number, invalid, moment, page
from runtime.api.requests_money import BudgetBody
from runtime.api.responses import json
from runtime.api.services import caller, services
from runtime.api.shield import finish
from runtime.budgets.service import NewBudget
from runtime.ids import is_uuid
from runtime.store.money_protocol import UsageQuery

router = APIRouter(tags=["money"])
Group = Literal["run", "step", "workflow", "user", "model", "day"]
Name = Annotated[str | None, Query(max_length=300)]
Time = Annotated[str | None, Query(max_length=40)]
Period = Literal["day", "month"]


@router.get("/v1/usage", **documented({200: answers.UsageReport}))
async def usage(
    request: Request,
    group_by: Annotated[list[Group], Query(max_length=6, description="May be repeated; one total when absent.")] = [],  # noqa: B006 - FastAPI copies it
    from_: Annotated[Time, Query(alias="from", description="RFC 3339; calls since then.")] = None,
    to: Annotated[Time, Query(description="RFC 3339; calls before then.")] = None,
    workflow: Name = None,
    user: Name = None,
    model: Name = None,
    run: Annotated[str | None, Query(description="Id of a run; calls of it and of the runs below it.")] = None,
    page_size: PageSize = 1000,
    page_token: PageToken = None,
) -> Response:
    """Totals of this tenant's model calls, from the ledger, which outlives the runs."""
    if run is not None and not is_uuid(run):
        raise invalid("run", "this is not the id of a run")
    offset = decode_number(page_token) or 0
    query = UsageQuery(
        caller(request, READ).tenant,
        tuple(dict.fromkeys(group_by)),
        moment("from", from_),
        moment("to", to),
        workflow=workflow,
        user=user,
        model=model,
        root_run=run,
        limit=page_size,
        offset=offset,
    )
    rows = await services(request).budgets.usage(query)
    return json(page("usage", rows, full=bool(group_by) and len(rows) == page_size, cursor=offset + len(rows)))


@router.get("/v1/budgets", **documented({200: answers.Budgets}))
async def budgets(request: Request) -> Response:
    """All budgets of workflows, users and the tenant, and how much of each is spent."""
    return json({"budgets": await services(request).budgets.budgets(caller(request, READ).tenant)})


@router.put("/v1/budgets/{scope}/{name}/{period}", **documented({200: answers.Budget}, body=BudgetBody))
async def put(request: Request, scope: str, name: str, period: Period) -> Response:
    """Set a budget of a `workflow`, a `user` or the `tenant` (whose name is `-`). It holds for calls that begin from now on."""
    who = caller(request, ADMIN)
    body = await read_model(request, BudgetBody)
    new = NewBudget(scope, name, period, body.usd, body.tokens, body.calls, body.on_exceeded)
    return json(await finish(services(request).budgets.put(who.tenant, new, by=who.name)))


@router.delete("/v1/budgets/{scope}/{name}/{period}", **documented({204: None}, 404))
async def delete(request: Request, scope: str, name: str, period: Period) -> Response:
    """Remove a budget."""
    who = caller(request, ADMIN)
    await finish(services(request).budgets.remove(who.tenant, scope, name, period, by=who.name))
    return Response(status_code=204)
