"""Slots: what a transaction does about limits of concurrency, last of all and in one go for all groups it has touched.

A slot is a column of a live run's row: the run's end is the slot's end, so none can leak and nothing is counted up or down. Groups are
locked when every row is (keys, runs, owners, groups), all at once and in one order; what is locked afterwards is either new, or skipped
when somebody else has it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from runtime.store.allot import Lane, Tally, Waiting, allot
from runtime.store.lines import MAX_LANES, count_held, first_in_line, grant, lock_groups
from runtime.store.newcomers import Newcomer, place
from runtime.store.operations import PreparedRun, SubmitRuns

_DEPTH = 8
"""How many of a lane are looked at together."""


@dataclass(slots=True)
class Slots:
    """What one transaction has to do with slots. Empty, it costs nothing."""

    newcomers: list[Newcomer] = field(default_factory=list)
    freed: dict[str, list[str]] = field(default_factory=dict)
    """Group → the keys of its runs that have ended here; none when only somebody asks to look at the group."""
    news: list[str] = field(default_factory=list)
    """Runs that others have reason to look at: they have got a slot, or a message."""

    def arrive(self, runs: Iterable[PreparedRun], operation: SubmitRuns | None = None) -> None:
        """Runs to insert, some of them with limits: all of a submit or none, each child for itself."""
        self.newcomers += [Newcomer(run, operation) for run in runs]

    def end(self, lane: Lane) -> None:
        """A run that held a slot has ended."""
        self.freed.setdefault(lane[0], []).append(lane[1])

    def look_at(self, groups: Iterable[str]) -> None:
        """Somebody has seen a free slot in these groups and a run that waits for it."""
        for group in groups:
            self.freed.setdefault(group, [])

    @property
    def refused(self) -> set[str]:
        """Runs that were not let in."""
        return {each.run.new.row.run_id for each in self.newcomers if each.refused}

    def settle(self, connection: Connection) -> None:
        """Give free slots to those who wait, then to those who come, and insert the latter."""
        groups = self.freed.keys() | {each.lane[0] for each in self.newcomers if each.lane is not None}
        if not groups:
            return
        lock_groups(connection, groups)
        tally = count_held(connection, groups)
        # Where a newcomer would fit, whoever waits comes before it; where none does, nobody needs to be asked.
        room = {each.lane[0] for each in self.newcomers if each.lane is not None and tally.fits(each.waiting)}
        self._serve(connection, tally, sorted(self.freed.keys() | room))
        vacated = place(connection, self.newcomers, tally, self.news)
        if vacated:  # by runs that had a slot, had not started, and were canceled for somebody new
            self.freed = {}
            for lane in vacated:
                tally.add(lane, -1)
                self.end(lane)
            self._serve(connection, tally, list(self.freed))

    def _serve(self, connection: Connection, tally: Tally, groups: Sequence[str]) -> None:
        """Grant until nobody in line fits. A run that somebody else has locked is left to the next look around."""
        depth = min(_DEPTH, max((len(self.freed.get(group, ())) for group in groups), default=0) or 1)
        passed: set[str] = set()
        while groups:
            found = self._candidates(connection, groups, depth)
            chosen = allot([run for run in found if run.run_id not in passed], tally)
            granted = grant(connection, [run.run_id for run in chosen]) if chosen else set()
            for run in chosen:
                if run.run_id not in granted:
                    tally.add(run.lane, -1)
                    passed.add(run.run_id)
            self.news += granted
            groups = sorted({run.lane[0] for run in chosen})

    def _candidates(self, connection: Connection, groups: Sequence[str], depth: int) -> list[Waiting]:
        found = first_in_line(connection, groups, depth)
        lanes: dict[str, set[str]] = {}
        for run in found:
            lanes.setdefault(run.lane[0], set()).add(run.lane[1])
        for group, keys in lanes.items():
            if len(keys) == MAX_LANES and self.freed.get(group):
                # Too many keys to see all of them: also look at those behind the one that has just ended, so that slots go round.
                found += [run for run in first_in_line(connection, [group], depth, self.freed[group][-1]) if run.lane[1] not in keys]
        return found
