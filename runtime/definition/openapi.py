"""OpenAPI 3.0 and 3.1: from a document to operations a model can call. Pure: nothing is fetched, nothing is sent."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from runtime.definition.foreign import Foreign, Refused, readable, resolve, unique_names

MAX_OPERATIONS = 64
"""Tools of one entry."""
MAX_DESCRIPTION = 2_000
METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
IGNORED_HEADERS = frozenset(
    ("accept", "content-type", "authorization", "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive")
) | {"proxy-authorization", "cookie", "idempotency-key", "user-agent", "accept-encoding"}
"""Headers that belong to the message, the connection or to us; a model sets none of them."""
BODIES = ("application/json", "application/x-www-form-urlencoded", "text/plain")
_STYLES = {"path": "simple", "query": "form", "header": "simple"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as a model is told of it and as it is sent."""

    id: str
    """The `operationId`, or `GET /path`."""
    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    route: dict[str, Any]
    """`{method, path, places: [{arg, name, in, style, explode}], body: null or {arg, type}}`: where each argument goes."""


@dataclass(slots=True)
class _Draft:
    """The arguments of an operation in the making."""

    foreign: Foreign
    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    places: list[dict[str, Any]] = field(default_factory=list)

    def add(self, wanted: str, schema: Any, *, required: bool, description: Any = None) -> str:
        """Take an argument in; its name among the arguments is returned."""
        plain = unique_names([wanted])[0] or "argument"
        name, number = plain, 2
        while name in self.properties:
            name, number = f"{plain}_{number}", number + 1
        taken = self.foreign.take(schema)
        if isinstance(description, str) and isinstance(taken, dict) and "description" not in taken:
            taken = {**taken, "description": readable(description, 500)}
        self.properties[name] = taken
        if required:
            self.required.append(name)
        return name


def check_document(document: Any) -> None:
    """Raise Refused unless this is an OpenAPI document of a version that is understood."""
    version = document.get("openapi") if isinstance(document, dict) else None
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        raise Refused("this is no OpenAPI document of version 3.0 or 3.1")
    if not isinstance(document.get("paths"), dict):
        raise Refused("the document has no paths")


def operation_ids(document: dict[str, Any]) -> list[str]:
    """Every operation of a document, by id."""
    return [_id(method, path, operation) for path, _, method, operation in _all(document)]


def operations_of(document: dict[str, Any], wanted: Sequence[str], *, allowed: Sequence[str] = (), without: Collection[str] = ()) -> list[Operation]:
    """The operations `wanted`, or all that can be used when there are none; `allowed` are those an operator lets out, all when empty.

    `without`: parameters (lower case) that are filled in elsewhere. Raises Refused: an operation is not there, not allowed, or cannot be used.
    """
    check_document(document)
    found = {_id(method, path, operation): (path, item, method, operation) for path, item, method, operation in _all(document)}
    for id_ in wanted:
        if id_ not in found or (allowed and id_ not in allowed):
            raise Refused(f"there is no operation '{id_}'; there are {', '.join(sorted(allowed or found)[:20])}")
    usable = []
    for id_ in wanted or [id_ for id_ in found if not allowed or id_ in allowed]:
        try:
            usable.append(_operation(document, id_, *found[id_], without))
        except Refused as reason:
            if wanted:
                raise Refused(f"operation '{id_}' cannot be used: {reason}") from reason
    if not usable:
        raise Refused("the document has no operation that can be used")
    if len(usable) > MAX_OPERATIONS:
        raise Refused(f"the document has {len(usable)} operations, more than {MAX_OPERATIONS}: name those that are needed")
    names = unique_names([operation.name for operation in usable])
    return [Operation(o.id, name, o.description, o.parameters, o.route) for o, name in zip(usable, names, strict=True)]


def server_of(document: dict[str, Any], location: str | None = None) -> str | None:
    """The address of the first server the document names, with the defaults of its variables, relative to where the document was found."""
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else {"url": "/"}
    url = first.get("url") if isinstance(first, dict) else None
    if not isinstance(url, str):
        return None
    variables = first.get("variables")
    for name, variable in (variables if isinstance(variables, dict) else {}).items():
        if isinstance(variable, dict):
            url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    whole = urljoin(location, url) if location else url
    return whole.rstrip("/") if whole.startswith(("https://", "http://")) else None


def _all(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    for path, given in document["paths"].items():
        item = _followed(document, given)
        if isinstance(item, dict) and isinstance(path, str) and path.startswith("/"):
            yield from ((path, item, method, item[method]) for method in METHODS if isinstance(item.get(method), dict))


def _id(method: str, path: str, operation: dict[str, Any]) -> str:
    given = operation.get("operationId")
    return given if isinstance(given, str) and 0 < len(given) <= 300 else f"{method.upper()} {path}"


def _operation(
    document: dict[str, Any], id_: str, path: str, item: dict[str, Any], method: str, operation: dict[str, Any], without: Collection[str]
) -> Operation:
    draft = _Draft(Foreign(document, without_read_only=True))
    for parameter in _parameters(document, item, operation):
        _add_parameter(draft, parameter, without)
    missing = [part for part in _names_in(path) if all((place["in"], place["name"]) != ("path", part) for place in draft.places)]
    if missing:
        raise Refused(f"its path has '{missing[0]}', which is not among its parameters")
    body = _add_body(draft, document, operation.get("requestBody"))
    schema = {"type": "object", "properties": draft.properties, "required": draft.required, "additionalProperties": False}
    told = [text for text in (operation.get("summary"), operation.get("description")) if isinstance(text, str) and text.strip()]
    route = {"method": method.upper(), "path": path, "places": draft.places, "body": body}
    description = readable("\n\n".join(dict.fromkeys(told)), MAX_DESCRIPTION) or f"{method.upper()} {path}"
    return Operation(id_, id_, description, draft.foreign.finished(schema), route)


def _parameters(document: dict[str, Any], item: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the path and of the operation; the latter win."""
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for owner in (item, operation):
        given = owner.get("parameters")
        for parameter in given if isinstance(given, list) else []:
            followed = _followed(document, parameter)
            if isinstance(followed, dict) and isinstance(followed.get("name"), str):
                found[(followed.get("in"), followed["name"])] = followed
    return list(found.values())


def _add_parameter(draft: _Draft, parameter: dict[str, Any], without: Collection[str]) -> None:
    name, place = parameter["name"], parameter.get("in")
    required = parameter.get("required") is True or place == "path"
    if name.lower() in without or (place == "header" and name.lower() in IGNORED_HEADERS):
        return
    content = parameter.get("content")
    if place not in _STYLES or isinstance(content, dict):
        if required:
            raise Refused(f"its parameter '{name[:100]}' is one that tools cannot set")
        return
    style = parameter.get("style", _STYLES[place])
    if style not in {"path": ("simple",), "header": ("simple",), "query": ("form", "deepObject", "pipeDelimited", "spaceDelimited")}[place]:
        raise Refused(f"its parameter '{name[:100]}' is written in the style '{str(style)[:50]}'")
    explode = parameter.get("explode", style in ("form", "deepObject")) is True
    arg = draft.add(name, parameter.get("schema", {}), required=required, description=parameter.get("description"))
    draft.places.append({"arg": arg, "name": name, "in": place, "style": style, "explode": explode})


def _add_body(draft: _Draft, document: dict[str, Any], body: Any) -> dict[str, Any] | None:
    body = _followed(document, body)
    if not isinstance(body, dict):
        return None
    content = body.get("content")
    forms = {str(name).partition(";")[0].strip().lower(): part for name, part in content.items()} if isinstance(content, dict) else {}
    form = next((form for form in BODIES if form in forms), None) or next((form for form in forms if form.endswith("+json")), None)
    required = body.get("required") is True
    if form is None:
        if required:
            raise Refused(f"its body is {', '.join(forms)[:100] or 'not described'}; tools send {', '.join(BODIES)}")
        return None
    schema = forms[form].get("schema", {}) if isinstance(forms[form], dict) else {}
    schema = {"type": "string"} if form == "text/plain" else schema
    return {"arg": draft.add("body", schema, required=required, description=body.get("description")), "type": form}


def _followed(document: dict[str, Any], node: Any) -> Any:
    """The node itself, or what it refers to; a short chain of references is followed."""
    for _ in range(8):
        if not (isinstance(node, dict) and isinstance(node.get("$ref"), str)):
            return node
        if not node["$ref"].startswith("#/"):
            raise Refused(f"it refers to {node['$ref'][:100]!r}; references lead to places within the same document")
        node = resolve(document, node["$ref"])
    raise Refused("its references lead in a circle")


def _names_in(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]
