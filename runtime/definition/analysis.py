"""What an expression reads and how much it can build, found in its syntax tree before it ever runs.

The library bounds loops (10,000 rounds) but not memory: `[x].map(v, [v, v]).map(v, [v, v])…` doubles with each step. So the tree tells for
each name how often its value can end up in something the expression builds or compares; times the value's real size that is
the bound `convert.Admission` enforces.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.definition.names import UnknownNameError, name_of
from runtime.definition.tree import Node

CONSTANTS = ""
"""Stands for all constants of the source among the names."""

_LOOP = 2_000
_ROUNDS = 10_000
_SCALAR = frozenset({"_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "size", "startsWith", "endsWith", "contains", "matches", "indexOf"})
_COMPARE = frozenset({"_==_", "_!=_", "@in"})
_NAMESPACES = frozenset({"math", "optional", "base64"})
_TYPE_NAMES = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type"})
"""What `type(x)` may be compared with."""
Copies = dict[str, float]


@dataclass(slots=True)
class Usage:
    """What one expression uses."""

    values: dict[str, int] = field(default_factory=dict)
    """Name → where (offset) it is first read as a value."""
    presences: dict[str, int] = field(default_factory=dict)
    """Name → where it first stands in `has(…)`."""
    spots: dict[int, str] = field(default_factory=dict)
    """Offset → root of every name in `has(…)`."""
    mistakes: list[tuple[int, str]] = field(default_factory=list)
    loops: bool = False
    built: Copies = field(default_factory=dict)
    compared: Copies = field(default_factory=dict)

    @property
    def reads(self) -> list[str]:
        """The values to hand to the library: `inputs` as a whole includes each of them."""
        return [name for name in self.values if "inputs" not in self.values or not name.startswith("inputs.")]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.values) | frozenset(self.presences)


def usage(node: Node, positions: Mapping[int, int]) -> Usage:
    """Everything `node` uses; `positions` are the offsets of its nodes."""
    reader = _Reader(positions)
    reader.visit(node, {}, 1)
    found = reader.found
    if "inputs" in found.values:
        found.built, found.compared = _whole_inputs(found.built), _whole_inputs(found.compared)
    return found


def _whole_inputs(copies: Copies) -> Copies:
    """Every input counted as all of them, because it is handed over as part of all."""
    return _sum(*({("inputs" if name.startswith("inputs.") else name): count} for name, count in copies.items()))


def _path(node: Node) -> tuple[Node, tuple[str, ...]] | None:
    """The identifier at the root of a chain of fields, and the whole path."""
    rest: list[str] = []
    while node.op in ("select", "has"):
        rest.append(node.name)
        node = node.args[0]
    return (node, (node.name.lstrip("."), *reversed(rest))) if node.op == "ident" else None


def _sum(*parts: Copies) -> Copies:
    total: Copies = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def _times(copies: Copies, factor: float) -> Copies:
    return {name: count * factor for name, count in copies.items()}


class _Reader:
    """Visits a tree. `bound` holds the loop variables in sight with the copies each stands for, `rounds` how often this place runs."""

    def __init__(self, positions: Mapping[int, int]) -> None:
        self.found = Usage()
        self.positions = positions

    def visit(self, node: Node, bound: Mapping[str, Copies], rounds: float) -> Copies:
        """Note what `node` uses; the copies of names its result may hold."""
        if node.op == "call" and node.args and node.args[0].op == "ident" and node.args[0].name in _NAMESPACES:
            del node.args[0]
        path = _path(node)
        if path is not None:
            return self._name(node, *path, bound)
        if node.op == "const":
            return {CONSTANTS: 1}
        if node.op == "message":
            self.found.mistakes.append((self.positions.get(node.id, 0), f"'{node.name}{{…}}' is no part of this language; write {{'key': value}}"))
            return {}
        if node.op == "fold":
            return self._fold(node, bound, rounds)
        copies = _sum(*(self.visit(child, bound, rounds) for child in node.args))
        if node.op == "call":
            return self._call(node, copies, rounds)
        return self._build(copies, rounds) if node.op in ("list", "map") else copies

    def _build(self, copies: Copies, rounds: float) -> Copies:
        self.found.built = _sum(self.found.built, _times(copies, rounds))
        return copies

    def _call(self, node: Node, copies: Copies, rounds: float) -> Copies:
        if node.name in _COMPARE:
            self.found.compared = _sum(self.found.compared, _times(copies, rounds))
            return {}
        if node.name in _SCALAR:
            return {}
        return self._build(copies, rounds) if node.name == "_+_" else copies

    def _fold(self, node: Node, bound: Mapping[str, Copies], rounds: float) -> Copies:
        over, start, condition, step, result = node.args
        copies = self.visit(over, bound, rounds)
        literal = over.op == "list"
        count = max(1, len(over.args)) if literal else _LOOP
        self.found.loops = self.found.loops or not literal or bool(over.args)
        begin = self.visit(start, bound, rounds)
        inner = {**bound, node.name: _times(copies, 1 / count), node.accumulator: begin if literal and not over.args else {}}
        total = min(rounds * count, max(_ROUNDS, rounds))
        self.visit(condition, inner, total)
        each = self.visit(step, inner, total)
        return self.visit(result, {**bound, node.accumulator: _sum(begin, _times(each, total / rounds))}, rounds)

    def _name(self, node: Node, root: Node, path: tuple[str, ...], bound: Mapping[str, Copies]) -> Copies:
        if len(path) == 1 and path[0] in _TYPE_NAMES:
            return {}
        if path[0] in bound:
            return {} if node.op == "has" else bound[path[0]]
        at = self.positions.get(root.id, 0)
        try:
            name = name_of(path)
        except UnknownNameError as error:
            self.found.mistakes.append((at, str(error)))
            return {}
        if node.op == "has" and name == ".".join(path):
            self.found.presences.setdefault(name, at)
            self.found.spots[at] = path[0]
        else:
            self.found.values.setdefault(name, at)
        return {} if node.op == "has" else {name: 1}
