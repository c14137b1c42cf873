"""JSON that a client brings: small values stand in the journal, large ones in the artifact store."""

from typing import Any

from pydantic_core import to_json

from runtime.artifacts.protocol import ArtifactStore
from runtime.errors import InputInvalid, PayloadTooLarge, Problem
from runtime.references import REFERENCE
from runtime.values import INLINE_LIMIT, reference


async def keep(value: Any, artifacts: ArtifactStore, *, limit: int, pointer: str = "") -> Any:
    """What stands for `value` in the journal: itself, or a reference to it once it is stored.

    Raises PayloadTooLarge beyond `limit` bytes of JSON, and InputInvalid when a reference was written by hand anywhere
    in it: whoever knows a hash could otherwise read what belongs to somebody else.
    """
    data = to_json(value)
    if len(data) > limit:
        raise PayloadTooLarge(f"the value has {len(data)} bytes of JSON; {limit} are allowed")
    if b'"$artifact"' in data:
        _refuse_references(value, pointer)
    if len(data) <= INLINE_LIMIT:
        return value
    return reference(*await artifacts.put(data, limit=limit))


def _refuse_references(value: Any, pointer: str) -> None:
    if isinstance(value, dict):
        if REFERENCE in value:
            detail = f"the key {REFERENCE} is reserved"
            raise InputInvalid(detail, problems=[Problem(pointer, detail)])
        for key, item in value.items():
            _refuse_references(item, f"{pointer}/{escape(key)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_references(item, f"{pointer}/{index}")


def escape(key: str) -> str:
    """One token of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def moved(problems: tuple[Problem, ...] | list[Problem], prefix: str) -> list[Problem]:
    """The same problems, their pointers below `prefix`: a schema knows the value, the client knows the body around it."""
    return [Problem(prefix + problem.pointer, problem.detail, problem.line, problem.column) for problem in problems]
