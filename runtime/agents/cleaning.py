"""What a model answers, without secrets of this process: a provider that repeats a key in its answer must not bring it into journals and prompts."""

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from runtime.agents.asking import Ask, Request
from runtime.redaction import redact

if TYPE_CHECKING:  # pydantic_ai costs a process 1 s and 60 MB
    from pydantic_ai.messages import ModelResponse

_SAID = ("content", "args", "provider_details")
_TOLD = ("provider_url", "provider_details")
"""Where parts of an answer, and an answer, keep texts from outside. The URL is the one that was asked: it may hold a password."""


async def cleaned(request: Request, ask: Ask) -> "ModelResponse":
    """The answer, cleaned before anybody sees it. A layer, and the innermost of all."""
    response = await ask(request)
    _clean(response, _TOLD)
    for part in response.parts:
        _clean(part, _SAID)
    return response


def _clean(what: Any, names: tuple[str, ...]) -> None:
    for name in names:
        said: Any = getattr(what, name, None)
        if isinstance(said, str):
            setattr(what, name, redact.known(said))
        elif isinstance(said, (dict, list)):
            setattr(what, name, redact.value(said, to_json(said, inf_nan_mode="strings", fallback=str).decode()))
