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


def _webhooks() -> None:
    """Endpoints, deliveries and hooks."""


def _retention() -> None:
    """What journals refer to, so that what nobody refers to can go."""
