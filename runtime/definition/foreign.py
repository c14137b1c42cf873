"""JSON Schemas that strangers have written, made into ones a tool can have: bounded, self-contained, and cheap to check values against.

What is kept is a list; whatever is not on it is left out. References are followed within the document only; one that leads back to where it
came from allows anything, so that nothing is endless; and what would unfold to more than `MAX_NODES` schemas is refused, because twenty
lines of `allOf` can stand for a million.
"""

import hashlib
import json
import re
import unicodedata
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from runtime.definition.schemas import schema_problem

MAX_NODES = 5_000
"""Schemas within schemas, references unfolded, of one tool."""
MAX_BYTES = 32 * 1024
"""JSON of one tool's parameters."""
MAX_DEPTH = 50
MAX_TEXT = 1_000
"""Characters of a description within a schema."""

_AS_THEY_ARE = frozenset(("type", "enum", "const", "default", "format", "required", "dependentRequired", "uniqueItems", "multipleOf")) | {
    *("maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems"),
    *("maxContains", "minContains", "maxProperties", "minProperties"),
}
_ONE = frozenset(("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties"))
_LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_BY_NAME = frozenset(("properties", "patternProperties", "dependentSchemas"))


class Refused(ValueError):
    """Why something a stranger has written cannot be used."""


class Foreign:
    """Schemas of one document on their way into the parameters of one tool."""

    def __init__(self, document: Any, *, without_read_only: bool = False) -> None:
        """`without_read_only`: leave out properties that only answers have."""
        self._document = document
        self._without_read_only = without_read_only
        self._definitions: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._weights: dict[str, int] = {}
        self._open: set[str] = set()
        self._weight = 0

    def take(self, schema: Any, pointer: str | None = None) -> Any:
        """The schema, with its references leading to definitions that `finished` adds. `pointer`: where it stands, if something may refer to it.

        Raises Refused.
        """
        if pointer is not None:
            self._open.add(pointer)
        taken, weight = self._schema(schema, 0)
        self._weight += weight
        self._check(self._weight)
        return taken

    def finished(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema of an object with all definitions that what was taken refers to. Raises Refused."""
        whole = {**schema, "$defs": self._definitions} if self._definitions else schema
        size = len(json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace"))
        if size > MAX_BYTES:
            raise Refused(f"its parameters have {size} bytes, more than {MAX_BYTES}")
        problem = schema_problem(whole)
        if problem is not None:
            raise Refused(f"its parameters are no JSON Schema: {problem.detail} ({problem.pointer or '/'})")
        return whole

    def _schema(self, schema: Any, depth: int) -> tuple[Any, int]:
        if depth > MAX_DEPTH:
            raise Refused(f"its parameters are nested deeper than {MAX_DEPTH} levels")
        if not isinstance(schema, dict):
            return (schema if isinstance(schema, bool) else {}), 1
        taken: dict[str, Any] = {}
        weight = 1
        for key, value in schema.items():
            for name, part, more in self._keyword(key, value, depth):
                taken[name] = part
                weight += more
            self._check(weight)
        return self._older(schema, taken), weight

    def _keyword(self, key: str, value: Any, depth: int) -> list[tuple[str, Any, int]]:
        """What becomes of one keyword: nothing, or its name, its value and its weight."""
        if key == "$ref":
            return self._reference(value, depth)
        if key in _AS_THEY_ARE or (key == "pattern" and _linear(value)):
            return [(key, value, 0)]
        if key in ("title", "description"):
            return [(key, readable(value, MAX_TEXT), 0)] if isinstance(value, str) else []
        return self._nested(key, value, depth)

    def _nested(self, key: str, value: Any, depth: int) -> list[tuple[str, Any, int]]:
        if key == "items" and isinstance(value, list):  # how older drafts wrote prefixItems
            key = "prefixItems"
        if key in _ONE:
            return [(key, *self._schema(value, depth + 1))]
        if key in _LISTS and isinstance(value, list):
            parts = [self._schema(part, depth + 1) for part in value]
            return [(key, [part for part, _ in parts], sum(weight for _, weight in parts))]
        if key in _BY_NAME and isinstance(value, dict):
            named = {name: self._schema(part, depth + 1) for name, part in value.items() if self._wanted(key, name, part)}
            return [(key, {name: part for name, (part, _) in named.items()}, sum(weight for _, weight in named.values()))]
        return []

    def _wanted(self, key: str, name: str, part: Any) -> bool:
        if key == "patternProperties":
            return _linear(name)
        return not (self._without_read_only and isinstance(part, dict) and part.get("readOnly") is True)

    def _older(self, schema: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
        """What OpenAPI 3.0 writes in its own way, and what follows from properties that were left out."""
        for bound, key in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(taken.get(key), bool) and taken.pop(key) and bound in taken:
                taken[key] = taken.pop(bound)
        if schema.get("nullable") is True and isinstance(taken.get("type"), str):
            taken["type"] = [taken["type"], "null"]
            if isinstance(taken.get("enum"), list) and None not in taken["enum"]:
                taken["enum"] = [*taken["enum"], None]
        if self._without_read_only and isinstance(taken.get("required"), list) and isinstance(schema.get("properties"), dict):
            gone = schema["properties"].keys() - taken.get("properties", {}).keys()
            taken["required"] = [name for name in taken["required"] if name not in gone]
        return taken

    def _reference(self, pointer: Any, depth: int) -> list[tuple[str, Any, int]]:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise Refused(f"it refers to {str(pointer)[:100]!r}; references lead to places within the same document")
        if pointer in self._open:
            return []
        if pointer not in self._names:
            self._open.add(pointer)
            name = self._new_name(pointer)
            definition, self._weights[pointer] = self._schema(resolve(self._document, pointer), depth + 1)
            self._definitions[name] = definition
            self._names[pointer] = name
            self._open.discard(pointer)
        return [("$ref", f"#/$defs/{self._names[pointer]}", self._weights[pointer])]

    def _new_name(self, pointer: str) -> str:
        name = wanted = re.sub(r"[^A-Za-z0-9_]", "_", pointer.rpartition("/")[2])[:40] or "schema"
        number = 2
        while name in self._definitions or name in self._names.values():
            name, number = f"{wanted}_{number}", number + 1
        self._definitions[name] = {}  # taken from here on
        return name

    @staticmethod
    def _check(weight: int) -> None:
        if weight > MAX_NODES:
            raise Refused(f"its parameters unfold to more than {MAX_NODES} schemas")


def resolve(document: Any, pointer: str) -> Any:
    """What stands at `#/…` in a document. Raises Refused when there is nothing."""
    found = document
    for step in pointer[1:].split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name[:6]) < len(found):
            found = found[int(name[:6])]
        else:
            raise Refused(f"it refers to {pointer[:100]!r}, which is not there")
    return found


def parameters_of(schema: Any) -> dict[str, Any]:
    """A tool's whole parameters schema, as a server gives it, made harmless. Raises Refused."""
    foreign = Foreign(schema)
    taken = foreign.take(schema, "#")
    if not isinstance(taken, dict) or taken.get("type", "object") != "object":
        raise Refused("its parameters are no object")
    return foreign.finished({**taken, "type": "object"})


def unique_names(wanted: list[str]) -> list[str]:
    """Names a model can call, in the same order: at most 64 letters, digits, `_` and `-`. Long ones and those that would be the same end in a hash."""
    plain = [re.sub(r"[^A-Za-z0-9_-]", "_", name) for name in wanted]
    return [name if len(name) <= 64 and plain.count(name) == 1 else f"{name[:55]}_{_hash(given)}" for name, given in zip(plain, wanted, strict=True)]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def readable(text: str, limit: int) -> str:
    """At most `limit` characters a person can see: what is invisible could speak to a model alone."""
    seen = "".join(char for char in text[: limit * 2] if char in "\n\t" or unicodedata.category(char)[0] != "C")
    return seen if len(seen) <= limit else seen[: limit - 1] + "…"


@lru_cache(maxsize=4096)
def _linear(pattern: Any) -> bool:
    return isinstance(pattern, str) and len(pattern) <= MAX_TEXT and schema_problem({"pattern": pattern}) is None
