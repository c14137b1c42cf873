"""The inbox of what waits for a person."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.bodies import SMALL, read_model
from runtime.api.documented import documented
from runtime.api.headers import idempotency_key
from runtime.api.keys import READ, WRITE
from runtime.api.paging import PageSize, PageToken, decode, invalid, page
from runtime.api.requests import DecideBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway
from runtime.api.shield import finish
from runtime.gateway import views
from runtime.ids import is_uuid
from runtime.store.protocol import ApprovalQuery

router = APIRouter(tags=["approvals"])


@router.get("/v1/approvals", **documented({200: answers.Approvals}))
async def approvals(
    request: Request,
    pending: Annotated[bool, Query(description="Only those without a decision.")] = True,  # noqa: FBT002 - a query parameter
    run_id: Annotated[str | None, Query()] = None,
    page_size: PageSize = 50,
    page_token: PageToken = None,
) -> Response:
    """Approvals, newest first."""
    tenant, before = caller(request, READ).tenant, decode(page_token)
    for name, text in (("run_id", run_id), ("page_token", before)):
        if text is not None and not is_uuid(text):
            raise invalid(name, "this is not an id")
    query = ApprovalQuery(tenant, pending=pending, run_id=run_id, before=before, limit=page_size)
    rows = await gateway(request).approvals(tenant, query)
    cursor = rows[-1].approval_id if rows else None
    return json(page("approvals", [views.approval(row) for row in rows], full=len(rows) == page_size, cursor=cursor))


@router.get("/v1/approvals/{approval_id}", **documented({200: answers.Approval}, 404))
async def approval(request: Request, approval_id: str) -> Response:
    """One approval."""
    return json(views.approval(await gateway(request).approval(caller(request, READ).tenant, approval_id)))


@router.post("/v1/approvals/{approval_id}:decide", **documented({200: answers.Approval}, 404, 409, body=DecideBody, headers=("Idempotency-Key",)))
async def decide(request: Request, approval_id: str) -> Response:
    """Decide. The first decision stands; a second one gets 409 with who decided and when."""
    who, service = caller(request, WRITE), gateway(request)
    body = await read_model(request, DecideBody, limit=service.settings.max_input_bytes + SMALL)
    key = idempotency_key(request.headers.get("idempotency-key"))
    decided = service.decide(who.tenant, approval_id, approved=body.approved, form=body.form, comment=body.comment, by=who.name, idempotency_key=key)
    return json(views.approval(await finish(decided)))
