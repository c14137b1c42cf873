"""Who holds a slot and who waits in line for one, as SQL. Whoever decides by the answers holds the groups' locks."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, and_, bindparam, func, or_, select, text, tuple_, update
from sqlalchemy.sql.elements import TextClause

from runtime.store.allot import Tally, Waiting
from runtime.store.columns import Ids, any_of
from runtime.store.tables import HOLDING, LINED_UP, runs

MAX_LANES = 256
"""Keys of one group that are looked at for one decision. Where more wait, decisions go round the keys."""
MAX_GROUPS = 1000
"""Groups one look around takes up."""

_LOCK = text("SELECT pg_advisory_xact_lock(key) FROM unnest(:keys) AS key").bindparams(bindparam("keys", type_=ARRAY(BigInteger)))
_LANE = (runs.c.slot_group, runs.c.slot_key)
_HELD = select(*_LANE, func.count()).where(any_of(runs.c.slot_group, "groups"), text(HOLDING)).group_by(*_LANE)
_OPEN = "NOT r.slot_held AND r.ended_at IS NULL"
_TAKES_PART = f"{_OPEN} AND r.cancel_requested_at IS NULL"
# Every step of these recursions is one look into the small index of runs that wait, whatever their number.
_FIRST = f"""
WITH RECURSIVE lanes(slot_group, slot_key, place) AS (
    SELECT given.value, (SELECT min(r.slot_key) FROM runs r WHERE r.slot_group = given.value AND r.slot_key >= :pivot AND {_OPEN}), 1 FROM :given
    UNION ALL
    SELECT lanes.slot_group, (SELECT min(r.slot_key) FROM runs r WHERE r.slot_group = lanes.slot_group AND r.slot_key > lanes.slot_key AND {_OPEN}), place + 1
    FROM lanes WHERE lanes.slot_key IS NOT NULL AND place < {MAX_LANES}
), tops(slot_group, slot_key, priority) AS (
    SELECT lanes.slot_group, lanes.slot_key, (SELECT max(r.priority) FROM runs r
        WHERE r.slot_group = lanes.slot_group AND r.slot_key = lanes.slot_key AND {_TAKES_PART})
    FROM lanes WHERE lanes.slot_key IS NOT NULL
), line(slot_group, slot_key, priority, run_id, place) AS (
    SELECT tops.slot_group, tops.slot_key, tops.priority, (SELECT r.run_id FROM runs r
        WHERE r.slot_group = tops.slot_group AND r.slot_key = tops.slot_key AND r.priority = tops.priority
        AND {_TAKES_PART} ORDER BY r.created_at, r.run_id LIMIT 1), 1
    FROM tops WHERE tops.priority IS NOT NULL
    UNION ALL
    SELECT line.slot_group, line.slot_key, line.priority, (SELECT r.run_id FROM runs r
        WHERE r.slot_group = line.slot_group AND r.slot_key = line.slot_key AND r.priority = line.priority
        AND (r.created_at, r.run_id) > ((SELECT ahead.created_at FROM runs ahead WHERE ahead.run_id = line.run_id), line.run_id)
        AND {_TAKES_PART} ORDER BY r.created_at, r.run_id LIMIT 1), place + 1
    FROM line WHERE line.run_id IS NOT NULL AND place < :depth
)
SELECT run_id FROM line WHERE run_id IS NOT NULL
"""  # noqa: S608 - every part is a constant of this module, values stay bound
_GROUPS = f"""
WITH RECURSIVE found(slot_group, place) AS (
    SELECT (SELECT min(r.slot_group) FROM runs r WHERE {_OPEN}), 1
    UNION ALL
    SELECT (SELECT min(r.slot_group) FROM runs r WHERE r.slot_group > found.slot_group AND {_OPEN}), place + 1
    FROM found WHERE found.slot_group IS NOT NULL AND place < {MAX_GROUPS}
)
SELECT slot_group FROM found WHERE slot_group IS NOT NULL
"""  # noqa: S608 - as above


def _with_groups(source: str) -> TextClause:
    return text(_FIRST.replace(":given", source)).bindparams(bindparam("groups", type_=Ids()))


_LINES: Mapping[str, TextClause] = {
    "postgresql": _with_groups("unnest(:groups) AS given(value)"),
    "sqlite": _with_groups("json_each(:groups) AS given"),
}
_WAITING = select(runs.c.run_id, *_LANE, runs.c.slot_limit, runs.c.slot_per_key, runs.c.priority, runs.c.created_at).where(any_of(runs.c.run_id, "ids"))
_WITH_WAITING = text(_GROUPS)
_FREE = (any_of(runs.c.run_id, "ids"), text(LINED_UP), runs.c.cancel_requested_at.is_(None), runs.c.owner.is_(None))
_STILL_WAITING = select(runs.c.run_id).where(*_FREE).order_by(runs.c.run_id).with_for_update(key_share=True, skip_locked=True)
# Due at once by any host's clock, and in the order in which they came.
_GRANT = update(runs).where(any_of(runs.c.run_id, "ids")).values(slot_held=True, wake_at=runs.c.created_at)
_me = runs.alias("me")
_AHEAD = or_(
    runs.c.priority > _me.c.priority,
    and_(runs.c.priority == _me.c.priority, tuple_(runs.c.created_at, runs.c.run_id) <= tuple_(_me.c.created_at, _me.c.run_id)),
)
_SAME_LANE = (runs.c.slot_group == _me.c.slot_group, runs.c.slot_key == _me.c.slot_key)
_WAITS = (_me.c.run_id == bindparam("run"), _me.c.slot_held.is_(False), _me.c.ended_at.is_(None))
_PLACE = select(func.count()).select_from(_me).join(runs, and_(*_SAME_LANE, text("NOT runs.slot_held AND runs.ended_at IS NULL"), _AHEAD)).where(*_WAITS)


def lock_groups(connection: Connection, groups: Iterable[str]) -> None:
    """Let nobody else decide about these groups before this transaction has ended. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        keys = {int.from_bytes(blake2b(group.encode(), digest_size=8).digest(), signed=True) for group in groups}
        connection.execute(_LOCK, {"keys": sorted(keys)})


def count_held(connection: Connection, groups: Iterable[str]) -> Tally:
    """How many runs of these groups hold a slot."""
    tally = Tally()
    for group, key, count in connection.execute(_HELD, {"groups": list(groups)}):
        tally.add((group, key), count)
    return tally


def first_in_line(connection: Connection, groups: Iterable[str], depth: int, pivot: str = "") -> list[Waiting]:
    """The first `depth` of the highest priority of each lane of these groups: of the first 256 keys from `pivot` on."""
    given: dict[str, Any] = {"groups": list(groups), "depth": depth, "pivot": pivot}
    ids = list(connection.scalars(_LINES[connection.dialect.name], given))
    found = connection.execute(_WAITING, {"ids": ids}) if ids else ()
    return [Waiting(run_id, (group, key), limit, per_key, priority, at) for run_id, group, key, limit, per_key, priority, at in found]


def grant(connection: Connection, run_ids: Iterable[str]) -> set[str]:
    """Give these runs their slots. Those whose rows somebody else has locked are left out: nobody waits for them here."""
    ids = list(connection.scalars(_STILL_WAITING, {"ids": sorted(run_ids)}))
    if ids:
        connection.execute(_GRANT, {"ids": ids})
    return set(ids)


def groups_with_waiting(connection: Connection) -> list[str]:
    """Up to 1,000 groups in which somebody waits."""
    return list(connection.scalars(_WITH_WAITING))


def unserved(connection: Connection) -> list[str]:
    """Groups in which a run waits although it would find a slot. Read without locks: whoever acts on it looks again."""
    groups = groups_with_waiting(connection)
    if not groups:
        return []
    tally = count_held(connection, groups)
    return sorted({run.lane[0] for run in first_in_line(connection, groups, 1) if tally.fits(run)})


def place_in_line(connection: Connection, run_id: str) -> int | None:
    """How many runs of the same lane come before this one, and itself; None when it does not wait."""
    return connection.scalar(_PLACE, {"run": run_id}) or None
