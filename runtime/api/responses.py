"""Answers as JSON, without validating again what the views have made."""

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


def json(content: Any, status: int = 200, **headers: str) -> Response:
    """`content` as the JSON body. Header names are written with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(to_json(content, inf_nan_mode="strings"), status, named, "application/json")
