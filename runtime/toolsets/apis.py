"""Operations of HTTP APIs as tools: what they offer, and how they are called."""

import base64
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from runtime.agents.tools import ToolRefused
from runtime.definition.foreign import unique_names
from runtime.definition.openapi import Operation, server_of
from runtime.errors import StepFailed
from runtime.tool_settings import Api, ApiCredential, SecretMissing
from runtime.toolsets.documents import Document, Documents
from runtime.toolsets.network import Answer, Network
from runtime.toolsets.requests import SAFE_METHODS, build

MAX_ANSWER = 2**20
"""Bytes of an answer that are read; what a model is told has a smaller limit."""
CALL_SECONDS = 60.0
"""Of one call of an API that is not registered."""
EXCERPT = 500
"""Characters of an error's body that the model is told."""


class Apis:
    """The HTTP APIs of one process: the registered ones, and those that definitions bring along."""

    def __init__(self, registered: Mapping[str, Api]) -> None:
        self._registered = registered
        self._documents = Documents()

    async def offers(self, entry: dict[str, Any], network: Network) -> list[dict[str, Any]]:
        """What an entry `{openapi, operations}` offers. Raises StepFailed."""
        source = entry["openapi"]
        api = self._registered.get(source) if isinstance(source, str) else None
        operations, server = await self._operations(api, source, entry.get("operations", []), network)
        if server is None:
            raise StepFailed("tool_invalid", "the OpenAPI document names no server", retryable=False)
        network.checked(server)
        prefix = "" if api is None else f"{source}_"
        names = unique_names([f"{prefix}{operation.name}" for operation in operations])
        return [
            {
                "kind": "openapi",
                "name": name,
                "description": operation.description,
                "parameters": operation.parameters,
                "api": None if api is None else source,
                "server": server,
                "operation": operation.id,
                "route": operation.route,
            }
            for operation, name in zip(operations, names, strict=True)
        ]

    async def call(self, offer: dict[str, Any], args: dict[str, Any], network: Network, headers: dict[str, str]) -> Any:
        """The JSON or text an operation answers. Raises ToolRefused for every other answer, StepFailed when there is none."""
        api, route = self._api(offer), offer["route"]
        credential = None if api is None else api.credential
        secret = _secret(credential)
        sent = headers if route["method"] not in SAFE_METHODS else {name: value for name, value in headers.items() if name != "idempotency-key"}
        own, query = _carried(credential, secret)
        base = offer["server"] if api is None or api.base_url is None else api.base_url
        network.checked(base)
        request = build(base, route, args, headers=sent | own, query=query)
        answer = await network.exchange(request, limit=MAX_ANSWER, seconds=CALL_SECONDS if api is None else api.timeout)
        return _value(_without(answer, secret, credential))

    async def _operations(self, api: Api | None, source: Any, wanted: list[str], network: Network) -> tuple[list[Operation], str | None]:
        if api is None:
            known = isinstance(source, dict)
            document = self._documents.given(source) if known else await self._documents.at(source, network, files=False)
            return await self._documents.operations(document, wanted, (), frozenset()), server_of(document.content, None if known else source)
        document = await self._documents.at(api.document, network, files=True)
        without = frozenset({api.credential.name.lower()} if api.credential else ())
        return await self._documents.operations(document, wanted, api.operations, without), api.base_url or _server(api, document)

    def _api(self, offer: dict[str, Any]) -> Api | None:
        """The API of an offer as the operator has it now: what was let out when the step began may have been taken back."""
        if offer["api"] is None:
            return None
        api = self._registered.get(offer["api"])
        if api is None or (api.operations and offer["operation"] not in api.operations):
            raise StepFailed("tool_not_found", f"the operator no longer offers {offer['api']}: {offer['operation']}", retryable=False)
        return api


def _server(api: Api, document: Document) -> str | None:
    return server_of(document.content, api.document if api.document.startswith(("https://", "http://")) else None)


def _secret(credential: ApiCredential | None) -> str | None:
    try:
        return None if credential is None else credential.read()
    except SecretMissing as error:
        raise StepFailed("tool_unavailable", "the operator's credential for this API cannot be read", retryable=False) from error


def _carried(credential: ApiCredential | None, secret: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """The header, or the query parameter, that carries the secret."""
    if credential is None or secret is None:
        return {}, {}
    if credential.place == "query":
        return {}, {credential.name: secret}
    return {credential.name.lower(): f"{credential.scheme} {secret}" if credential.scheme else secret}, {}


def _without(answer: Answer, secret: str | None, credential: ApiCredential | None) -> Answer:
    """The answer without our secret, which a server may send back: it would reach the model, and the journal."""
    if secret is None or credential is None:
        return answer
    content = answer.content
    whole = secret.encode()
    for form in (whole, base64.b64encode(whole).rstrip(b"="), whole.replace(b"/", b"\\/")):
        content = content.replace(form, b"***")
    return Answer(answer.status, answer.headers, content)


def _value(answer: Answer) -> Any:
    if not 200 <= answer.status < 300:
        excerpt = answer.content[: EXCERPT * 4].decode("utf-8", "replace")[:EXCERPT]
        raise ToolRefused(f"the server answered {answer.status}{f': {excerpt}' if excerpt else ''}")
    if not answer.content:
        return None
    kind = answer.media_type
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return from_json(answer.content, allow_inf_nan=False)
        except ValueError as error:
            raise ToolRefused(f"the answer says it is JSON but is not: {error}") from error
    if kind.startswith("text/") or kind.endswith(("xml", "yaml")) or not kind:
        return answer.content.decode("utf-8", "replace")
    raise ToolRefused(f"the answer is {kind[:100]}, neither JSON nor text")
