"""Request bodies: exact type, bounded size, strict JSON, then the model of the route."""

import asyncio
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from runtime.api.problems import Malformed, UnsupportedMediaType
from runtime.api.strict_json import loads
from runtime.errors import PayloadTooLarge, Problem, RequestInvalid

M = TypeVar("M", bound=BaseModel)

JSON = ("application/json",)
DEFINITION = ("application/json", "application/yaml")
SMALL = 2**20
"""Bytes of a body that carries no input."""
THREAD_FROM = 64 * 1024
"""Bytes from which parsing leaves the event loop: other requests must not wait for it."""


async def read_model(request: Request, model: type[M], *, limit: int = SMALL, optional: bool = False) -> M:
    """The JSON body as `model`; with `optional` an absent body is an empty object.

    Raises Malformed, RequestInvalid, UnsupportedMediaType, PayloadTooLarge.
    """
    if optional and "content-type" not in request.headers and not await read_bytes(request, limit):
        return model()
    value = await read_json(request, limit=limit)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RequestInvalid(f"the body has {error.error_count()} problems", problems=[_problem(each) for each in error.errors()[:100]]) from None


async def read_json(request: Request, *, limit: int = SMALL) -> Any:
    """The JSON value of the body. Raises Malformed, UnsupportedMediaType, PayloadTooLarge."""
    check_type(request, JSON)
    data = await read_bytes(request, limit)
    return await asyncio.to_thread(loads, data) if len(data) > THREAD_FROM else loads(data)


def check_type(request: Request, types: tuple[str, ...]) -> str:
    """The body's media type, one of `types`. Raises UnsupportedMediaType."""
    given = request.headers.getlist("content-type")
    kind, _, parameters = (given[0] if len(given) == 1 else "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() not in types or charset not in ("", "charset=utf-8"):
        raise UnsupportedMediaType(f"send the body as {' or '.join(types)} in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("send the body without Content-Encoding")
    return kind.strip().lower()


async def read_bytes(request: Request, limit: int) -> bytes:
    """The body. Raises PayloadTooLarge as soon as it is known to be longer than `limit` bytes, without reading the rest."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise PayloadTooLarge(f"the body has {announced[:20]} bytes; {limit} are allowed")
    if hasattr(request, "_body"):
        return await request.body()
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise PayloadTooLarge(f"the body has more than {limit} bytes")
            chunks.append(chunk)
    except ClientDisconnect:
        raise Malformed("the body ended before it was complete") from None
    return b"".join(chunks)


def _problem(error: Any) -> Problem:
    """A pydantic error as one sentence with a pointer."""
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error["loc"])
    detail = "unknown field" if error["type"] == "extra_forbidden" else str(error["msg"])
    return Problem(pointer, detail)
