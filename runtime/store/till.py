"""The one place where money moves: calls that were journalled are charged, calls that want to be made are granted or not.

All of it under the locks of the budgets concerned, in one transaction with the rows of the ledger it follows from. So at every moment what a
budget has spent is what the ledger says since its period began, and what it holds back is the sum of its reservations; whoever dies, nothing
is counted twice and nothing is granted twice.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Delete, bindparam, delete, insert, or_, select, tuple_

from runtime.money.accounts import Judgement, Verdict
from runtime.money.amounts import Amount, written
from runtime.money.purse import Answer, Payer, Wish
from runtime.money.scopes import Scope, named
from runtime.store.budgets import Line, Owner, Place, lock, open_runs_budgets, raise_budget, write_back
from runtime.store.columns import any_of
from runtime.store.funds import Release, Reserve
from runtime.store.ledger import book
from runtime.store.money_protocol import LedgerRow
from runtime.store.money_tables import reservations
from runtime.store.operations import Operation, WriteTurn
from runtime.store.protocol import AppendOutcome

_OWNER = (reservations.c.scope, reservations.c.tenant, reservations.c.name)
_PLACE = (*_OWNER, reservations.c.period)
_IN_SEATS = tuple_(reservations.c.run_id, reservations.c.seat).in_(bindparam("seats", expanding=True))
_OF_RUNS = any_of(reservations.c.run_id, "runs")
_OVERDUE = reservations.c.expires_at <= bindparam("now")
_CONCERNED = select(*_OWNER).where(or_(_IN_SEATS, _OF_RUNS, _OVERDUE)).distinct().limit(1000)
_DROP_CALLS = delete(reservations).where(_IN_SEATS, reservations.c.call.in_(bindparam("calls", expanding=True)))
_DROP_RUNS = delete(reservations).where(_OF_RUNS)
_DROP_SEATS = delete(reservations).where(_IN_SEATS)
_DROP_OVERDUE = delete(reservations).where(_OVERDUE, tuple_(*_OWNER).in_(bindparam("owners", expanding=True)))
_ADD = insert(reservations)
_RANK = (Verdict.GRANTED, Verdict.LATER, Verdict.UNPRICED, Verdict.EXCEEDED)


def move_funds(connection: Connection, batch: Sequence[Operation[Any]]) -> None:
    """Book the calls of a batch's committed turns, and answer its wishes. Comes after the turns, whose runs are then locked."""
    turns = [each.append for each in batch if isinstance(each, WriteTurn) and each.outcome is AppendOutcome.COMMITTED]
    raised = [append.raised for append in turns if append.raised is not None]
    charged = book(connection, [row for append in turns for row in append.ledger])
    wishes = [each for each in batch if isinstance(each, Reserve)]
    releases = [each.wish for each in batch if isinstance(each, Release)]
    for change in raised:
        raise_budget(connection, change)
    ended = [append.run_id for append in turns if append.settles]
    if charged or wishes or releases or ended:
        Till(connection, charged, wishes, releases, ended).work()


class Till:
    """Charges, releases and wishes of one transaction, and runs that end with it."""

    def __init__(self, connection: Connection, charged: Sequence[LedgerRow], wishes: Sequence[Reserve], releases: Sequence[Wish], ended: Sequence[str]) -> None:
        self._connection = connection
        self._charged, self._wishes, self._releases, self._ended = charged, wishes, releases, ended
        self._now = max((each.now for each in wishes), default=0)
        self._lines: dict[Place, Line] = {}

    def work(self) -> None:
        """Do all of it, and write the budgets back."""
        open_runs_budgets(self._connection, [each.wish.payer for each in self._wishes], self._now)
        self._lock()
        for row in self._charged:
            self._charge(row)
        over = [(row.run_id, row.seat, row.call) for row in self._charged] + [(wish.run_id, wish.seat, wish.call) for wish in self._releases]
        if over:
            self._give_back(_DROP_CALLS, seats=[each[:2] for each in over], calls=[each[2] for each in over])
        if self._ended and self._lines:
            self._give_back(_DROP_RUNS, runs=list(self._ended))
        if self._wishes:
            # Whoever sits there now has come after the one something is held for.
            self._give_back(_DROP_SEATS, seats=[(each.wish.run_id, each.wish.seat) for each in self._wishes])
        if self._lines:
            self._give_back(_DROP_OVERDUE, now=self._now, owners=sorted({place[:3] for place in self._lines}))
        held = [row for each in self._wishes for row in self._answer(each)]
        if held:
            self._connection.execute(_ADD, held)
        write_back(self._connection, self._lines.values())

    def _lock(self) -> None:
        """Every budget that anything here concerns: those of the payers, and those something is held back in that will be given back."""
        payers = [each.wish.payer for each in self._wishes] + [_payer(row) for row in self._charged]
        owners = {owner for payer in payers for owner in _owners(payer)}
        seats = {(row.run_id, row.seat) for row in self._charged} | {(wish.run_id, wish.seat) for wish in self._releases}
        seats |= {(each.wish.run_id, each.wish.seat) for each in self._wishes}
        found = self._connection.execute(_CONCERNED, {"seats": sorted(seats), "now": self._now, "runs": list(self._ended)})
        self._lines = lock(self._connection, owners | {(scope, tenant, name) for scope, tenant, name in found})

    def _charge(self, row: LedgerRow) -> None:
        for line in self._of(_payer(row)):
            line.count(self._connection, row.at)
            if not line.fresh and line.since is not None and row.at >= line.since:
                line.become(line.account.spend(row.amount))

    def _give_back(self, statement: Delete, **given: Any) -> None:
        dropped = self._connection.execute(statement.returning(*_PLACE, reservations.c.usd, reservations.c.tokens), given)
        for scope, tenant, name, period, usd, tokens in dropped:
            line = self._lines.get((scope, tenant, name, period))
            if line is not None:  # else its budget is gone
                line.become(line.account.give_back(Amount(usd, tokens, 1)))

    def _answer(self, operation: Reserve) -> list[dict[str, Any]]:
        """Set the outcome; the reservations when it is granted."""
        wish, lines = operation.wish, self._of(operation.wish.payer)
        worst: tuple[Judgement, Line | None] = (Judgement(Verdict.GRANTED), None)
        for line in lines:
            line.count(self._connection, operation.now)
            judged = line.account.judge(wish.most, priced=wish.priced)
            if _RANK.index(judged.verdict) > _RANK.index(worst[0].verdict):
                worst = judged, line
        judgement, blocking = worst
        operation.outcome = Answer(judgement.verdict, {} if blocking is None else _told(blocking, judgement, wish))
        if judgement.verdict is not Verdict.GRANTED:
            return []
        for line in lines:
            line.become(line.account.hold(wish.most))
        return [_reservation(operation, line) for line in lines]

    def _of(self, payer: Payer) -> list[Line]:
        owners = set(_owners(payer))
        return [line for place, line in self._lines.items() if place[:3] in owners]


def _owners(payer: Payer) -> list[Owner]:
    return [(Scope.RUN.value, payer.tenant, payer.root), *((scope, payer.tenant, name) for scope, name in named(payer))]


def _payer(row: LedgerRow) -> Payer:
    return Payer(row.tenant, row.workflow, row.root_run, row.user)


def _reservation(operation: Reserve, line: Line) -> dict[str, Any]:
    scope, tenant, name, period = line.place
    wish = operation.wish
    key = {"run_id": wish.run_id, "seat": wish.seat, "scope": scope, "tenant": tenant, "name": name, "period": period}
    return {**key, "call": wish.call, "usd": wish.most.usd, "tokens": wish.most.tokens, "expires_at": operation.expires_at}


def _told(line: Line, judgement: Judgement, wish: Wish) -> dict[str, Any]:
    """Which budget stands in the way, and by how much."""
    scope, _tenant, name, period = line.place
    figures = {"spent": line.account.spent, "limit": line.account.limits, "wanted": wish.most}
    shown = {what: getattr(of, judgement.measure) for what, of in figures.items()}
    if judgement.measure == "usd":
        shown = {what: written(value) for what, value in shown.items()}
    return {"scope": scope, "name": name, "period": period, "measure": judgement.measure, **shown, "on_exceeded": line.on_exceeded}
