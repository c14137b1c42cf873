"""Provider keys: what model calls of this tenant are made with. Everything here needs `admin`; a key goes in and never comes out."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers_keys as answers
from runtime.api.bodies import read_model
from runtime.api.documented import documented
from runtime.api.keys import ADMIN
from runtime.api.requests import NoBody, ProviderKeyBody
from runtime.api.responses import json
from runtime.api.services import caller, services
from runtime.api.shield import finish
from runtime.keys.probe import Verdict

router = APIRouter(tags=["provider keys"])


@router.get("/v1/provider-keys", **documented({200: answers.ProviderKeyList}))
async def keys(request: Request) -> Response:
    """All provider keys of the tenant, by provider, without the keys."""
    views = await services(request).provider_keys.keys(caller(request, ADMIN).tenant)
    return json({"provider_keys": [view.document() for view in views]})


@router.get("/v1/provider-keys/{provider}", **documented({200: answers.ProviderKey}, 404))
async def key(request: Request, provider: str) -> Response:
    """The tenant's key for one provider, without the key."""
    return json((await services(request).provider_keys.key(caller(request, ADMIN).tenant, provider)).document())


@router.put("/v1/provider-keys/{provider}", **documented({200: answers.ProviderKey}, 404, body=ProviderKeyBody))
async def put(request: Request, provider: str) -> Response:
    """Set key and base URL together. Another base URL needs the key again."""
    who = caller(request, ADMIN)
    body = await read_model(request, ProviderKeyBody)
    view = await finish(services(request).provider_keys.put(who.tenant, provider, body.key, body.base_url, by=who.name))
    return json(view.document())


@router.delete("/v1/provider-keys/{provider}", **documented({204: None}, 404))
async def delete(request: Request, provider: str) -> Response:
    """Delete a key. Calls that begin from now on, within a few seconds in other processes, are made without it."""
    who = caller(request, ADMIN)
    await finish(services(request).provider_keys.remove(who.tenant, provider, by=who.name))
    return Response(status_code=204)


@router.post("/v1/provider-keys/{provider}:test", **documented({200: answers.KeyTest}, 404, 429, body=NoBody, optional=True))
async def test(request: Request, provider: str) -> Response:
    """Ask the provider, with a request that costs nothing, whether it takes the stored key."""
    who = caller(request, ADMIN)
    await read_model(request, NoBody, optional=True)
    tested = await services(request).provider_keys.test(who.tenant, provider, by=who.name)
    document = {"verdict": tested.verdict, "detail": tested.detail, "status": tested.status, "took_ms": tested.took_ms}
    return json({"provider": provider, "ok": tested.verdict is Verdict.ACCEPTED, **document})
