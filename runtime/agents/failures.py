"""What went wrong while asking a model, as an error the engine can act on."""

import re
from typing import Any

from pydantic_ai import exceptions as ai

from runtime.errors import StepFailed
from runtime.redaction import redact

# The first match counts: special before general.
_KINDS: tuple[tuple[type[Exception], str, bool], ...] = (
    (ai.ModelRateLimitError, "rate_limited", True),
    (ai.ModelQuotaExceededError, "quota_exceeded", False),
    (ai.ModelAuthenticationError, "provider_unauthorized", False),
    (ai.ModelNotFoundError, "model_not_found", False),
    (ai.ModelContextWindowExceededError, "context_too_long", False),
    (ai.ModelRequestRejectedError, "model_request_refused", False),
    (ai.ModelTimeoutError, "timeout", True),
    (TimeoutError, "timeout", True),
    (ai.ModelUnavailableError, "provider_unavailable", True),
    (ai.ModelServerError, "provider_unavailable", True),
    (ai.ModelConnectionError, "provider_unavailable", True),
    (ai.ContentFilterError, "content_filtered", False),
    (ai.UsageLimitExceeded, "agent_limit", False),
    (ai.UnexpectedModelBehavior, "model_output_invalid", True),
)
_QUOTED = re.compile(r"input_value=.*?, (?=input_type=)", re.DOTALL)
"""What pydantic quotes of an answer it cannot read: cut in the middle, where nobody finds a secret any more."""
MAX_DETAIL = 500
"""Characters of what the provider says that are passed on."""


def classify(error: Exception, provider: str, secrets: tuple[str, ...]) -> StepFailed:
    """An error of a model request or of the loop as StepFailed, with the provider's wish to be asked later, and without its secrets."""
    if (already := _classified(error)) is not None:
        return already
    code, retryable = _kind(error)
    redact.know(*secrets)
    message = _sentence(error, code, provider)
    return StepFailed(code, message, retryable=retryable, retry_after=getattr(error, "retry_after", None))


def _classified(error: BaseException | None) -> StepFailed | None:
    """A StepFailed that this is, or that SDKs have wrapped: our transport raises it under their feet."""
    while error is not None and not isinstance(error, StepFailed):
        error = error.__cause__
    return error


def _kind(error: Exception) -> tuple[str, bool]:
    for kind, code, retryable in _KINDS:
        if isinstance(error, kind):
            return code, retryable
    if isinstance(error, ai.ModelHTTPError):
        # Statuses without a meaning of their own: 408 and 409 pass, redirects and other refusals do not.
        return ("provider_unavailable", True) if error.status_code in (408, 409, 425) else ("model_request_refused", False)
    if isinstance(error, ai.UserError):
        return "agent_invalid", False
    # What is left are answers no one can read: broken JSON, JSON of another shape, a page of a proxy.
    return "model_output_invalid", True


def _sentence(error: Exception, code: str, provider: str) -> str:
    if code == "provider_unauthorized":
        return f"{provider} does not accept the API key, or the key may not use this model"
    if isinstance(error, ai.ModelHTTPError):
        return f"{provider} answered {error.status_code}: {_said(error.body)}"
    if isinstance(error, ai.ModelTimeoutError | TimeoutError):
        return f"{provider} did not answer in time"
    if isinstance(error, ai.ModelConnectionError):
        return f"{provider} cannot be reached"
    text = error.message if isinstance(error, ai.AgentRunError) else f"{type(error).__name__}: {error}"
    text = _QUOTED.sub("", text)
    return redact(f"the answer of {provider} cannot be used: {text}" if code == "model_output_invalid" else text)[:MAX_DETAIL]


def _said(body: Any) -> str:
    """The message of an error body, `{"message": …}` or `{"error": {"message": …}}`. Cut when it has no secrets any more: a half would not be found."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    text = inner.get("message") if isinstance(inner, dict) else inner
    return redact(str(text or "no explanation"))[:MAX_DETAIL]
