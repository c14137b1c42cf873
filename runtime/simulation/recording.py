"""From the journal of a run that has ended to its cassette."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from runtime.definition.types import MAX_DURATION_MS, format_duration
from runtime.engine.retry import CRASH_CODES
from runtime.engine.state import split_key
from runtime.errors import Conflict, PayloadTooLarge
from runtime.ids import derived_uuid7
from runtime.references import REFERENCE, is_reference
from runtime.simulation.cassette import FORMAT, Answered, Attempt, Call, Cassette, Entry, Run, Saved, Sent
from runtime.simulation.redaction import Redaction

KEPT = frozenset({"agent", "http", "python"})
"""Kinds of steps whose results are kept: the others follow from them."""
MAX_SAVED = 2**20
"""Bytes of an artifact that is kept."""
NOBODY = frozenset({"expiry", "canceled"})
"""Who settles an approval that no person has answered."""


class Origin(Protocol):
    """Where runs are read: the platform over its API, or a gateway in this process. All JSON is as the API shows it."""

    async def run(self, run_id: str) -> dict[str, Any]: ...

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        """The whole journal."""
        ...

    async def kinds(self, run_id: str) -> dict[str, str]:
        """Step → kind."""
        ...

    async def value(self, run_id: str, sha256: str) -> Any:
        """A large value."""
        ...

    async def artifact(self, run_id: str, name: str) -> bytes: ...


async def record(origin: Origin, run_id: str, redaction: Redaction) -> Cassette:
    """The cassette of a run, its child runs included. Raises Conflict while it has not ended, PayloadTooLarge, and what `origin` raises."""
    run = await origin.run(run_id)
    if run["status"] not in {"succeeded", "failed", "canceled"}:
        raise Conflict(f"the run is {run['status']}; only a run that has ended can be recorded", run_id=run_id)
    reels: list[_Reel] = []
    await _read(origin, run_id, "", redaction, reels)
    body = reels[0].created
    return Cassette(
        cassette=FORMAT,
        workflow=run["workflow"],
        version=run["version"],
        run=Run(id=run_id, mode=run["mode"], seed=body["body"]["seed"], created_at=body["at"], status=run["status"]),
        inputs=redaction.of(await _whole(origin, run_id, body["body"]["inputs"])),
        steps=_joined(reels),
        approvals=[one for reel in reels for one in reel.answered],
        signals=[one for reel in reels for one in reel.sent],
        outputs=redaction.of(await _whole(origin, run_id, run["output"])),
    )


async def _read(origin: Origin, run_id: str, path: str, redaction: Redaction, reels: list["_Reel"]) -> None:
    reel = _Reel(origin, run_id, path, await origin.kinds(run_id), redaction)
    reels.append(reel)
    for event in await origin.events(run_id):
        await reel.take(event)
    reel.close()
    for place, child in reel.children:
        await _read(origin, child, f"{path}{place}/", redaction, reels)


def _joined(reels: Sequence["_Reel"]) -> list[Entry]:
    """One entry for each step and item: a child run that was started anew goes on where the one before has failed."""
    found: dict[tuple[str, int | None], Entry] = {}
    for reel in reels:
        for (key, index), attempts in reel.attempts.items():
            path = f"{reel.path}{key}"
            entry = found.setdefault((path, index), Entry(step=path, index=index, kind=reel.kinds[split_key(key)[0]], attempts=[]))
            entry.attempts += attempts
    return list(found.values())


async def _whole(origin: Origin, run_id: str, value: Any) -> Any:
    """`value`, with what is stored elsewhere in its place."""
    if is_reference(value):
        return await origin.value(run_id, value[REFERENCE]["sha256"])
    if isinstance(value, list) and any(map(is_reference, value)):
        return [await _whole(origin, run_id, part) for part in value]
    return value


def _ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)


class _Reel:
    """What the journal of one run says of the world outside."""

    def __init__(self, origin: Origin, run_id: str, path: str, kinds: dict[str, str], redaction: Redaction) -> None:
        self.path, self.kinds = path, kinds
        self.attempts: dict[tuple[str, int | None], list[Attempt]] = {}
        self.answered: list[Answered] = []
        self.sent: list[Sent] = []
        self.children: list[tuple[str, str]] = []
        self.created: dict[str, Any] = {}
        self._origin, self._run_id, self._redaction = origin, run_id, redaction
        self._open: dict[tuple[str, int | None], Attempt] = {}
        self._now: dict[str, str] = {}
        """Step → key of what is under way."""
        self._asked: dict[str, tuple[str, int]] = {}
        self._waiting: dict[str, int] = {}
        """Signal → since when (ms) a step has waited for it."""

    async def take(self, event: dict[str, Any]) -> None:
        """One event, in order."""
        handler = getattr(self, "_" + event["event"].replace(".", "_"), None)
        if handler is not None:
            await handler(event, event.get("body") or {})

    def close(self) -> None:
        """After the last event: what is still open was canceled with the run."""
        for attempt in self._open.values():
            attempt.error = {"code": "canceled", "message": "the step was canceled", "retryable": False}

    async def _run_created(self, event: dict[str, Any], _body: dict[str, Any]) -> None:
        self.created = event

    async def _step_started(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        self._now[split_key(event["step"])[0]] = event["step"]
        if "total" not in body:
            self._begin(event["step"], None)

    async def _items_started(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        name = event["step"]
        for first, last in body["items"]:
            for index in range(first, last + 1):
                self._begin(name, index)
                if self.kinds[name] == "workflow":
                    child = derived_uuid7(_ms(self.created["at"]), self._run_id, name, index, body["attempt"])
                    self.children.append((f"{name}[{index}]", child))

    async def _call_finished(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        attempt = self._open.get((event["step"], body.get("index")))
        if attempt is not None:
            kept = {name: body.get(name) for name in ("name", "n", "id", "asked", "usage")}
            result = body.get("result")
            if body["name"] == "tools":  # what they are stands in the artifact store
                result = await _whole(self._origin, self._run_id, result)
            attempt.calls.append(Call(**kept, result=self._redaction.of(result)))

    async def _step_retrying(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        self._failed(event["step"], None, body["error"])

    async def _step_failed(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        self._failed(self._now.get(event["step"], event["step"]), None, body["error"])

    async def _step_succeeded(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        await self._done(self._now.get(event["step"], event["step"]), None, body.get("output"), body.get("artifacts") or ())

    async def _step_iterated(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        await self._done(f"{event['step']}#{body['iteration']}", None, body.get("output"), body.get("artifacts") or ())

    async def _step_reused(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        self._begin(event["step"], None)
        await self._done(event["step"], None, body.get("output"), body.get("artifacts") or ())

    async def _items_finished(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        name, saved = event["step"], body.get("artifacts") or ()
        for index, output in body.get("done") or ():
            await self._done(name, index, output, [one for one in saved if _names(output, one)])
        for index, _, error in body.get("failed") or ():
            self._failed(name, index, error)
        for index, _, error, _ in body.get("retrying") or ():
            self._failed(name, index, error)

    async def _items_reused(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        for index, _ in body.get("done") or ():
            self._begin(event["step"], index)
        await self._items_finished(event, {"done": body.get("done")})

    async def _step_waiting(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        if body.get("for") == "child":
            self.children.append((split_key(event["step"])[0], body["child"]))
        elif body.get("for") == "signal":
            self._waiting[body["name"]] = _ms(event["at"])

    async def _approval_requested(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        self._asked[body["approval_id"]] = (split_key(event["step"])[0], _ms(event["at"]))

    async def _approval_resolved(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        step, since = self._asked[body["approval_id"]]
        if body.get("by") not in NOBODY:
            form = await _whole(self._origin, self._run_id, body.get("form"))
            given = self._redaction.of({"form": form, "comment": body.get("comment"), "by": body.get("by")})
            self.answered.append(Answered(step=step, approved=body["approved"], **given, after=_pause(_ms(event["at"]) - since)))

    async def _signal_received(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        at = _ms(event["at"])
        payload = self._redaction.of(await _whole(self._origin, self._run_id, body.get("payload")))
        self.sent.append(Sent(signal=body["name"], payload=payload, after=_pause(at - self._waiting.pop(body["name"], at))))

    def _begin(self, key: str, index: int | None) -> None:
        if self.kinds[split_key(key)[0]] in KEPT and (key, index) not in self._open:
            self._open[key, index] = attempt = Attempt()
            self.attempts.setdefault((key, index), []).append(attempt)

    def _failed(self, key: str, index: int | None, error: dict[str, Any]) -> None:
        if error.get("code") in CRASH_CODES:
            return  # the attempt after it goes on with the calls of this one
        attempt = self._open.pop((key, index), None)
        if attempt is not None:
            attempt.error = self._redaction.of(error)

    async def _done(self, key: str, index: int | None, output: Any, saved: Sequence[dict[str, Any]]) -> None:
        attempt = self._open.pop((key, index), None)
        if attempt is None:
            return
        kind = self.kinds[split_key(key)[0]]
        whole = await _whole(self._origin, self._run_id, output)
        attempt.output = self._redaction.of_answer(whole) if kind == "http" else self._redaction.of(whole)
        if kind != "agent":
            attempt.saved = [await self._kept(one) for one in saved]

    async def _kept(self, saved: dict[str, Any]) -> Saved:
        told = saved[REFERENCE]
        if told["size"] > MAX_SAVED:
            raise PayloadTooLarge(f"the artifact {saved['name']} has {told['size']} bytes; a cassette keeps artifacts of at most {MAX_SAVED}")
        data = await self._origin.artifact(self._run_id, saved["name"])
        return Saved(name=saved["name"], media_type=told["media_type"], base64=base64.b64encode(data).decode())


def _pause(ms: int) -> str:
    """A time between two events as cassettes write it."""
    return format_duration(min(max(0, ms), MAX_DURATION_MS))


def _names(output: Any, saved: dict[str, Any]) -> bool:
    """Whether an item's output speaks of this artifact: the journal tells those of a batch of items together."""
    if isinstance(output, dict):
        return output.get("sha256") == saved[REFERENCE]["sha256"] or any(_names(part, saved) for part in output.values())
    return isinstance(output, list) and any(_names(part, saved) for part in output)
