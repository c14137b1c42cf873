"""The CEL library behind one small door: parse, check, run. Nothing else imports it, but `functions.py`."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from runtime.definition.functions import EXTENSIONS
from runtime.definition.guard import guarded
from runtime.definition.names import PRESENCE_ROOTS, ROOTS, Names
from runtime.definition.tree import Node, parsed

_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_T = cel.Type
_TYPES = {
    "dyn": _T.DYN,
    "bool": _T.BOOL,
    "int": _T.INT,
    "double": _T.DOUBLE,
    "string": _T.STRING,
    "list": _T.List(_T.DYN),
    "map": _T.Map(_T.STRING, _T.DYN),
    "list(string)": _T.List(_T.STRING),
    "list(bool)": _T.List(_T.BOOL),
}
_RESERVED_IDS = 1_000_000
"""Ids of nodes the guard adds; the library's own count from 1."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What the compiler objects to; line and column count from 1 within the expression."""

    line: int
    column: int
    detail: str


class CelError(ValueError):
    """The source is no valid CEL."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes[0].detail)
        self.mistakes = mistakes


_UNTYPED = cel.NewEnv(variables=dict.fromkeys((*ROOTS, *PRESENCE_ROOTS), _T.DYN), extensions=EXTENSIONS)
"""At run time names are read from nested objects, so that one environment serves every expression: a new one costs 0.5 ms."""


def parse(source: str) -> tuple[Node, dict[int, int]]:
    """The syntax tree and the offset of each node. Raises CelError."""
    return parsed(_compile(_UNTYPED, source, check=False).serialize())


def program(source: str, *, loops: bool) -> tuple[cel.Expression, str]:
    """The runnable program and the name of its result's type (`BOOL`, `DYN`, `LIST<STRING>`…). Raises CelError."""
    compiled = _compile(_UNTYPED, source, check=True)
    type_ = str(compiled.return_type().name())
    return (_guard(compiled) if loops else compiled), type_


def _guard(compiled: cel.Expression) -> cel.Expression:
    try:
        return _UNTYPED.deserialize(guarded(compiled.serialize(), _RESERVED_IDS))
    except RuntimeError:  # the library's limit for nested messages is all that can go wrong with a program it made itself
        raise CelError([Mistake(1, 1, "the loops of the expression are nested or chained too deep")]) from None


def result_type(source: str, names: Names) -> str:
    """The name of the result's type, given the types of names. Raises CelError."""
    return str(_compile(_typed(names.typed), source, check=True).return_type().name())


@lru_cache(maxsize=64)
def _typed(types: tuple[tuple[str, str], ...]) -> cel.Env:
    variables = dict.fromkeys((*ROOTS, *PRESENCE_ROOTS), _T.DYN) | {name: _TYPES[type_] for name, type_ in types}
    return cel.NewEnv(variables=variables, extensions=EXTENSIONS)


def _compile(environment: cel.Env, source: str, *, check: bool) -> cel.Expression:
    try:
        return environment.compile(source, disable_check=not check)
    except RuntimeError as error:
        raise CelError(_mistakes(str(error))) from None


def _mistakes(text: str) -> list[Mistake]:
    found = [Mistake(int(line), int(column), _plain(detail)) for line, column, detail in _ERROR.findall(text)]
    return found or [Mistake(1, 1, _plain(text.splitlines()[0]))]


def _plain(detail: str) -> str:
    detail = detail.replace(" (in container '')", "").replace(" [INVALID_ARGUMENT]", "").removeprefix("INVALID_ARGUMENT: ")
    if "recursion limit exceeded" in detail:
        return "the expression is nested deeper than 32 levels"
    detail = re.sub(r" expecting \{.*\}", "", detail).replace("'<EOF>'", "the end")
    overload = re.fullmatch(r"found no matching overload for '(.+)' applied to '(.+)'", detail)
    if overload:
        return f"{_operator(overload[1])} does not take {overload[2].strip('()')}{_number_hint(overload[2])}"
    undeclared = re.fullmatch(r"undeclared reference to '(.+)'", detail)
    return f"there is no function or name '{undeclared[1]}'" if undeclared else detail[:500]


def _operator(name: str) -> str:
    return {"_?_:_": "'? :'", "_[_]": "[ ]", "!_": "'!'", "-_": "'-'", "@in": "'in'"}.get(name, f"'{name.strip('_')}'")


def _number_hint(types: str) -> str:
    return "; write double(…) around the int, or 2.0 instead of 2" if "int" in types and "double" in types else ""


def failure(message: str) -> str:
    """What a run-time error of the library means, in plain words."""
    text = re.sub(r"^[A-Z_]+: ", "", message).removesuffix(" [INTERNAL]")
    overload = re.fullmatch(r"No matching overloads found : (\S+?)(?:\((.*)\))?", text)
    if overload:
        return _no_overload(overload[1], overload[2] or "")
    missing = re.fullmatch(r'Key not found in map : "?(.*?)"?', text)
    if missing:
        return f"there is no field '{missing[1]}'; test with has(…) first"
    if text.startswith("Applying SELECT"):
        return "a field is read of something that is no object"
    return {"Iteration budget exceeded": "the loops go round more than 10,000 times"}.get(text, text)


def _no_overload(name: str, types: str) -> str:
    if (name == "_+_" and types == "map, list") or name == "<iter_range>":
        return "map, filter, exists and all go over a list; for an object go over keys(…), which are sorted"
    if name == "<jump_condition>":
        return "the condition before '?' is neither true nor false"
    words = {
        "int64": "a whole number",
        "double": "a fraction",
        "string": "text",
        "map": "an object",
        "list": "a list",
        "null_type": "null",
        "bool": "true/false",
    }
    given = " and ".join(words.get(part, part) for part in types.split(", "))
    return f"{_operator(name)} does not take {given}" if given else f"{_operator(name)} does not take these values"


def run(program: cel.Expression, data: dict[str, Any]) -> Any:
    """The library's value. Raises ValueError with a plain sentence."""
    try:
        value = program.eval(data=data)
    except RuntimeError as error:
        raise ValueError(failure(str(error))) from None
    if value.type().name() == "ERROR":
        raise ValueError(failure(_error_text(value)))
    return value


def _error_text(value: Any) -> str:
    try:
        return str(value.plain_value())
    except TypeError:  # what the binding answers for an optional, which has no form in Python
        return "the result is an optional value; add .orValue(…)"
