"""Every error the product raises on purpose: one tree, each class with a stable code. `runtime/api/problems.py` maps codes to HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a user wrote.

    `pointer` is an RFC 6901 JSON pointer into the document; `line` and `column` count from 1 and are None when the
    document had no text (a Python dict, a JSON body).
    """

    pointer: str
    detail: str
    line: int | None = None
    column: int | None = None


class AgenticError(Exception):
    """Root of the tree. `str(error)` is one sentence a user may read: no secret, no stack, no SQL."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), run_id: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.run_id = run_id
        self.retry_after = retry_after


class DefinitionInvalid(AgenticError):
    """The definition has problems; all of them are listed."""

    code = "definition_invalid"


class InputInvalid(AgenticError):
    """The inputs of a run, a signal or an approval do not fit their schema."""

    code = "input_invalid"


class RequestInvalid(AgenticError):
    """The request itself is malformed: bad JSON, unknown field, wrong type, bad cursor."""

    code = "request_invalid"


class NotFound(AgenticError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class Conflict(AgenticError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class RunEnded(Conflict):
    """The run has already ended, so it can no longer be changed."""

    code = "run_ended"


class AlreadyDecided(Conflict):
    """The approval was already decided; the first decision stands."""

    code = "already_decided"


class VersionChanged(Conflict):
    """`If-Match` names another version than the current one."""

    code = "version_changed"


class Replayed(Conflict):
    """A signed message with this id was received before; its run exists."""

    code = "replayed"


class IdempotencyMismatch(AgenticError):
    """This idempotency key was used before with another payload."""

    code = "idempotency_mismatch"


class LimitExceeded(AgenticError):
    """A stated limit was reached."""

    code = "limit_exceeded"


class PayloadTooLarge(LimitExceeded):
    """The body or value is larger than its limit."""

    code = "payload_too_large"


class Unauthorized(AgenticError):
    """The request carries no valid API key."""

    code = "unauthorized"


class SignatureInvalid(AgenticError):
    """A message to a hook is not signed as it must be."""

    code = "signature_invalid"


class Forbidden(AgenticError):
    """The API key does not allow this."""

    code = "forbidden"


class Overloaded(AgenticError):
    """A bounded queue is full; try again after `retry_after` seconds."""

    code = "overloaded"


class ConcurrencyLimit(Overloaded):
    """The workflow has as many runs as its limit of concurrency allows and refuses further ones."""

    code = "concurrency_limit"


class StoreUnavailable(AgenticError):
    """The database does not answer or is full; nothing was changed, or the outcome is not known yet."""

    code = "store_unavailable"


class ArtifactStoreFull(StoreUnavailable):
    """The artifact store has no room, or may not be written to; what is stored can still be read."""

    code = "artifact_store_full"


class SecretUnreadable(AgenticError):
    """A stored secret cannot be decrypted: it was encrypted with another SECRET_KEY, or its row was changed. Nothing is overwritten."""

    code = "secret_unreadable"


class SchemaMismatch(AgenticError):
    """The database's schema is not the one this version of the product works with."""

    code = "schema_mismatch"


class JournalDamaged(AgenticError):
    """A row of this run's journal fails its checksum; the run cannot go on, all others can."""

    code = "journal_damaged"


class ArtifactMissing(AgenticError):
    """An artifact the journal names cannot be read."""

    code = "artifact_missing"


class ExpressionFailed(AgenticError):
    """An expression could not be evaluated on the values it was given."""

    code = "expression_failed"


class InvalidTransition(AgenticError):
    """An event does not fit the state it meets: a broken invariant. The run is stopped, never the server."""

    code = "invalid_transition"


class RunPoisoned(AgenticError):
    """Processes died in the middle of this run's turns, again and again, without any progress: it is ended, the others go on."""

    code = "poison"


class StepFailed(AgenticError):
    """A step ended without a result.

    `error_code` is stable and may be named in `retry.non_retryable`; `retryable` says whether another attempt makes sense at all;
    `retry_after` (seconds) is what the other side asked for; `details` is JSON.
    """

    code = "step_failed"

    def __init__(
        self,
        error_code: str,
        message: str,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.error_code = error_code
        self.retryable = retryable
        self.details = details or {}
