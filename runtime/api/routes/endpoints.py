"""Webhooks out: receivers of events, and what was sent to them. Changes need `admin`: an endpoint goes on receiving when a key is revoked."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from runtime.api import answers_webhooks as answers
from runtime.api.bodies import read_model
from runtime.api.documented import documented
from runtime.api.keys import ADMIN, READ
from runtime.api.paging import PageSize, PageToken, decode, page
from runtime.api.requests import EndpointBody, EndpointChange, NoBody
from runtime.api.responses import json
from runtime.api.services import caller, services
from runtime.api.shield import finish
from runtime.gateway import views
from runtime.store.webhooks import DeliveryState

router = APIRouter(tags=["webhooks out"])
State = Annotated[DeliveryState | None, Query(description="Only those in this state.")]


@router.post("/v1/endpoints", **documented({201: answers.NewEndpoint}, body=EndpointBody))
async def create(request: Request) -> Response:
    """Subscribe a URL to events. The secret its messages are signed with is in this answer and nowhere else."""
    tenant = caller(request, ADMIN).tenant
    body = await read_model(request, EndpointBody)
    made = services(request).endpoints.create(tenant, body.url, events=body.events, workflows=body.workflows, description=body.description)
    row, secret = await finish(made)
    return json({**views.endpoint(row), "secret": secret}, 201, Location=f"/v1/endpoints/{row.endpoint_id}")


@router.get("/v1/endpoints", **documented({200: answers.EndpointList}))
async def endpoints(request: Request) -> Response:
    """All endpoints of the tenant, without their secrets."""
    rows = await services(request).endpoints.endpoints(caller(request, READ).tenant)
    return json({"endpoints": [views.endpoint(row) for row in rows]})


@router.get("/v1/endpoints/{endpoint_id}", **documented({200: answers.Endpoint}, 404))
async def endpoint(request: Request, endpoint_id: str) -> Response:
    """One endpoint."""
    return json(views.endpoint(await services(request).endpoints.endpoint(caller(request, READ).tenant, endpoint_id)))


@router.patch("/v1/endpoints/{endpoint_id}", **documented({200: answers.Endpoint}, 404, body=EndpointChange))
async def change(request: Request, endpoint_id: str) -> Response:
    """Change what is named; enable or disable."""
    tenant = caller(request, ADMIN).tenant
    body = await read_model(request, EndpointChange)
    changed = finish(services(request).endpoints.change(tenant, endpoint_id, _changes(body)))
    return json(views.endpoint(await changed))


@router.delete("/v1/endpoints/{endpoint_id}", **documented({204: None}, 404))
async def delete(request: Request, endpoint_id: str) -> Response:
    """Send nothing there any more; its deliveries are forgotten."""
    await finish(services(request).endpoints.remove(caller(request, ADMIN).tenant, endpoint_id))
    return Response(status_code=204)


@router.post("/v1/endpoints/{endpoint_id}:rotate", **documented({200: answers.NewEndpoint}, 404, body=NoBody, optional=True))
async def rotate(request: Request, endpoint_id: str) -> Response:
    """A new secret. For 24 hours messages carry a signature with the one before too."""
    tenant = caller(request, ADMIN).tenant
    await read_model(request, NoBody, optional=True)
    row, secret = await finish(services(request).endpoints.rotate(tenant, endpoint_id))
    return json({**views.endpoint(row), "secret": secret})


@router.post("/v1/endpoints/{endpoint_id}:test", **documented({202: answers.Delivery}, 404, 409, body=NoBody, optional=True))
async def test(request: Request, endpoint_id: str) -> Response:
    """Send a message of type `endpoint.test`."""
    tenant = caller(request, ADMIN).tenant
    await read_model(request, NoBody, optional=True)
    return json(views.delivery(await finish(services(request).endpoints.test(tenant, endpoint_id))), 202)


@router.get("/v1/endpoints/{endpoint_id}/deliveries", **documented({200: answers.Deliveries}, 404))
async def deliveries(request: Request, endpoint_id: str, state: State = None, page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """What was and will be sent, newest first. What has ended is kept for 30 days."""
    tenant = caller(request, READ).tenant
    rows = await services(request).endpoints.deliveries(tenant, endpoint_id, state=state, before=decode(page_token), limit=page_size)
    cursor = rows[-1].id if rows else None
    return json(page("deliveries", [views.delivery(row) for row in rows], full=len(rows) == page_size, cursor=cursor))


@router.post("/v1/endpoints/{endpoint_id}/deliveries/{delivery_id}:redeliver", **documented({202: answers.Delivery}, 404, 409, body=NoBody, optional=True))
async def redeliver(request: Request, endpoint_id: str, delivery_id: str) -> Response:
    """Send a message again, with the id and the body it had."""
    tenant = caller(request, ADMIN).tenant
    await read_model(request, NoBody, optional=True)
    return json(views.delivery(await finish(services(request).endpoints.redeliver(tenant, endpoint_id, delivery_id))), 202)


def _changes(body: EndpointChange) -> dict[str, Any]:
    """What the body names; null means something for `workflows` alone."""
    named = {name: getattr(body, name) for name in body.model_fields_set}
    return {name: value for name, value in named.items() if value is not None or name == "workflows"}
