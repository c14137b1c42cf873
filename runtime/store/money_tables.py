"""The tables of model calls and their money. Times are milliseconds since the epoch; dollars are exact (columns.py)."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from runtime.store.columns import PlainText, Usd
from runtime.store.metadata import everything, partial

NAMED = "scope <> 'run'"
"""The budgets people have set, in the words of the index over them."""
RAISED = "raised"
"""The budgets runs were given while they were under way, likewise."""

# One row for each model call that was answered, written in the transaction of its `call.finished`. It outlives its run.
ledger = Table(
    "ledger",
    everything,
    Column("run_id", Text, primary_key=True),
    Column("call", Text, primary_key=True),  # its id, made where the call was made: handed over twice, it is one call
    Column("seq", BigInteger, nullable=False),
    Column("root_run", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("iteration", Integer),
    Column("item", Integer),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("user", PlainText, nullable=False),  # empty: nobody is known
    Column("provider", Text, nullable=False),
    Column("model", PlainText, nullable=False),
    Column("answered", PlainText),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("usd", Usd),  # NULL: the price is not known
    Column("prices", Text),
    Column("latency_ms", BigInteger),
    Column("cached", Boolean(create_constraint=False), nullable=False),
    Column("reserved", Boolean(create_constraint=False), nullable=False),  # something was held back for it, so it counts into every budget there was
    Column("at", BigInteger, nullable=False),
    Index("ix_ledger_root_run", "root_run"),
    Index("ix_ledger_at", "at"),
    Index("ix_ledger_tenant_at", "tenant", "at"),
    Index("ix_ledger_tenant_workflow_at", "tenant", "workflow", "at"),
    Index("ix_ledger_tenant_user_at", "tenant", "user", "at"),
)

# What may be spent, what was spent since `since`, and what is held back: the sum of its reservations. Changed under its row's lock.
budgets = Table(
    "budgets",
    everything,
    Column("scope", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("name", PlainText, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("usd", Usd),
    Column("tokens", BigInteger),
    Column("calls", BigInteger),
    Column("on_exceeded", Text, nullable=False),
    Column("since", BigInteger),  # NULL: nothing was counted yet
    Column("spent_usd", Usd, nullable=False),
    Column("spent_tokens", BigInteger, nullable=False),
    Column("spent_calls", BigInteger, nullable=False),
    Column("held_usd", Usd, nullable=False),
    Column("held_tokens", BigInteger, nullable=False),
    Column("held_calls", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("raised", Boolean(create_constraint=False), nullable=False),  # a person gave it to a run under way: whoever asks models for it is to be told
    partial("ix_budgets_raised", "tenant", "name", "updated_at", where=RAISED),
    partial("ix_budgets_named", "tenant", "scope", "name", "updated_at", where=NAMED),
)

# One row for each call under way and each budget it counts into.
reservations = Table(
    "reservations",
    everything,
    Column("run_id", Text, primary_key=True),
    Column("seat", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("name", PlainText, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("call", Text, nullable=False),
    Column("usd", Usd, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_reservations_expires_at", "expires_at"),
)
