"""The names an expression may use, and how a dotted path in CEL becomes one of them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class Names:
    """What may be used in one place of a definition: dotted name → CEL type (`dyn bool int string list map`, `list(string)`…)."""

    __slots__ = ("typed", "types")

    def __init__(self, types: Mapping[str, str]) -> None:
        self.types = types
        self.typed = tuple(sorted((name, type_) for name, type_ in types.items() if type_ != "dyn" and not name.startswith(("steps.", "run."))))
        """The names whose type the compiler is told. Steps are left out: with thousands of variables each compilation would be slow."""


SINGLE = {"item": "dyn", "index": "int", "iteration": "int", "previous": "dyn", "output": "dyn", "body": "dyn", "args": "dyn", "outputs": "dyn"}
STEP_FIELDS = {"output": "dyn", "status": "string", "error": "dyn", "messages": "dyn", "artifacts": "dyn"}
RUN_FIELDS = {"id": "string", "workflow": "string", "status": "string", "error": "dyn"}
ROOTS = ("inputs", "steps", "run", *SINGLE)
PRESENCE_ROOTS = ("Inputs", "Steps", "Run")
"""What `inputs`, `steps` and `run` are called inside `has(…)` when the library compiles it: they hold what is there and not null."""
CEL_WORDS = frozenset({"in", "true", "false", "null"})
"""Words CEL cannot take as a field: no step and no input can be called so."""


class UnknownNameError(ValueError):
    """A path that is no name; the message is a sentence for the author."""


def name_of(path: tuple[str, ...]) -> str:
    """The name a path such as `("steps", "a", "output", "title")` begins with: `steps.a.output`. Raises UnknownNameError."""
    root = path[0]
    if root in SINGLE:
        return root
    if root == "inputs":
        return ".".join(path[:2])
    if root == "steps":
        return _step_name(path)
    if root == "run":
        if len(path) < 2 or path[1] not in RUN_FIELDS:
            raise UnknownNameError(f"write run.id, run.workflow, run.status or run.error{did_you_mean(path[1] if len(path) > 1 else '', RUN_FIELDS)}")
        return ".".join(path[:2])
    raise UnknownNameError(
        f"there is no name '{root}'{did_you_mean(root, ROOTS)}; names begin with inputs, steps, run, item, index, iteration, previous or output"
    )


def _step_name(path: tuple[str, ...]) -> str:
    if len(path) < 2:
        raise UnknownNameError("write steps.<id>.output, .status, .error, .messages or .artifacts")
    if len(path) < 3 or path[2] not in STEP_FIELDS:
        field = path[2] if len(path) > 2 else ""
        raise UnknownNameError(
            f"of step '{path[1]}' there is steps.{path[1]}.output, .status, .error, .messages and .artifacts{did_you_mean(field, STEP_FIELDS)}"
        )
    return ".".join(path[:3])


def unknown_name(name: str, declared: Names) -> str:
    """Why `name` cannot be used here, as a sentence."""
    if "args" in declared.types:
        return "only args can be read here: the arguments of the call"
    parts = name.split(".")
    if parts[0] == "inputs":
        known = [other[7:] for other in declared.types if other.startswith("inputs.")]
        return f"there is no input '{parts[1]}'{did_you_mean(parts[1], known)}"
    if parts[0] == "steps":
        known = sorted({other.split(".")[1] for other in declared.types if other.startswith("steps.")})
        return f"there is no step '{parts[1]}' to refer to here{did_you_mean(parts[1], known)}"
    places = {
        "item": "only a step with `map` has `item`",
        "index": "only a step with `map` has `index`",
        "iteration": "only a step with `loop` has `iteration`",
        "previous": "only a step with `loop` has `previous`",
        "output": "only `loop.until` has `output`; elsewhere write steps.<id>.output",
        "run": f"{name} is known only in `finally`" if "run.id" in declared.types else "there is no run here yet; only inputs can be read",
        "body": "only the inputs of a hook have `body`",
        "args": "only `approve` of an agent's tool has `args`",
        "outputs": "only the checks of a test have `outputs`; elsewhere write steps.<id>.output",
    }
    return places[parts[0]]


def has_surrogate(text: str) -> bool:
    """Whether `text` contains half of a surrogate pair, which is no Unicode text and cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def presence(name: str) -> str:
    """The name under which `has` looks for `name`."""
    root, dot, rest = name.partition(".")
    return f"{root.capitalize()}{dot}{rest}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when something known looks like `word`, else nothing."""
    close = get_close_matches(word[:100], list(known), n=1, cutoff=0.6) if word else []
    return f"; did you mean '{close[0]}'?" if close else ""
