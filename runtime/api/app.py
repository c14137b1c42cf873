"""The FastAPI application: routes behind one guard, services opened in the lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from runtime.api.documented import document
from runtime.api.guard import Guard
from runtime.api.problems import MethodNotAllowed, problem, shown
from runtime.api.routes import (
    approvals,
    artifacts,
    cached_calls,
    control,
    conversations,
    endpoints,
    events,
    hooks,
    keys,
    money,
    platform,
    provider_keys,
    provider_limits,
    runs,
    schedules,
    starts,
    workflows,
)
from runtime.api.services import Opener
from runtime.errors import AgenticError, NotFound, Problem, RequestInvalid
from runtime.settings import Settings

ROUTERS = (
    starts.router,
    runs.router,
    events.router,
    control.router,
    approvals.router,
    artifacts.router,
    conversations.router,
    workflows.router,
    schedules.router,
    keys.router,
    provider_keys.router,
    provider_limits.router,
    cached_calls.router,
    money.router,
    endpoints.router,
    hooks.router,
    platform.router,
)
"""In the order they are matched: the hot routes come first."""

UNREAD = ("forbidden", "payload_too_large", "unsupported_media_type")
"""After these the body may still be on its way, so the connection is not used again."""


def build_app(services: Opener, settings: Settings) -> FastAPI:
    """The API. `services` opens what a process needs, inside that process, when the application starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services() as opened:
            app.state.services = opened
            yield

    app = FastAPI(
        title="Agentic Workflows",
        version="1",
        description="Durable workflows of LLM agents. Errors are RFC 9457 problem documents.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    # One flat table: an included router would be a second level of matching on every request.
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    app.add_middleware(Guard, settings=settings, open_route=hooks.OPEN_ROUTE)
    app.add_exception_handler(AgenticError, _agentic)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(HTTPException, _routing)
    app.openapi = cache(partial(document, app))  # type: ignore[method-assign]  # FastAPI's documented way to change the document
    return app


async def _agentic(request: Request, error: Exception) -> Response:
    if not isinstance(error, AgenticError):
        raise error
    # The address of a hook is checked before its body is read, as a key is.
    headers = {"Connection": "close"} if error.code in UNREAD or shown(request.url.path) != request.url.path else {}
    return problem(error, instance=shown(request.url.path), headers=headers)


async def _parameters(request: Request, error: Exception) -> Response:
    """A query parameter FastAPI refused."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [Problem("/" + "/".join(map(str, each["loc"])), each["msg"]) for each in found]
    return problem(RequestInvalid("a parameter is not valid", problems=problems), instance=shown(request.url.path))


async def _routing(request: Request, error: Exception) -> Response:
    """No route for this path, or not for this method."""
    if getattr(error, "status_code", 404) != 405:
        return problem(NotFound("there is nothing at this path"), instance=shown(request.url.path))
    allow = ", ".join(sorted(_methods(request)))
    return problem(MethodNotAllowed(f"this path takes {allow}"), instance=shown(request.url.path), headers={"Allow": allow})


def _methods(request: Request) -> set[str]:
    """All methods of this path, over all routes that share it."""
    scope = dict(request.scope, path=get_route_path(request.scope), root_path="")
    return {method for route in request.app.router.routes if route.matches(scope)[0] is not Match.NONE for method in route.methods}
