"""The one door: everything that comes in over HTTP passes here, and nothing behind it runs for a stranger.

Order: header limits, Host, preflight, authentication, route. The body is not read before the caller is known.
"""

import re
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

import structlog
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.api import cors
from runtime.api.callers import Caller, Callers
from runtime.api.headers import bearer, check_host, check_size, secured, traceparent
from runtime.api.problems import Malformed, problem, shown
from runtime.errors import AgenticError, Unauthorized
from runtime.logs import about
from runtime.settings import Settings
from runtime.tracing.ids import trace_id_of

log = structlog.get_logger("runtime.api")

PROBES = frozenset({("GET", "/livez"), ("GET", "/readyz"), ("GET", "/health")})
"""Public, and answered for any Host: an orchestrator calls them by address."""
DOCUMENTS = frozenset({("GET", "/openapi.json"), ("GET", "/docs")})
"""Public while the settings say so."""
CLOSE = (b"connection", b"close")

_LEAKED = re.compile(rb"ak_[0-9a-f]{16}_[0-9a-f]{16}")
_RUN = re.compile(r"/v1/runs/([0-9a-f-]{36})")
_STREAM = re.compile(r"/v1/runs/([0-9a-f-]{36})/events")


class Guard:
    """Pure ASGI. Deny by default: a request without a caller gets 401 unless (method, path) is exactly a public one.

    The path compared is the path the router matches, so there is no second reading of it that an attacker could use. Of `open_route`,
    whose path ends in a token, it is the router that says whether a request is its: nothing here looks at the path by itself.
    """

    def __init__(self, app: ASGIApp, settings: Settings, open_route: BaseRoute) -> None:
        self._app = app
        self._settings = settings
        self._open_route = open_route
        self._public = PROBES | (DOCUMENTS if settings.docs_public else frozenset())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            # There is no websocket route; whoever asks for one is told so before the handshake.
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _Response(send, cors.allowed(Headers(scope=scope), self._settings.cors_origins))
        try:
            answer = await self._admit(scope)
            if answer is not None:
                await answer(scope, receive, response.send)
                return
        except AgenticError as error:
            # The body was not read: the connection cannot be used for another request.
            response.extra.append(CLOSE)
            await _problem(error, scope)(scope, receive, response.send)
            return
        try:
            await self._app(scope, receive, response.send)
        except AgenticError as error:
            await response.failed(error, scope, receive)
        except Exception as error:
            log.exception("request failed", method=scope["method"], path=shown(scope["path"]))
            await response.failed(_DefectError(type(error).__name__), scope, receive)

    async def _admit(self, scope: Scope) -> ASGIApp | None:
        """Let the request in (None) or answer it here. Raises what refuses it."""
        raw, route = scope["headers"], (scope["method"], get_route_path(scope))
        check_size(raw)
        if route not in PROBES:
            check_host(raw, self._settings.allowed_hosts)
        answer = cors.preflight(scope["method"], Headers(scope=scope), self._settings.cors_origins)
        if answer is None and route not in self._public and not self._is_open(scope):
            scope["agentic.caller"] = await _authenticate(scope, raw, route)
        about.set(_Facts(scope))  # the server has a task for each request
        return answer

    def _is_open(self, scope: Scope) -> bool:
        """Whether the router gives this request to the open route: the first of all its routes that matches is that very one."""
        if self._open_route.matches(scope)[0] is not Match.FULL:
            return False  # the usual case, without a look at the others
        return next(route for route in scope["app"].router.routes if route.matches(scope)[0] is Match.FULL) is self._open_route


class _Facts:
    """What log lines say of a request."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def facts(self) -> dict[str, Any]:
        """Who calls, about which run, and in which trace, as far as the request says so."""
        known: Caller | None = self._scope.get("agentic.caller")
        run = _RUN.match(self._scope["path"])
        trace = trace_id_of(traceparent(Headers(scope=self._scope).get("traceparent")))
        found = {"tenant": known and known.tenant, "run_id": run and run[1], "trace_id": trace}
        return {name: value for name, value in found.items() if value}


class _DefectError(AgenticError):
    """A defect of ours."""


class _Response:
    """The way out: adds what every response carries, and knows whether an answer has begun."""

    def __init__(self, send: Send, extra: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self.extra = extra
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            message["headers"] = secured([*message.get("headers", ()), *self.extra])
        await self._send(message)

    async def failed(self, error: AgenticError, scope: Scope, receive: Receive) -> None:
        """Say what went wrong; once an answer has begun, all that is left is to break it off."""
        if self.begun:
            raise error
        self.extra.append(CLOSE)
        await _problem(error, scope)(scope, receive, self.send)


async def _authenticate(scope: Scope, raw: Any, route: tuple[str, str]) -> Caller:
    query = scope["query_string"]
    if b"_" in query and _LEAKED.search(unquote_to_bytes(query)):
        raise Malformed("an API key does not belong into a URL, where logs keep it; send it in the Authorization header and revoke this one")
    callers: Callers = scope["app"].state.services.callers
    token = bearer(raw)
    stream = _STREAM.fullmatch(route[1]) if token is None and route[0] == "GET" else None
    if stream is not None and b"ticket=" in query:
        tickets = parse_qs(query.decode("latin-1")).get("ticket", [])
        return await callers.by_ticket(tickets[0] if len(tickets) == 1 else "", stream[1])
    if token is None:
        raise Unauthorized("send an API key as 'Authorization: Bearer ak_…'")
    return await callers.by_key(token)


def _problem(error: AgenticError, scope: Scope) -> ASGIApp:
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else None
    return problem(error, instance=shown(scope["path"]), headers=headers)
