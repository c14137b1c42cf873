"""What the platform says of itself: probes, metrics, documents."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers
from runtime.api.documented import documented
from runtime.api.keys import READ
from runtime.api.reference import CSP, page
from runtime.api.responses import json
from runtime.api.services import caller, gateway, services
from runtime.definition.schema import json_schema

router = APIRouter(tags=["platform"])
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/livez", **documented({200: answers.Alive}, public=True))
async def livez() -> Response:
    """The process answers; nothing else is looked at."""
    return json({"status": "ok"})


@router.get("/readyz", **documented({200: answers.Alive}, public=True))
async def readyz(request: Request) -> Response:
    """The database answers, so requests can be taken."""
    await services(request).ready()
    return json({"status": "ok"})


@router.get("/health", **documented({200: answers.Health}, public=True))
async def health(request: Request) -> Response:
    """Ready, and how durable commits are."""
    await services(request).ready()
    return json({"status": "ok", "durability": services(request).durability})


@router.get("/metrics", **documented({200: PROMETHEUS}))
async def metrics(request: Request) -> Response:
    """The metrics of the whole cluster as Prometheus text, whichever replica answers."""
    caller(request, READ)
    return Response(await gateway(request).runner.metrics(), media_type=PROMETHEUS)


@router.get("/v1/schema/definition", **documented({200: dict}))
async def definition_schema(request: Request) -> Response:
    """The JSON Schema of workflow definitions, for editors."""
    caller(request, READ)
    return json(json_schema())


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The document of this API."""
    return json(request.app.openapi())


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The same for people: one page without scripts."""
    return Response(page(request.app.openapi()), media_type="text/html", headers={"Content-Security-Policy": CSP})
