"""From the arguments of an operation to the request an HTTP API gets."""

from typing import Any
from urllib.parse import quote, urlencode

import httpx2
from pydantic_core import to_json

from runtime.agents.tools import ToolRefused
from runtime.errors import StepFailed
from runtime.toolsets.network import TIMEOUTS

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_SEPARATORS = {"pipeDelimited": "|", "spaceDelimited": " "}

Pairs = list[tuple[str, str]]


def build(base: str, route: dict[str, Any], args: dict[str, Any], *, headers: dict[str, str], query: dict[str, str]) -> httpx2.Request:
    """The request for these arguments. `headers` and `query` are ours and win over whatever a model says.

    Raises ToolRefused for values that cannot stand where they have to, StepFailed `url_invalid` when the document's path would lead elsewhere.
    """
    path, pairs, own = route["path"], Pairs(), dict[str, str]()
    for place in route["places"]:
        value = args.get(place["arg"])
        if value is None and place["arg"] not in args:
            continue
        if place["in"] == "path":
            path = path.replace(f"{{{place['name']}}}", _path_text(place["name"], value))
        elif place["in"] == "query":
            pairs += _query_pairs(place, value)
        elif value is not None:
            own[place["name"].lower()] = _header_text(place["name"], value)
    content, media_type = _content(route["body"], args)
    usual = {"user-agent": "agentic-workflows", "accept": "application/json, text/*;q=0.9, */*;q=0.1", **({"content-type": media_type} if media_type else {})}
    whole = _joined(base, path, [*(pair for pair in pairs if pair[0] not in query), *query.items()])
    return httpx2.Request(route["method"], whole, headers=usual | own | headers, content=content, extensions={"timeout": TIMEOUTS})


def _joined(base: str, path: str, pairs: Pairs) -> httpx2.URL:
    try:
        home = httpx2.URL(base)
        url = httpx2.URL(base + path)
        found = url.copy_with(query="&".join(part for part in (url.query.decode(), urlencode(pairs)) if part).encode() or None)
    except (httpx2.InvalidURL, ValueError) as error:
        raise ToolRefused("these arguments make no URL") from error
    if (found.scheme, found.host, found.port, found.userinfo) != (home.scheme, home.host, home.port, home.userinfo):
        raise StepFailed("url_invalid", "the path of this operation leads to another host than its API", retryable=False)
    return found


def _path_text(name: str, value: Any) -> str:
    parts = [text(part) for part in value] if isinstance(value, list) else [text(value)]
    if any(part in ("", ".", "..") for part in parts):
        raise ToolRefused(f"'{name}' stands in a path: it cannot be empty, '.' or '..'")
    return ",".join(quote(part, safe="") for part in parts)


def _query_pairs(place: dict[str, Any], value: Any) -> Pairs:
    name, style = place["name"], place["style"]
    if isinstance(value, dict):
        if style == "deepObject":
            return [(f"{name}[{key}]", text(part)) for key, part in value.items()]
        if place["explode"]:
            return [(key, text(part)) for key, part in value.items()]
        return [(name, ",".join(f"{key},{text(part)}" for key, part in value.items()))]
    if isinstance(value, list):
        if place["explode"] and style == "form":
            return [(name, text(part)) for part in value]
        return [(name, _SEPARATORS.get(style, ",").join(map(text, value)))]
    return [] if value is None else [(name, text(value))]


def _header_text(name: str, value: Any) -> str:
    found = ",".join(map(text, value)) if isinstance(value, list) else text(value)
    if not (found.isascii() and found.isprintable()):
        raise ToolRefused(f"'{name}' stands in a header: printable ASCII only")
    return found


def _content(body: dict[str, Any] | None, args: dict[str, Any]) -> tuple[bytes | None, str | None]:
    if body is None or body["arg"] not in args:
        return None, None
    value, media_type = args[body["arg"]], body["type"]
    if media_type == "text/plain":
        return text(value).encode(), "text/plain; charset=utf-8"
    if media_type == "application/x-www-form-urlencoded":
        fields = value.items() if isinstance(value, dict) else ()
        return urlencode([(key, text(part)) for key, given in fields for part in (given if isinstance(given, list) else [given])]).encode(), media_type
    return to_json(value), media_type


def text(value: Any) -> str:
    """A value as the text that stands for it in a URL, a header or a form."""
    return value if isinstance(value, str) else "" if value is None else to_json(value).decode()
