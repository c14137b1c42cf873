"""The API reference as one HTML page, made from the OpenAPI document: no script, nothing loaded from elsewhere."""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "code{font:14px ui-monospace,monospace}summary{cursor:pointer;padding:.35rem 0}summary code{font-weight:600}"
    "details{border-bottom:1px solid #ddd}table{border-collapse:collapse;margin:.5rem 0 1rem}td{padding:.15rem 1rem .15rem 0;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{background:#141414;color:#e6e6e6}details{border-color:#333}a{color:#8ab4f8}}"
)
CSP = f"default-src 'none'; frame-ancestors 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"


def page(document: dict[str, Any]) -> str:
    """The page. Everything that comes from the document is escaped."""
    return "".join(_page(document))


def _page(document: dict[str, Any]) -> Iterator[str]:
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>'
    yield f"<p>{escape(document['info'].get('description', ''))}</p>"
    yield '<p>The same for machines: <a href="/openapi.json">openapi.json</a></p>'
    tag = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            first = (operation.get("tags") or ["other"])[0]
            if first != tag:
                tag = first
                yield f"<h2>{escape(tag)}</h2>"
            yield from _operation(method, path, operation)
    yield "<h2>shapes</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f"<details id='{escape(name)}'><summary><code>{escape(name)}</code> {escape(schema.get('description', ''))}</summary>"
        yield _table((field, _type(each), each.get("description", "")) for field, each in schema.get("properties", {}).items())
        yield "</details>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<details><summary><code>{method.upper()} {escape(path)}</code></summary><p>{escape(operation.get('description', ''))}</p>"
    yield _table((each["name"], each["in"], each.get("description", "")) for each in operation.get("parameters", ()))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body: <code>{escape(kind)}</code> {_type(content.get('schema', {}))}</p>"
    yield _table((status, _contents(answer), answer["description"]) for status, answer in sorted(operation["responses"].items()))
    yield "</details>"


def _contents(answer: dict[str, Any]) -> str:
    return ", ".join(_type(content.get("schema", {})) or kind for kind, content in answer.get("content", {}).items())


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    inner = f" of {_type(schema['items'])}" if isinstance(schema.get("items"), dict) else ""
    return f"{schema.get('type', '')}{inner}"


def _table(rows: Any) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{body}</table>" if body else ""
