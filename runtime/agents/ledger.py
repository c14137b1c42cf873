"""Calls that were paid for once are not made again: every finished model and tool call is journalled before the loop goes on."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from runtime.agents.context import Execute, Record, Source

DISCARDED = "discarded"
"""The name of the mark after which earlier calls count no more: they led to an answer that could not be used."""
ANSWER = "answer"
"""The name of what was answered to a tool call that had to wait. The engine writes it down, not the ledger."""
FALLBACK = "fallback"
"""The name of the decision to ask another model from now on."""


class Ledger:
    """The calls of one agent step: those the journal has are given back, the others are made and recorded.

    A body is `{name, n, id?, asked?, result, usage?, cached?}`: `name` is `model`, `tool:<name>` or `tools` (what tools there are), `n` counts the calls of
    that name from 1, and `id` is what the model called a tool call, by which tool calls that ran side by side are told apart; `asked` is the hash of what was
    asked. Three names are no calls: `discarded`, `fallback` with `{model, instead_of, because}` as its result, and `answer`.
    """

    def __init__(self, replay: Sequence[dict[str, Any]] = (), record: Record | None = None, source: Source | None = None) -> None:
        """`source`: where the results of calls come from that the journal has not; they are made when absent."""
        self._record = record
        self._held: dict[str, Any] | None = None
        self._holding = False
        self._source = source
        self._counts: Counter[str] = Counter()
        self._known: dict[tuple[str, str | None], deque[dict[str, Any]]] = {}
        self.replayed = 0
        """Calls given back from the journal."""
        self.moved: dict[str, Any] | None = None
        """The last decision to ask another model, as it was recorded."""
        for body in replay:
            if body["name"] == DISCARDED:
                self._known.clear()
                self.moved = None
            elif body["name"] == FALLBACK:
                self._counts[FALLBACK] += 1
                self.moved = body["result"]
            else:
                known = self._known.setdefault((body["name"], body.get("id")), deque())
                if all(body["n"] != other["n"] for other in known):  # one that was recorded twice, because the first answer was lost, was made once
                    known.append(body)

    async def call(
        self,
        name: str,
        execute: Execute,
        *,
        call_id: str | None = None,
        usage: Callable[[Any], dict[str, Any]] | None = None,
        asked: Callable[[], str] | None = None,
    ) -> Any:
        """The JSON result of the next call of this name: from the journal, or by executing it and recording its result.

        Whatever `execute` raises is raised, and nothing is recorded then.
        """
        self._counts[name] += 1
        number = self._counts[name]
        if known := self._known.get((name, call_id)):
            self.replayed += 1
            return known.popleft()["result"]
        digest = None if asked is None or (self._record is None and self._source is None) else asked()
        result = storable(await (execute() if self._source is None else self._source(name, number, call_id, digest, execute)))
        if self._record is not None:
            body = {"name": name, "n": number, "result": result}
            if call_id is not None:
                body["id"] = call_id
            if digest is not None:
                body["asked"] = digest
            if usage is not None:
                body["usage"] = usage(result)
                if body["usage"].pop("cached", False):
                    body["cached"] = True
            if self._holding:
                self._held = body
            else:
                await self._record(body)
        return result

    def hold(self) -> None:
        """The next call is perhaps the last one. It is kept back then, to be journalled with the step's result: one way and one commit for both."""
        self._holding = True

    def held(self) -> tuple[dict[str, Any], ...]:
        """What was kept back, for the result."""
        found, self._held, self._holding = self._held, None, False
        return () if found is None else (found,)

    async def settle(self) -> None:
        """It was not the last one: record what was kept back before anything else happens."""
        for body in self.held():
            if self._record is not None:
                await self._record(body)

    def made(self, name: str) -> int:
        """How many calls of this name there are so far, with the one under way: its number."""
        return self._counts[name]

    async def remember(self, name: str, execute: Execute) -> Any:
        """Like `call`, for what costs nothing but must not differ between attempts: it does not count as replayed."""
        replayed = self.replayed
        result = await self.call(name, execute)
        self.replayed = replayed
        return result

    def answer(self, call: str) -> Any:
        """What was answered to a call that had to wait; None when nothing was yet."""
        known = self._known.get((ANSWER, call))
        return known[0]["result"] if known else None

    async def move(self, told: dict[str, Any], paid: dict[str, Any] | None) -> None:
        """Another model is asked from now on, in this attempt and the next ones; `paid` is the usage of an answer that is not used."""
        self._counts[FALLBACK] += 1
        self.moved = told
        if self._record is not None:
            await self._record({"name": FALLBACK, "n": self._counts[FALLBACK], "result": told, **({"usage": paid} if paid else {})})

    async def discard(self) -> None:
        """The next attempt shall ask anew: what was recorded so far led nowhere."""
        if self._record is not None:
            await self._record({"name": DISCARDED, "n": 1, "result": None})


def storable(value: Any) -> Any:
    """JSON without halves of surrogate pairs, which no database stores; models write them when they cut an emoji in two."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [storable(part) for part in value]
    if isinstance(value, dict):
        return {storable(name): storable(part) for name, part in value.items()}
    return value
