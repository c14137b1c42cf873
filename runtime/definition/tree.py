"""The syntax tree of a CEL expression, read from the protobuf form the CEL library gives out (cel.expr.ParsedExpr and CheckedExpr).

The library shows no tree to Python, only these bytes; the few messages of them that matter are decoded here by hand, because
their schema is not installed with it. Field numbers are those of `cel/expr/syntax.proto`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Wire = list[tuple[int, int | bytes]]
Op = Literal["const", "ident", "select", "has", "call", "list", "map", "message", "fold"]

_EXPR_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _FOLD = 2, 3, 4, 5, 6, 7, 8, 9
_FOLD_CHILDREN = (2, 4, 5, 6, 7)
"""Of a comprehension: range, accumulator's start, loop condition, loop step, result."""


@dataclass(slots=True)
class Node:
    """One node. `name` is the identifier, field, function, message type or loop variable; `args` the children in order."""

    op: Op
    name: str = ""
    args: list["Node"] = field(default_factory=list)
    id: int = 0
    accumulator: str = ""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message: int for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
        elif kind == 2:
            size, at = varint(data, at)
            yield number, data[at : at + size]
            at += size
        else:  # 1: eight bytes (a double), 5: four bytes
            size = 8 if kind == 1 else 4
            yield number, data[at : at + size]
            at += size


def one(data: bytes, number: int) -> bytes:
    """The last bytes field of this number; empty when there is none."""
    found = b""
    for key, value in fields(data):
        if key == number and isinstance(value, bytes):
            found = value
    return found


def tree(expr: bytes) -> Node:
    """The tree of a serialized `Expr`."""
    node = Node("const")
    for number, value in fields(expr):
        if number == _EXPR_ID and isinstance(value, int):
            node.id = value
        elif isinstance(value, bytes) and number in _READERS:
            _READERS[number](node, value)
    return node


def _ident(node: Node, data: bytes) -> None:
    node.op, node.name = "ident", one(data, 1).decode()


def _select(node: Node, data: bytes) -> None:
    test_only = any(number == 3 and value for number, value in fields(data))
    node.op, node.name, node.args = "has" if test_only else "select", one(data, 2).decode(), [tree(one(data, 1))]


def _call(node: Node, data: bytes) -> None:
    node.op, node.name = "call", one(data, 2).decode()
    node.args = [tree(value) for number, value in fields(data) if number in (1, 3) and isinstance(value, bytes)]


def _list(node: Node, data: bytes) -> None:
    node.op, node.args = "list", [tree(value) for number, value in fields(data) if number == 1 and isinstance(value, bytes)]


def _struct(node: Node, data: bytes) -> None:
    node.name = one(data, 1).decode()
    node.op = "message" if node.name else "map"
    for number, entry in fields(data):
        if number == 2 and isinstance(entry, bytes):
            node.args += [tree(value) for key, value in fields(entry) if key in (3, 4) and isinstance(value, bytes)]


def _fold(node: Node, data: bytes) -> None:
    node.op, node.name, node.accumulator = "fold", one(data, 1).decode(), one(data, 3).decode()
    node.args = [tree(one(data, number)) for number in _FOLD_CHILDREN]


_READERS = {_IDENT: _ident, _SELECT: _select, _CALL: _call, _LIST: _list, _STRUCT: _struct, _FOLD: _fold}


def parsed(serialized: bytes) -> tuple[Node, dict[int, int]]:
    """Of a serialized ParsedExpr in its Any: the tree, and the position (code points from 0) of each node id."""
    message = one(serialized, 2)
    positions = {}
    for number, entry in fields(one(message, 3)):
        if number == 4 and isinstance(entry, bytes):
            pair = dict(fields(entry))
            key, value = pair.get(1, 0), pair.get(2, 0)
            if isinstance(key, int) and isinstance(value, int):
                positions[key] = value
    return tree(one(message, 2)), positions
