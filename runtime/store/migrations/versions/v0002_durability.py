"""Time, webhooks, limits of concurrency, retention: one function for each."""

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
    """Slots: columns of live runs."""


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
    """Endpoints, deliveries and hooks."""


def _retention() -> None:
    """What journals refer to, so that what nobody refers to can go."""


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    """An index over the rows `where` names."""
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
