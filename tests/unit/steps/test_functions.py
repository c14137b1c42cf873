"""Which functions a definition reaches, and which never."""

import pytest

from runtime.errors import StepFailed
from runtime.steps import functions
from runtime.steps.functions import resolve

ALLOWED = ["sample_steps"]


@pytest.mark.parametrize(
    "reference",
    [
        *("os:system", "subprocess:run", "builtins:eval", "importlib:import_module", "sys:exit", "runtime.settings:Settings"),
        *("sample_steps:system", "sample_steps:run", "sample_steps:StepFailed", "sample_steps:CallableObject", "sample_steps:instance", "sample_steps:counter"),
        *("sample_steps:_private", "sample_steps:__builtins__", "sample_steps:generator", "sample_steps_evil:run", "sample_stepsx:f"),
        *("sample_steps", "sample_steps:", ":noop", "sample_steps:noop:noop", "sample_steps:noop()", "sample_steps..x:noop", ".sample_steps:noop"),
        *("sample_steps:os.system", "sample_steps:noop\n", "os :system", "../x:y", "sample_steps:CallableObject.__call__", "\u017fample_steps:noop", ""),
    ],
)
def test_everything_else_is_refused(reference):
    with pytest.raises(StepFailed) as caught:
        resolve(reference, ALLOWED)
    assert caught.value.error_code == "function_not_allowed"
    assert not caught.value.retryable


@pytest.mark.parametrize("reference", ["sample_steps:missing", "sample_steps.missing:noop"])
def test_what_is_not_there_is_said_so(reference):
    with pytest.raises(StepFailed) as caught:
        resolve(reference, ALLOWED)
    assert caught.value.error_code == "function_not_found"
    assert "/" not in str(caught.value)


def test_signature_is_known():
    function = resolve("sample_steps:about", ALLOWED)
    assert (function.is_async, function.wants_context, function.required, function.accepted) == (True, True, frozenset(), frozenset())
    function = resolve("sample_steps:add_in_thread", ALLOWED)
    assert (function.is_async, function.required, function.accepted) == (False, {"a"}, {"a", "b"})
    assert resolve("sample_steps:echo", ALLOWED).accepted is None


def test_entry_points_open_single_functions(monkeypatch):
    functions._resolve.cache_clear()
    monkeypatch.setattr(functions, "_installed", lambda group: frozenset({"sample_steps:noop"}) if group == "mine" else frozenset())
    assert resolve("sample_steps:noop", [], group="mine").is_async
    for reference, group in (("sample_steps:add", "mine"), ("sample_steps:noop", "other")):
        with pytest.raises(StepFailed):
            resolve(reference, [], group=group)
    functions._resolve.cache_clear()
