"""What the limiter knows, and the limits a tenant sets for its own keys."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers_keys as answers
from runtime.api.bodies import read_model
from runtime.api.documented import documented
from runtime.api.keys import ADMIN
from runtime.api.requests import ProviderLimitsBody
from runtime.api.responses import json
from runtime.api.services import caller, gateway, services
from runtime.api.shield import finish
from runtime.limit_settings import ProviderLimits

router = APIRouter(tags=["provider keys"])


@router.get("/v1/provider-limits", **documented({200: answers.ProviderLimitList}, 429))
async def limits(request: Request) -> Response:
    """The keys in use, what limits them, and who waits for them at this moment."""
    tenant = caller(request, ADMIN).tenant
    return json({"provider_limits": await gateway(request).runner.provider_limits(tenant)})


@router.put("/v1/provider-keys/{provider}/limits", **documented({200: answers.ProviderKey}, 404, body=ProviderLimitsBody))
async def put(request: Request, provider: str) -> Response:
    """Set all limits of the tenant's stored key: what is absent is not limited from then on. The key stays as it is."""
    who = caller(request, ADMIN)
    body = await read_model(request, ProviderLimitsBody)
    wanted = ProviderLimits(**body.model_dump())
    return json((await finish(services(request).provider_keys.limit(who.tenant, provider, wanted, by=who.name))).document())
