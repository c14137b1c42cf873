"""Answers of models that are kept to be given again: how much there is, and out with it."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers_keys as answers
from runtime.api.documented import documented
from runtime.api.keys import ADMIN
from runtime.api.responses import json
from runtime.api.services import caller, services
from runtime.api.shield import finish

router = APIRouter(tags=["cached calls"])


@router.get("/v1/cached-calls", **documented({200: answers.CachedCalls}))
async def size(request: Request) -> Response:
    """How many answers of the tenant's agents are kept, and their bytes."""
    entries, total = await services(request).cached_calls.size(caller(request, ADMIN).tenant)
    return json({"entries": entries, "bytes": total})


@router.delete("/v1/cached-calls", **documented({200: answers.CachedCallsCleared}))
async def clear(request: Request, workflow: Annotated[str | None, Query(pattern=r"^[a-z0-9-]{1,63}$")] = None) -> Response:
    """Forget them all, or those that one workflow has asked for: every question is asked anew."""
    gone = await finish(services(request).cached_calls.clear(caller(request, ADMIN).tenant, workflow))
    return json({"removed": gone})
