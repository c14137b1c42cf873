"""Limits of concurrency: what a definition says, as the columns of a run that is about to be made."""

import json
from typing import Any

from runtime.definition.plan import Plan
from runtime.errors import ExpressionFailed, InputInvalid, Problem

MAX_KEY_BYTES = 200
"""Of a key's JSON: keys stand in indexes."""


def slot_columns(plan: Plan, tenant: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The `slot_…` fields of a run with these inputs; none when its workflow has no limits. Raises InputInvalid for a key that is none.

    Runs of one group share their limits: those of the workflow, or where there is only `per_key`, those of one key alone,
    so that keys which have nothing to do with each other do not wait for each other in the database either.
    """
    limits = plan.definition.concurrency
    if limits is None:
        return {}
    key = "" if plan.slot_key is None else _key(plan, inputs)
    group = [plan.definition.name, tenant] if limits.limit is not None else [plan.definition.name, tenant, key]
    return {
        "slot_group": json.dumps(group, ensure_ascii=False),
        "slot_key": key,
        "slot_limit": limits.limit,
        "slot_per_key": limits.per_key,
        "slot_on_limit": limits.on_limit,
        "slot_held": False,
    }


def _key(plan: Plan, inputs: dict[str, Any]) -> str:
    """The JSON of the concurrency key. Raises InputInvalid."""
    if plan.slot_key is None:
        return ""
    scope = {"inputs": inputs, **{f"inputs.{name}": value for name, value in inputs.items()}}
    try:
        key = plan.slot_key.evaluate(scope)
    except ExpressionFailed as error:
        raise _refused(f"the concurrency key of workflow '{plan.definition.name}' cannot be evaluated: {error}") from None
    if not isinstance(key, str | bool | int | float):
        raise _refused(f"the concurrency key of workflow '{plan.definition.name}' is neither text nor a number nor true or false")
    if isinstance(key, float) and key.is_integer():
        key = int(key)  # 3 and 3.0 are one number
    text = json.dumps(key, ensure_ascii=False).encode("utf-8", "replace")
    if len(text) > MAX_KEY_BYTES:
        raise _refused(f"the concurrency key of workflow '{plan.definition.name}' has {len(text)} bytes; {MAX_KEY_BYTES} are allowed")
    return text.decode()


def _refused(detail: str) -> InputInvalid:
    return InputInvalid(detail, problems=[Problem("", detail)])
