"""Hooks: addresses that start runs of one workflow. What comes in is a typed input of a stored definition, and nothing else."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.clock import Clock, SystemClock
from runtime.definition.names import Names
from runtime.definition.templates import TemplateInvalid, compile_value
from runtime.errors import ExpressionFailed, IdempotencyMismatch, InputInvalid, NotFound, Problem, Replayed, RequestInvalid, SignatureInvalid
from runtime.gateway.buckets import Buckets
from runtime.gateway.gateway import Gateway
from runtime.gateway.payloads import moved
from runtime.gateway.starts import Started, StartRequest
from runtime.ids import is_uuid, uuid7
from runtime.redaction import redact
from runtime.secrets import SecretBox
from runtime.signatures import is_hmac_hex, is_standard, key_of, new_secret
from runtime.store.webhooks import HookRow
from runtime.store.webhooks import Hooks as HookStore
from runtime.tokens import HOOK, Key, make, parse

NONE, STANDARD, HMAC_HEX = "none", "standard", "hmac-sha256-hex"
HEADER = "X-Hub-Signature-256"
MAX_KEY = 255
"""Characters of an idempotency key, the hook's own part included."""

Header = Callable[[str], str | None]
"""The one value of a request header; None when it is absent or stands there more than once."""


@dataclass(frozen=True, slots=True)
class HookRequest:
    """A hook to make. Without `inputs` the whole body is the inputs of the run; with, they are rendered over `body`."""

    name: str
    workflow: str
    version: str | None = None
    verify: str = STANDARD
    secret: str | None = None
    header: str | None = None
    inputs: dict[str, Any] | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A hook whose token and secret were just made: the only moment they can be read."""

    hook: HookRow
    token: str = field(repr=False)
    secret: str | None = field(repr=False)


class Hooks:
    """Makes hooks, and starts what they ask for."""

    def __init__(self, store: HookStore, gateway: Gateway, box: SecretBox, clock: Clock | None = None) -> None:
        self._store = store
        self._gateway = gateway
        self._box = box
        self._clock = clock or SystemClock()
        self._buckets = Buckets(gateway.settings.hook_requests_per_minute, self._clock)

    async def create(self, tenant: str, request: HookRequest) -> Fresh:
        """Raises NotFound (workflow), RequestInvalid, TemplateInvalid, Conflict, LimitExceeded."""
        stored = await self._gateway.workflow(tenant, request.workflow, request.version)
        _check_inputs(request.inputs, [*stored.document.get("inputs", {})])
        secret = _secret(request)
        header = (request.header or HEADER) if request.verify == HMAC_HEX else None
        token, now = make(HOOK), self._clock.now()
        row = HookRow(
            hook_id=uuid7(now),
            tenant=tenant,
            name=request.name,
            workflow=request.workflow,
            version=request.version,
            token_id=token.key_id,
            digest=token.digest,
            verify=request.verify,
            header=header,
            secret=None,
            inputs=request.inputs,
            labels=request.labels,
            created_at=now,
        )
        row = replace(row, secret=self._sealed(secret, row))
        await self._store.add(row)
        return Fresh(row, token.text, secret)

    async def hook(self, tenant: str, hook_id: str) -> HookRow:
        """Raises NotFound, also for one of another tenant."""
        return _found(await self._store.hook(tenant, hook_id) if is_uuid(hook_id) else None, hook_id)

    async def hooks(self, tenant: str) -> list[HookRow]:
        """By name."""
        return await self._store.hooks(tenant)

    async def remove(self, tenant: str, hook_id: str) -> None:
        """Its address is worth nothing from now on. Raises NotFound."""
        if not is_uuid(hook_id) or not await self._store.remove(tenant, hook_id):
            raise _missing(hook_id)

    async def rotate(self, tenant: str, hook_id: str) -> Fresh:
        """Another address and, where signatures are checked, another secret; the ones before end at once. Raises NotFound."""
        row, token = await self.hook(tenant, hook_id), make(HOOK)
        secret = None if row.verify == NONE else new_secret()
        rotated = await self._store.rotate(tenant, hook_id, token_id=token.key_id, digest=token.digest, secret=self._sealed(secret, row))
        return Fresh(_found(rotated, hook_id), token.text, secret)

    async def admit(self, token: str) -> HookRow:
        """Whose address this is. The same for an unknown token as for one that is nearly right. Raises NotFound, Overloaded."""
        key = parse(token) or Key("", "", token)
        row = await self._store.by_token(key.key_id)
        if not key.matches(row.digest if row is not None else None) or row is None:
            raise NotFound("there is no hook at this address")
        self._buckets.take(row.hook_id)
        return row

    def check(self, hook: HookRow, header: Header, body: bytes) -> None:
        """Raises SignatureInvalid, in the same words whatever is wrong, and SecretUnreadable."""
        if hook.verify != NONE and not self._is_signed(hook, header, body):
            raise SignatureInvalid("the signature is missing or wrong, or the message is too old")

    async def start(self, hook: HookRow, body: Any, header: Header, *, traceparent: str | None = None) -> Started:
        """Start the run this message asks for. Raises InputInvalid, Replayed, IdempotencyMismatch, NotFound, Overloaded, PayloadTooLarge."""
        key = _idempotency_key(hook, header)
        inputs = _inputs(hook, body)
        wanted = StartRequest(hook.workflow, inputs, hook.version, labels=hook.labels, idempotency_key=key, traceparent=traceparent, user=f"hook:{hook.name}")
        try:
            started = await self._gateway.start(hook.tenant, wanted)
        except IdempotencyMismatch:
            if hook.verify != STANDARD:
                raise
            raise Replayed("a message with this id has been received before") from None
        if hook.verify == STANDARD and not started.created:
            raise Replayed("this message has been received before", run_id=started.run.run_id)
        return started

    def _is_signed(self, hook: HookRow, header: Header, body: bytes) -> bool:
        secret = self._box.open(hook.secret or "", hook.place).decode()
        redact.know(secret)
        if hook.verify == STANDARD:
            message_id, timestamp, signatures = (header(f"webhook-{name}") or "" for name in ("id", "timestamp", "signature"))
            return is_standard(key_of(secret), message_id, timestamp, signatures, body, now=self._clock.now())
        return is_hmac_hex(secret.encode(), header(hook.header or HEADER) or "", body)

    def _sealed(self, secret: str | None, row: HookRow) -> str | None:
        return None if secret is None else self._box.seal(secret.encode(), row.place)


def _secret(request: HookRequest) -> str | None:
    """The secret to check with: the caller's or a new one. Raises RequestInvalid."""
    if request.verify == NONE:
        if request.secret is not None:
            raise _invalid("/secret", "without a check of signatures there is no use for a secret")
        return None
    secret = request.secret or new_secret()
    if request.verify == STANDARD:
        try:
            key_of(secret)
        except ValueError:
            raise _invalid("/secret", "write whsec_ and 24 to 64 bytes in base64, or leave it out") from None
    return secret


def _check_inputs(inputs: Mapping[str, Any] | None, known: Sequence[str]) -> None:
    """Raises TemplateInvalid, RequestInvalid."""
    if inputs is None:
        return
    try:
        compile_value(dict(inputs), Names({"body": "dyn"}))
    except TemplateInvalid as error:
        raise TemplateInvalid(str(error), problems=moved(error.problems, "/inputs")) from None
    unknown = [name for name in inputs if name not in known]
    if unknown:
        raise _invalid(f"/inputs/{unknown[0]}", "the workflow has no such input")


def _inputs(hook: HookRow, body: Any) -> dict[str, Any]:
    """The inputs of the run. Raises InputInvalid."""
    if hook.inputs is None:
        if not isinstance(body, dict):
            raise _unfit("the body must be an object: one field for each input")
        return body
    try:
        rendered: dict[str, Any] = compile_value(hook.inputs).render({"body": body})
    except ExpressionFailed as error:
        raise _unfit(str(error)) from None
    return rendered


def _idempotency_key(hook: HookRow, header: Header) -> str | None:
    """The sender's id for this message, as the tenant's keys have it."""
    name = "webhook-id" if hook.verify == STANDARD else "idempotency-key"
    given = header(name)
    if given is None:
        return None
    key = f"hook:{hook.hook_id}:{given}"
    if len(key) <= MAX_KEY and given.isascii() and given.isprintable():
        return key
    return f"hook:{hook.hook_id}:sha256:{hashlib.sha256(given.encode('utf-8', 'replace')).hexdigest()}"


def _found(row: HookRow | None, hook_id: str) -> HookRow:
    if row is None:
        raise _missing(hook_id)
    return row


def _missing(hook_id: str) -> NotFound:
    return NotFound(f"there is no hook {hook_id[:100]}")


def _invalid(pointer: str, detail: str) -> RequestInvalid:
    return RequestInvalid(detail, problems=[Problem(pointer, detail)])


def _unfit(detail: str) -> InputInvalid:
    return InputInvalid(detail, problems=[Problem("", detail)])
