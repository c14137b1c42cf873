"""Tables of what is counted."""

from sqlalchemy import BigInteger, Column, Double, Index, Table, Text

from runtime.store.metadata import everything

metric_totals = Table(
    "metric_totals",
    everything,
    Column("metric", Text, primary_key=True),
    Column("labels", Text, primary_key=True),  # a JSON array: the values in the order of runtime/metrics.py, then the bucket
    Column("value", Double, nullable=False),
)

metric_sources = Table(
    "metric_sources",
    everything,
    Column("source", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),  # of the last batch that was added
    Column("seen_at", BigInteger, nullable=False),
    Index("ix_metric_sources_seen_at", "seen_at"),
)
