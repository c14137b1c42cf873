"""JSON Schemas put together: references followed, `allOf` and chosen branches merged into one plain schema."""

from typing import Any

MAX_STEPS = 5_000
"""References followed and parts merged while one value is made: a schema of a few lines can unfold into billions."""
MAX_BRANCHES = 1_000


class UnsatisfiableError(ValueError):
    """No value can be made for this schema; the message says why."""


class Resolver:
    """Follows the references of one schema, with a budget."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._left = MAX_STEPS

    def resolve(self, schema: Any) -> dict[str, Any]:
        """`schema` without `$ref` and `allOf` at its top. Raises UnsatisfiableError."""
        while True:
            self._left -= 1
            if self._left < 0:
                raise UnsatisfiableError("the schema's references go round in circles, or unfold into too much")
            if schema is True:
                return {}
            if schema is False:
                raise UnsatisfiableError("the schema allows nothing here")
            if "$ref" in schema:
                found = target(schema["$ref"], self.root)
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = merge(found, rest) if rest else found
            elif "allOf" in schema:
                parts = schema["allOf"]
                schema = {key: value for key, value in schema.items() if key != "allOf"}
                for part in parts:
                    schema = merge(schema, self.resolve(part))
            else:
                return dict(schema)


def target(reference: str, root: Any) -> Any:
    """What a local reference points at. Raises UnsatisfiableError."""
    if reference != "#" and not reference.startswith("#/"):
        raise UnsatisfiableError(f"the reference {reference[:100]} is not a local pointer")
    found = root
    for part in reference[2:].split("/") if len(reference) > 1 else ():
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise UnsatisfiableError(f"the reference {reference[:100]} points at nothing") from None
    return found


def merge(left: Any, right: Any) -> Any:
    """A schema for values that satisfy both, as far as one plain schema can say it."""
    if left is False or right is False:
        return False
    if left is True or right is True:
        return left if right is True else right
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _both(key, merged[key], value) if key in merged else value
    return merged


def _both(key: str, left: Any, right: Any) -> Any:  # noqa: PLR0911 - one line for each family of keywords
    if left == right:
        return left
    if key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"):
        return max(left, right)
    if key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"):
        return min(left, right)
    if key == "required":
        return [*left, *(name for name in right if name not in left)]
    if key in ("properties", "patternProperties", "$defs", "dependentRequired"):
        return left | {name: merge(left[name], part) if name in left and key != "dependentRequired" else part for name, part in right.items()}
    if key == "enum":
        return [choice for choice in left if choice in right]
    if key == "type":
        return _types(left, right)
    if key in ("items", "additionalProperties", "contains", "propertyNames"):
        return merge(left, right)
    if key == "multipleOf":
        return left * right if isinstance(left, int) and isinstance(right, int) else max(left, right)
    if key in ("anyOf", "oneOf"):
        if len(left) * len(right) > MAX_BRANCHES:
            raise UnsatisfiableError(f"the branches of {key} combine to more than {MAX_BRANCHES}")
        return [merge(one, other) for one in left for other in right]
    return right


def _types(left: Any, right: Any) -> Any:
    first, second = ([kind] if isinstance(kind, str) else kind for kind in (left, right))
    common = [kind for kind in first if kind in second or (kind == "integer" and "number" in second)]
    common += [kind for kind in second if kind == "integer" and "number" in first and kind not in common]
    return common
