"""Values for JSON Schemas: whatever the schema, a value that satisfies it and says something about the text."""

from typing import Any

from runtime.agents.digest import MARK, Digest, shorten
from runtime.agents.merging import Resolver, UnsatisfiableError, merge
from runtime.agents.patterns import matching
from runtime.agents.scalars import Scalars
from runtime.agents.speech import PROSE, TITLES, Speech, tokens
from runtime.definition.schemas import check_value

MAX_DEPTH = 12
"""Below it only what is required is filled in."""
MAX_VALUES = 2_000
USUAL_ITEMS = 3
TRIES = 5

_IMPLIED = (
    ("object", ("properties", "required", "additionalProperties", "patternProperties", "minProperties", "propertyNames", "dependentRequired")),
    ("array", ("items", "prefixItems", "minItems", "contains", "uniqueItems", "maxItems")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def fill(schema: Any, digest: Digest, *, seed: int = 0, marked: bool = True) -> Any:
    """A value that satisfies `schema`, taken from the text; one of its free texts begins with the mark when `marked`.

    Raises UnsatisfiableError when no such value was found.
    """
    problem = ""
    for attempt in range(TRIES):
        filling = _Filling(schema, Speech(digest, seed), attempt)
        try:
            value = filling.value(schema, "", None, 0)
        except (UnsatisfiableError, RecursionError, OverflowError) as error:
            problem = problem or (str(error) if isinstance(error, UnsatisfiableError) else "its nesting or its numbers are beyond measure")
            continue
        if marked:
            with_mark = filling.marked(value)
            if with_mark is not value and not check_value(schema, with_mark):
                return with_mark
        found = check_value(schema, value)
        if not found:
            return value
        problem = problem or f"{found[0].pointer or '/'}: {found[0].detail}"
    raise UnsatisfiableError(problem)


class _Filling:
    """One attempt. `variant` turns what can be chosen freely, for when the first choice did not satisfy the whole."""

    def __init__(self, root: Any, speech: Speech, variant: int) -> None:
        self._schemas, self._speech, self._variant = Resolver(root), speech, variant
        self._scalars = Scalars(speech, variant)
        self._made = 0
        self._free: list[tuple[int, tuple[Any, ...], int | None]] = []
        """Where a mark may stand, and how long the text there may be: the smaller the first number, the better."""

    def value(self, schema: Any, name: str, place: int | None, depth: int, path: tuple[Any, ...] = ()) -> Any:
        self._made += 1
        if self._made > MAX_VALUES or depth > 4 * MAX_DEPTH:
            raise UnsatisfiableError("the schema asks for too many or too deep values")
        plain = self._schemas.resolve(schema)
        if "const" in plain:
            return plain["const"]
        if "enum" in plain:
            return self._enum(plain, name, place)
        for word in ("oneOf", "anyOf"):
            if word in plain:
                return self._branch(plain, word, name, place, depth, path)
        if "if" in plain:
            return self._conditional(plain, name, place, depth, path)
        return self._typed(plain, name, place, depth, path)

    def _typed(self, schema: dict[str, Any], name: str, place: int | None, depth: int, path: tuple[Any, ...]) -> Any:
        match _type(schema, deep=depth > MAX_DEPTH, variant=self._variant):
            case "object":
                return self._object(schema, place, depth, path)
            case "array":
                return self._array(schema, name, depth, path)
            case "integer" | "number" as kind:
                return self._scalars.number(schema, name, whole=kind == "integer")
            case "boolean":
                return self._speech.truth(name) ^ bool(self._variant % 2)
            case "null":
                return None
            case _:
                return self._text(schema, name, place, path)

    def _enum(self, schema: dict[str, Any], name: str, place: int | None) -> Any:
        rest = {key: value for key, value in schema.items() if key != "enum"}
        options = [option for option in schema["enum"] if not rest or not check_value(self._closed(rest), option)]
        if not options:
            raise UnsatisfiableError("no value of an enum satisfies the rest of its schema")
        return options[(self._speech.choice(name, options) + (place or 0) + self._variant) % len(options)]

    def _closed(self, schema: Any) -> Any:
        """A part of the schema that can be checked alone."""
        definitions = self._schemas.root.get("$defs") if isinstance(self._schemas.root, dict) else None
        return {**schema, "$defs": definitions} if definitions and isinstance(schema, dict) else schema

    def _branch(self, schema: dict[str, Any], word: str, name: str, place: int | None, depth: int, path: tuple[Any, ...]) -> Any:
        base = {key: value for key, value in schema.items() if key != word}
        options = schema[word]
        # null is a way out of a recursion, not an answer; otherwise authors put the usual case first
        order = sorted(range(len(options)), key=lambda at: (_is_null(options[at]) != (depth > MAX_DEPTH), at))
        turned = order[self._variant % len(order) :] + order[: self._variant % len(order)]
        problem = UnsatisfiableError(f"no branch of a {word} can be satisfied")
        for at in turned:
            free = len(self._free)
            try:
                value = self.value(merge(base, options[at]), name, place, depth + 1, path)
            except UnsatisfiableError as error:
                problem = error
                continue
            if word == "anyOf" or sum(not check_value(self._closed(option), value) for option in options) == 1:
                return value
            del self._free[free:]
        raise problem

    def _conditional(self, schema: dict[str, Any], name: str, place: int | None, depth: int, path: tuple[Any, ...]) -> Any:
        base = {key: value for key, value in schema.items() if key not in ("if", "then", "else")}
        free = len(self._free)
        value = self.value(base, name, place, depth, path)
        holds = not check_value(self._closed(schema["if"]), value)
        extra = schema.get("then" if holds else "else", True)
        if extra is True:
            return value
        del self._free[free:]
        return self.value(merge(merge(base, schema["if"]) if holds else base, extra), name, place, depth + 1, path)

    def _text(self, schema: dict[str, Any], name: str, place: int | None, path: tuple[Any, ...]) -> str:
        text, free = self._scalars.text(schema, name, place)
        if free:
            self._free.append((_mark_rank(name, len(path)), path, schema.get("maxLength")))
        return text

    def _array(self, schema: dict[str, Any], name: str, depth: int, path: tuple[Any, ...]) -> list[Any]:
        low, high = schema.get("minItems", 0), schema.get("maxItems", MAX_VALUES)
        fixed, rest = schema.get("prefixItems", []), schema.get("items", True)
        usual = max(low, min(high, USUAL_ITEMS if depth <= MAX_DEPTH else 0, len(fixed) if rest is False else high))
        wanted = max(usual, min(len(fixed), high))
        values = self._items(schema, name, depth, path, wanted)
        if len(values) < low or len(values) > high:
            raise UnsatisfiableError(f"a list of {low} to {high} different items cannot be made")
        return values

    def _items(self, schema: dict[str, Any], name: str, depth: int, path: tuple[Any, ...], wanted: int) -> list[Any]:
        fixed, rest, contains = schema.get("prefixItems", []), schema.get("items", True), schema.get("contains")
        needed = schema.get("minContains", 1) if contains is not None else 0
        if needed > wanted and needed <= schema.get("maxItems", needed):
            wanted = max(wanted, needed)
        values: list[Any] = []
        for place in range(min(wanted * 4 if schema.get("uniqueItems") else wanted, MAX_VALUES)):
            at = len(values)
            if at == wanted:
                break
            part = fixed[at] if at < len(fixed) else rest
            if at >= max(len(fixed), 0) and needed and at >= wanted - needed:
                part = merge(part, contains)
            try:
                made = self.value(part, _singular(name), place + self._variant, depth + 1, (*path, at))
            except UnsatisfiableError:
                if at >= schema.get("minItems", 0):
                    break
                raise
            if not (schema.get("uniqueItems") and any(_same(made, other) for other in values)):
                values.append(made)
        return values

    def _object(self, schema: dict[str, Any], place: int | None, depth: int, path: tuple[Any, ...]) -> dict[str, Any]:
        known, required = schema.get("properties", {}), list(schema.get("required", []))
        high = schema.get("maxProperties", MAX_VALUES)
        value: dict[str, Any] = {}
        optional = [name for name in known if name not in required] if depth <= MAX_DEPTH else []
        # in the order of the schema, as a reader would expect it
        for name in [*(name for name in known if name in required or name in optional), *(name for name in required if name not in known)]:
            if name in value or (name not in required and len(value) + sum(other not in value for other in required) >= high):
                continue
            self._property(schema, value, name, place, depth, path)
        for name, others in schema.get("dependentRequired", {}).items():
            for other in others if name in value else ():
                if other not in value:
                    self._property(schema, value, other, place, depth, path)
        for number in range(min(schema.get("minProperties", 0), MAX_VALUES)):
            if len(value) < schema["minProperties"]:
                self._property(schema, value, self._new_name(schema, value, number), place, depth, path)
        return value

    def _property(self, schema: dict[str, Any], value: dict[str, Any], name: str, place: int | None, depth: int, path: tuple[Any, ...]) -> None:
        try:
            value[name] = self.value(_property_schema(schema, name), name, place, depth + 1, (*path, name))
        except UnsatisfiableError:
            if name in schema.get("required", ()):
                raise

    def _new_name(self, schema: dict[str, Any], value: dict[str, Any], number: int) -> str:
        rule = self._schemas.resolve(schema.get("propertyNames", True))
        pattern = rule.get("pattern") or next(iter(schema.get("patternProperties", {})), None)
        name = (matching(pattern) or "") if pattern else f"field_{number + 1}"
        if "enum" in rule:
            name = next((option for option in rule["enum"] if option not in value), "")
        while name in value and pattern:
            name += str(number)
        return name

    def marked(self, value: Any) -> Any:
        """`value` with the mark before the free text that suits it best; `value` itself when there is none."""
        if not self._free:
            return value
        _, path, limit = min(self._free, key=lambda free: free[0])
        return _put(value, path, limit)


def _type(schema: dict[str, Any], *, deep: bool, variant: int) -> str:
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return kinds
    if kinds is not None:
        if not kinds:
            raise UnsatisfiableError("the schema allows no type")
        usual = [kind for kind in kinds if kind != "null"] or kinds
        return "null" if deep and "null" in kinds else str(usual[variant % len(usual)])
    return next((kind for kind, words in _IMPLIED if any(word in schema for word in words)), "string")


def _property_schema(schema: dict[str, Any], name: str) -> Any:
    found: Any = schema.get("properties", {}).get(name)
    for pattern, part in schema.get("patternProperties", {}).items():
        if not check_value({"pattern": pattern}, name):
            found = part if found is None else merge(found, part)
    return schema.get("additionalProperties", True) if found is None else found


def _is_null(option: Any) -> bool:
    return isinstance(option, dict) and option.get("type") == "null"


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _mark_rank(name: str, depth: int) -> int:
    kind = tokens(name)
    return depth * 10 + (0 if kind & PROSE else 6 if kind & TITLES else 3)


def _put(value: Any, path: tuple[Any, ...], limit: int | None) -> Any:
    if not path:
        return MARK + (value if limit is None else shorten(value, limit - len(MARK)))
    if isinstance(value, list):
        return [_put(part, path[1:], limit) if at == path[0] else part for at, part in enumerate(value)]
    return {name: _put(part, path[1:], limit) if name == path[0] else part for name, part in value.items()}
