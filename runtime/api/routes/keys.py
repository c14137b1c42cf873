"""API keys: list, make, revoke."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.bodies import read_model
from runtime.api.callers import is_ticket
from runtime.api.documented import documented
from runtime.api.keys import ADMIN, issue
from runtime.api.requests import KeyBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway, services
from runtime.api.shield import finish
from runtime.errors import NotFound
from runtime.gateway import views

router = APIRouter(tags=["keys"])
DAY_MS = 86_400_000


@router.get("/v1/keys", **documented({200: answers.Keys}))
async def keys(request: Request) -> Response:
    """All keys of the tenant, without their secrets."""
    rows = await services(request).catalog.keys(caller(request, ADMIN).tenant)
    return json({"keys": [views.key(row) for row in rows if not is_ticket(row.scopes)]})


@router.post("/v1/keys", **documented({201: answers.NewKey}, body=KeyBody))
async def make(request: Request) -> Response:
    """Make a key. Its text is in this answer and nowhere else."""
    tenant, now = caller(request, ADMIN).tenant, gateway(request).clock.now()
    body = await read_model(request, KeyBody)
    expires_at = None if body.expires_in_days is None else now + body.expires_in_days * DAY_MS
    scopes = tuple(dict.fromkeys(body.scopes))
    key, row = await finish(issue(services(request).catalog, tenant, name=body.name, scopes=scopes, now=now, expires_at=expires_at))
    return json({**views.key(row), "key": key.text}, 201)


@router.delete("/v1/keys/{key_id}", **documented({204: None}, 404))
async def revoke(request: Request, key_id: str) -> Response:
    """Revoke a key: at once here, within two seconds in other processes."""
    tenant, now = caller(request, ADMIN).tenant, gateway(request).clock.now()
    known = key_id.isascii() and key_id.isalnum()
    if not known or not await finish(services(request).catalog.revoke_key(tenant, key_id, now)):
        raise NotFound(f"there is no valid API key {key_id[:32]!a}")
    services(request).callers.forget(key_id)
    return Response(status_code=204)
