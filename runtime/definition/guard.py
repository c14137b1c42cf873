"""Make loops of CEL deterministic: `map`, `filter`, `exists`… may go over lists only.

The order of an object's keys is random in each process, so that `object.map(k, k)` would be another list after a crash. In the checked
program every loop's range `r` becomes `r + []`, which is free for a list and an error for an object. `keys(object)` gives the sorted keys.
"""

from runtime.definition.tree import fields

_EMPTY_LIST_FIELD = 7


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes_field(number: int, data: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(data)) + data


def _int_field(number: int, value: int) -> bytes:
    return _number(number << 3) + _number(value)


class _Guard:
    """Rewrites expressions; new nodes get ids no node has."""

    def __init__(self, first_id: int) -> None:
        self.id = first_id

    def expr(self, data: bytes) -> bytes:
        return _rewrite(data, {5: self._select, 6: self._call, 7: self._list, 8: self._struct, 9: self._fold})

    def _select(self, data: bytes) -> bytes:
        return _rewrite(data, {1: self.expr})

    def _call(self, data: bytes) -> bytes:
        return _rewrite(data, {1: self.expr, 3: self.expr})

    def _list(self, data: bytes) -> bytes:
        return _rewrite(data, {1: self.expr})

    def _struct(self, data: bytes) -> bytes:
        return _rewrite(data, {2: lambda entry: _rewrite(entry, {3: self.expr, 4: self.expr})})

    def _fold(self, data: bytes) -> bytes:
        return _rewrite(data, {2: self._range, 4: self.expr, 5: self.expr, 6: self.expr, 7: self.expr})

    def _range(self, data: bytes) -> bytes:
        inner = self.expr(data)
        empty = _int_field(2, self.id) + _bytes_field(_EMPTY_LIST_FIELD, b"")
        call = _bytes_field(2, b"_+_") + _bytes_field(3, inner) + _bytes_field(3, empty)
        self.id += 2
        return _int_field(2, self.id - 1) + _bytes_field(6, call)


def _rewrite(data: bytes, changes: dict) -> bytes:  # type: ignore[type-arg]  # values are functions bytes -> bytes
    """The message with the fields named in `changes` rewritten; everything else byte for byte as it was."""
    out = bytearray()
    for number, value in fields(data):
        if isinstance(value, int):
            out += _int_field(number, value)
        elif number in changes:
            out += _bytes_field(number, changes[number](value))
        else:
            out += _bytes_field(number, value)
    return bytes(out)


def guarded(serialized: bytes, first_id: int) -> bytes:
    """A serialized CheckedExpr (in its Any) whose loops go over lists only; `first_id` is above every id in it."""
    guard = _Guard(first_id)
    return _rewrite(serialized, {2: lambda checked: _rewrite(checked, {4: guard.expr})})
