"""Which Python functions a definition may name, and how they are called. The only way from a text to code: everything else is refused."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from types import FunctionType
from typing import Any

from runtime.errors import StepFailed

REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z]\w*)", re.ASCII)
CONTEXT = "context"
"""The keyword parameter that receives the step's context."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that may be called, with what a caller has to know of its signature."""

    reference: str
    call: Callable[..., Any]
    is_async: bool
    wants_context: bool
    required: frozenset[str]
    accepted: frozenset[str] | None
    """None when the function takes any keyword (`**kwargs`)."""

    def check(self, args: Mapping[str, Any]) -> None:
        """Raise StepFailed `arguments_invalid`, naming every argument that is missing or unknown."""
        missing = self.required - args.keys()
        unknown = args.keys() - self.accepted if self.accepted is not None else frozenset()
        if not missing and not unknown:
            return
        faults = [f"'{name}' is missing" for name in sorted(missing)] + [f"'{name}' is not a parameter" for name in sorted(unknown)]
        raise StepFailed("arguments_invalid", f"{self.reference}: {', '.join(faults)}", retryable=False)


def resolve(reference: str, allowed: Iterable[str], *, group: str = "agentic_workflows.functions") -> Function:
    """The function `module:function` of a module that is, or is below, one of `allowed`, or that an entry point of `group` names.

    Raises StepFailed, never retryable: `function_not_allowed` or `function_not_found`. Imports the module at the first call.
    """
    return _resolve(reference, tuple(allowed), group)


@lru_cache(maxsize=1024)
def _resolve(reference: str, allowed: tuple[str, ...], group: str) -> Function:
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise _refused(reference, "write module:function, without a leading underscore")
    module, name = match.groups()
    inside = any(module == prefix or module.startswith(f"{prefix}.") for prefix in allowed)
    if not inside and reference not in _installed(group):
        raise _refused(reference, f"its module is not among the allowed ones ({', '.join(allowed) or 'none'})")
    return _described(reference, _function(reference, module, name))


def _function(reference: str, module: str, name: str) -> FunctionType:
    try:
        found = vars(importlib.import_module(module)).get(name)
    except ImportError as error:
        # Not the error's own text: it may show where things are installed.
        raise StepFailed("function_not_found", f"{reference}: cannot import {error.name or module}", retryable=False) from error
    if found is None:
        raise StepFailed("function_not_found", f"{reference}: the module has no function of this name", retryable=False)
    # A name that is merely imported there (`from os import system`) belongs to another module and stays out of reach.
    if not isinstance(found, FunctionType) or found.__module__ != module:
        raise _refused(reference, "it is not a plain function defined in that module")
    return found


def _described(reference: str, function: FunctionType) -> Function:
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.POSITIONAL_ONLY for parameter in parameters):
        raise _refused(reference, "it has positional-only parameters; steps pass keywords")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _refused(reference, "it is a generator; return a list instead")
    named = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)]
    wants_context = any(parameter.name == CONTEXT for parameter in named)
    return Function(
        reference=reference,
        call=function,
        is_async=inspect.iscoroutinefunction(function),
        wants_context=wants_context,
        required=frozenset(parameter.name for parameter in named if parameter.default is parameter.empty) - {CONTEXT},
        accepted=None
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        else frozenset(parameter.name for parameter in named) - {CONTEXT},
    )


@lru_cache(maxsize=8)
def _installed(group: str) -> frozenset[str]:
    return frozenset(point.value for point in entry_points(group=group))


def _refused(reference: str, reason: str) -> StepFailed:
    return StepFailed("function_not_allowed", f"{reference[:300]}: {reason}", retryable=False)
