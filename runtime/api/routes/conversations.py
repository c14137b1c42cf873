"""Conversations: what agent steps have said to each other beyond their runs."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.documented import documented
from runtime.api.keys import READ, WRITE
from runtime.api.paging import PageSize, PageToken, decode_number, page
from runtime.api.responses import json
from runtime.api.services import caller, services
from runtime.api.shield import finish
from runtime.gateway import views

router = APIRouter(tags=["conversations"])
Mode = Annotated[Literal["live", "simulated"], Query(description="Of which runs; simulated runs have conversations of their own.")]


@router.get("/v1/conversations/{conversation_id}", **documented({200: answers.Conversation}, 404))
async def conversation(request: Request, conversation_id: str, mode: Mode = "live", page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """A conversation and a page of what was said in it, oldest first."""
    tenant, after = caller(request, READ).tenant, decode_number(page_token) or 0
    talks = services(request).conversations
    row = await talks.conversation(tenant, conversation_id, mode)
    found = await talks.exchanges(tenant, conversation_id, mode, after=after, limit=page_size)
    shown = [views.exchange(one) for one in found]
    return json({**views.conversation(row, conversation_id), **page("exchanges", shown, full=len(found) == page_size, cursor=found[-1].seq if found else None)})


@router.delete("/v1/conversations/{conversation_id}", **documented({204: None}, 404))
async def forget(request: Request, conversation_id: str, mode: Mode = "live") -> Response:
    """Forget a conversation. The journals of its runs keep what they hold until they go themselves."""
    await finish(services(request).conversations.remove(caller(request, WRITE).tenant, conversation_id, mode))
    return Response(status_code=204)
