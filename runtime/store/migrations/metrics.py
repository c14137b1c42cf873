"""What revision 0003 adds for metrics."""

import sqlalchemy as sa
from alembic import op


def add_metrics() -> None:
    """Totals, what has been added to them by whom, and a mark on runs whose end is counted. Runs that have ended before are not counted now."""
    op.create_table(
        "metric_totals",
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("metric", "labels", name="pk_metric_totals"),
    )
    op.create_table(
        "metric_sources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_metric_sources"),
    )
    op.create_index("ix_metric_sources_seen_at", "metric_sources", ["seen_at"], unique=False)
    op.add_column("runs", sa.Column("counted", sa.Boolean(create_constraint=False), nullable=True))
    op.execute(sa.text("UPDATE runs SET counted = TRUE WHERE ended_at IS NOT NULL"))
    where = sa.text("ended_at IS NOT NULL AND counted IS NULL")
    op.create_index("ix_runs_uncounted", "runs", ["run_id"], unique=False, sqlite_where=where, postgresql_where=where)
