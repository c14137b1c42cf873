"""Time, webhooks, limits of concurrency, retention: one function for each."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what each part needs."""
    _suspicion()
    _concurrency()
    _schedules()
    _webhooks()
    _retention()


def _suspicion() -> None:
    """Whether a run brings its hosts down is told by the hosts, no longer guessed from its journal."""
    op.drop_column("runs", "claim_head")


def _concurrency() -> None:
    """Slots: columns of live runs, and who holds one or waits for one."""
    for name, kind in {"group": sa.Text, "key": sa.Text, "limit": sa.Integer, "per_key": sa.Integer, "on_limit": sa.Text, "held": sa.Boolean}.items():
        op.add_column("runs", sa.Column(f"slot_{name}", kind(), nullable=True))
    holding = sa.text("slot_held AND ended_at IS NULL")
    op.create_index("ix_runs_holding", "runs", ["slot_group", "slot_key"], sqlite_where=holding, postgresql_where=holding)
    lined_up = sa.text("NOT slot_held AND ended_at IS NULL")
    columns = ["slot_group", "slot_key", "priority", "created_at", "run_id"]
    op.create_index("ix_runs_lined_up", "runs", columns, sqlite_where=lined_up, postgresql_where=lined_up)


def _schedules() -> None:
    """Cron schedules and which run came from which."""
    op.add_column("runs", sa.Column("schedule_id", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("schedule_tick", sa.BigInteger(), nullable=True))
    _partial("ix_runs_schedule_open", "runs", ["schedule_id", "ended_at"], "schedule_id IS NOT NULL AND ended_at IS NULL")
    _partial("ix_runs_schedule", "runs", ["schedule_id", "run_id"], "schedule_id IS NOT NULL")
    _partial("uq_runs_schedule_tick", "runs", ["schedule_id", "schedule_tick"], "schedule_tick IS NOT NULL", unique=True)
    op.create_table(
        "schedules",
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("last_tick", sa.BigInteger(), nullable=True),
        sa.Column("next_tick", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("schedule_id", name="pk_schedules"),
    )
    op.create_index("uq_schedules_tenant_name", "schedules", ["tenant", "name"], unique=True)
    _partial("ix_schedules_next_at", "schedules", ["next_at"], "next_at IS NOT NULL")
    _schedule_ticks()


def _schedule_ticks() -> None:
    op.create_table(
        "schedule_ticks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schedule_id", sa.Text(), nullable=False),
        sa.Column("tick", sa.BigInteger(), nullable=False),
        sa.Column("last_tick", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("overlap", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schedule_ticks"),
    )
    op.create_index("ix_schedule_ticks_schedule_id_id", "schedule_ticks", ["schedule_id", "id"], unique=False)
    _partial("ix_schedule_ticks_buffered", "schedule_ticks", ["schedule_id", "tick"], "outcome = 'buffered'")
    _partial("uq_schedule_ticks_schedule_id_tick", "schedule_ticks", ["schedule_id", "tick"], "outcome <> 'missed'", unique=True)


def _webhooks() -> None:
    """Endpoints, deliveries and hooks. Nothing has ever written to the first outbox, so it is made anew."""
    _endpoints()
    op.drop_index("ix_outbox_state_next_at", table_name="outbox")
    op.drop_table("outbox")
    _outbox()
    _hooks()


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("workflows", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("pruned_before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_id", name="pk_endpoints"),
    )
    op.create_index("ix_endpoints_tenant", "endpoints", ["tenant"], unique=False)


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    pending, ended = sa.text("state = 'pending'"), sa.text("ended_at IS NOT NULL")
    op.create_index("ix_outbox_due", "outbox", ["endpoint_id", "next_at"], unique=False, sqlite_where=pending, postgresql_where=pending)
    op.create_index("uq_outbox_pending", "outbox", ["endpoint_id", "run_id", "seq"], unique=True, sqlite_where=pending, postgresql_where=pending)
    op.create_index("ix_outbox_ended", "outbox", ["ended_at"], unique=False, sqlite_where=ended, postgresql_where=ended)
    op.create_index("ix_outbox_endpoint_id_id", "outbox", ["endpoint_id", "id"], unique=False)


def _hooks() -> None:
    op.create_table(
        "hooks",
        sa.Column("hook_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("verify", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=True),
        sa.Column("inputs", sa.Text(), nullable=True),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hook_id", name="pk_hooks"),
    )
    op.create_index("ix_hooks_tenant", "hooks", ["tenant"], unique=False)
    op.create_index("uq_hooks_token_id", "hooks", ["token_id"], unique=True)
    op.create_index("uq_hooks_tenant_name", "hooks", ["tenant", "name"], unique=True)


def _retention() -> None:
    """What journals refer to, so that what nobody refers to can go, and the indexes by which old rows are found."""
    op.create_table(
        "value_refs",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "run_id", name="pk_value_refs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_value_refs_run_id", "value_refs", ["run_id"], unique=False)
    op.create_table("removals", sa.Column("run_id", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("run_id", name="pk_removals"))
    op.add_column("runs", sa.Column("keep_for", sa.BigInteger(), nullable=True))
    _partial("ix_runs_ended", "runs", ["keep_for", "status", "ended_at", "run_id"], "ended_at IS NOT NULL")
    _partial("ix_api_keys_expires_at", "api_keys", ["expires_at"], "expires_at IS NOT NULL")
    op.create_index("ix_idem_run_id", "idem", ["run_id"], unique=False)
    for table, order in (("events", ("run_id", "seq")), ("inbox", ("id",))):
        _note_references(table, order)


def _note_references(table: str, order: tuple[str, ...]) -> None:
    """Write down what the rows already there refer to: without it their content would look as if nobody needed it."""
    connection = op.get_bind()
    rows = sa.table(table, sa.column("run_id"), sa.column("body"), *(sa.column(name) for name in order if name != "run_id"))
    refs = sa.table("value_refs", sa.column("digest"), sa.column("run_id"))
    key = [rows.c[name] for name in order]
    wanted = sa.select(rows.c.run_id, rows.c.body, *key).where(rows.c.body.like('%"$artifact"%')).order_by(*key).limit(1000)
    after: tuple[object, ...] | None = None
    while page := connection.execute(wanted if after is None else wanted.where(sa.tuple_(*key) > sa.tuple_(*after))).all():
        found = {(digest, row[0]) for row in page for digest in re.findall('"sha256":"([0-9a-f]{64})"', row[1])}
        known = sa.select(refs.c.digest, refs.c.run_id).where(refs.c.run_id.in_({run_id for _, run_id in found}))
        fresh = found - {(row[0], row[1]) for row in connection.execute(known)}
        if fresh:
            connection.execute(sa.insert(refs), [{"digest": digest, "run_id": run_id} for digest, run_id in sorted(fresh)])
        after = tuple(page[-1][2:])


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    """An index over the rows `where` names."""
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
