"""What scripts write for answers of http steps and for failures, as the product knows them."""

from typing import Any

from pydantic_core import to_json

from runtime.errors import StepFailed
from runtime.steps.outcome import Outcome
from runtime.steps.response import Answer, check_status

FAILURE = frozenset({"fail", "message", "retryable", "retry_after", "details"})
REPLY = frozenset({"status", "headers", "body"})


def failure_of(entry: Any) -> StepFailed | None:
    """The failure `{fail: code, message?, retryable?, retry_after?, details?}` stands for; None for anything else."""
    if not isinstance(entry, dict) or "fail" not in entry or not entry.keys() <= FAILURE:
        return None
    code, after = str(entry["fail"]), entry.get("retry_after")
    message = str(entry.get("message", f"{code}, as the script says"))
    retry_after = None if after is None else float(after)
    return StepFailed(code, message, retryable=bool(entry.get("retryable", True)), retry_after=retry_after, details=entry.get("details"))


def http_outcome(entry: Any, spec: dict[str, Any]) -> Outcome:
    """The outcome of an http step that was answered `{status?, headers?, body?}`. Raises StepFailed as for a real answer, and for `{fail: …}`."""
    if (failed := failure_of(entry)) is not None:
        raise failed
    if not isinstance(entry, dict) or not entry.keys() <= REPLY:
        raise StepFailed("script_invalid", "write the answer of an http step as {status, headers, body}, or {fail: code}", retryable=False)
    body = entry.get("body")
    media_type = "text/plain" if isinstance(body, str) else "application/json"
    headers = {"content-type": media_type, **{name.lower(): str(value) for name, value in (entry.get("headers") or {}).items()}}
    content = b"" if body is None else body.encode() if isinstance(body, str) else to_json(body)
    answer = Answer(int(entry.get("status", 200)), headers, content)
    check_status(answer, spec["expect"])
    return Outcome({"status": answer.status, "headers": answer.headers, "body": answer.body()})
