"""Answers of models that are kept to be given again."""

import sqlalchemy as sa
from alembic import op


def create() -> None:
    """The table and its indexes."""
    op.create_table(
        "cached_calls",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "digest", name="pk_cached_calls"),
    )
    op.create_index("ix_cached_calls_created_at", "cached_calls", ["created_at"], unique=False)
    op.create_index("ix_cached_calls_expires_at", "cached_calls", ["expires_at"], unique=False)
