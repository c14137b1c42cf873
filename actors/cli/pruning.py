"""What `agentic db prune` does: from options to rules, and from what went to words."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.cli.exits import CommandError, Exit
from actors.cli.output import size

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.store.candidates import Rule
    from runtime.store.open import Store


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command. Without an age, the settings and the definitions say what is old."""

    older_than: str | None
    statuses: tuple[str, ...]
    workflow: str | None
    dry_run: bool
    vacuum: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go. `vacuumed` is None when nobody asked for it, False when the database does it by itself."""

    runs: int
    events: int
    size: int
    dry_run: bool
    vacuumed: bool | None

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {"runs": self.runs, "events": self.events, "bytes": self.size, "dry_run": self.dry_run, "vacuumed": bool(self.vacuumed)}

    def sentences(self) -> list[str]:
        """For people."""
        verb = "would go" if self.dry_run else "went"
        said = [f"{self.runs:,} runs with {self.events:,} events, about {size(self.size)}, {verb}"]
        if self.runs and not self.dry_run and self.vacuumed is None:
            said.append("their room is kept for new runs")
        if self.vacuumed is not None:
            said.append("the room was given back to the disk" if self.vacuumed else "PostgreSQL keeps the room for new runs; its autovacuum needs no help")
        return said


async def carry_out(settings: "Settings", wish: Wish) -> Pruned:
    """Prune, or count. Raises CommandError for options that mean nothing, StoreUnavailable, SchemaMismatch."""
    from runtime.retention.pruner import Pruner
    from runtime.store.open import open_store

    _check(wish)
    store = await open_store(settings.database, durability=settings.durability, migrate=False)
    try:
        rules = await _rules(settings, store, wish)
        pruner = Pruner(store.retention)
        if not wish.dry_run:
            await pruner.clear()
        tally = await (pruner.count(rules) if wish.dry_run else pruner.prune(rules))
        vacuumed = await store.retention.vacuum() if wish.vacuum and not wish.dry_run else None
        return Pruned(tally.runs, tally.events, tally.size, wish.dry_run, vacuumed)
    finally:
        await store.close()


def _check(wish: Wish) -> None:
    from runtime.retention.rules import ENDS

    unknown = [status for status in wish.statuses if status not in ENDS]
    if unknown:
        raise CommandError(f"--status {unknown[0]}: runs end {', '.join(ENDS)}", Exit.USAGE)


async def _rules(settings: "Settings", store: "Store", wish: Wish) -> "list[Rule]":
    from dataclasses import replace

    from runtime.clock import SystemClock
    from runtime.definition.types import parse_duration
    from runtime.retention.rules import by_age, by_hand

    now, own = SystemClock().now(), await store.retention.own_times()
    if wish.older_than is None:
        rules = by_age(settings.retention, own, now)
        return [replace(rule, workflow=wish.workflow) for rule in rules if not wish.statuses or rule.status in wish.statuses]
    try:
        age = parse_duration(wish.older_than)
    except ValueError as error:
        raise CommandError(f"--older-than: {error}", Exit.USAGE) from None
    return by_hand(own, now - age, wish.statuses, wish.workflow)
