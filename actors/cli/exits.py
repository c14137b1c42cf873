"""How the command ends: one exit code per outcome, and the one exception that carries it."""

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, for scripts. Listed in `agentic --help`."""

    OK = 0
    FAILED = 1
    """The run failed, or a check found something wrong."""
    USAGE = 2
    """Wrong usage, or input that does not fit: a definition, inputs, a form."""
    NOT_FOUND = 3
    UNREACHABLE = 4
    """The platform does not answer, or its database does not."""
    CANCELED = 5
    REFUSED = 6
    """No valid API key, or the key does not allow it."""
    CONFLICT = 7
    """The thing is in a state that does not allow this."""
    LIMIT = 8
    """A stated limit was reached; try again later or with less."""
    INTERRUPTED = 130


SUMMARY = "Exit codes: " + " · ".join(
    (
        "0 ok",
        "1 the run or a check failed",
        "2 wrong usage or invalid input",
        "3 not found",
        "4 cannot reach the platform",
        "5 canceled",
        "6 refused (API key)",
        "7 conflict",
        "8 limit reached",
        "130 interrupted",
    )
)

_BY_CODE = {
    "definition_invalid": Exit.USAGE,
    "input_invalid": Exit.USAGE,
    "request_invalid": Exit.USAGE,
    "malformed": Exit.USAGE,
    "unsupported_media_type": Exit.USAGE,
    "method_not_allowed": Exit.USAGE,
    "host_not_allowed": Exit.REFUSED,
    "idempotency_mismatch": Exit.USAGE,
    "expression_failed": Exit.USAGE,
    "not_found": Exit.NOT_FOUND,
    "artifact_missing": Exit.NOT_FOUND,
    "store_unavailable": Exit.UNREACHABLE,
    "secret_unreadable": Exit.UNREACHABLE,
    "unauthorized": Exit.REFUSED,
    "signature_invalid": Exit.REFUSED,
    "forbidden": Exit.REFUSED,
    "conflict": Exit.CONFLICT,
    "replayed": Exit.CONFLICT,
    "run_ended": Exit.CONFLICT,
    "already_decided": Exit.CONFLICT,
    "version_changed": Exit.CONFLICT,
    "limit_exceeded": Exit.LIMIT,
    "payload_too_large": Exit.LIMIT,
    "overloaded": Exit.LIMIT,
}


def exit_for_code(code: str) -> Exit:
    """The exit code for an error's stable code."""
    return _BY_CODE.get(code, Exit.FAILED)


def exit_for_run(status: str) -> Exit:
    """The exit code for how a run ended."""
    return {"succeeded": Exit.OK, "canceled": Exit.CANCELED}.get(status, Exit.FAILED)


class CommandError(Exception):
    """The command cannot go on: a sentence for the user, details below it, and the exit code."""

    def __init__(self, message: str, exit_code: Exit = Exit.FAILED, *, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.details = tuple(details)
