"""Every table and index, once, for SQLite and PostgreSQL. Times are milliseconds since the epoch, JSON is text."""

from collections.abc import Iterable

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

import runtime.store.metric_tables
import runtime.store.money_tables  # noqa: F401 - their tables are part of `metadata`
from runtime.engine.events import RUN_ENDS, STEP_ENDS, Kind
from runtime.store.columns import PlainText, Serial
from runtime.store.metadata import everything
from runtime.store.metadata import partial as _partial

metadata = everything

HOLDING = "slot_held AND ended_at IS NULL"
LINED_UP = "NOT slot_held AND ended_at IS NULL"
UNCOUNTED = "ended_at IS NOT NULL AND counted IS NULL"
"""Runs that have a slot, that wait for one, and that have ended and are not in the totals yet. Queries say the same words, so that the small
indexes over them serve."""


def _kinds(kinds: Iterable[Kind]) -> str:
    return "kind IN (" + ", ".join(f"'{kind.value}'" for kind in kinds) + ")"


runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("owner", Text),
    Column("waiting_for", Text),
    Column("wake_at", BigInteger),
    Column("cancel_requested_at", BigInteger),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("priority", Integer, nullable=False),
    Column("isolation", Text, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("parent_run", Text),
    Column("parent_step", Text),
    Column("forked_from", Text),
    Column("schedule_id", Text),
    Column("schedule_tick", BigInteger),  # NULL when somebody started it outside the ticks
    Column("labels", Text),
    Column("result", Text),
    Column("error", Text),
    Column("keep_for", BigInteger),  # ms after its end, when its definition says so
    # Of a run with limits of concurrency: which runs it shares them with, the limits, and whether it has a slot (until it ends).
    Column("slot_group", Text),
    Column("slot_key", PlainText),
    Column("slot_limit", Integer),
    Column("slot_per_key", Integer),
    Column("slot_on_limit", Text),
    Column("slot_held", Boolean(create_constraint=False)),
    Column("counted", Boolean(create_constraint=False)),  # its end is in the totals; NULL until then
    _partial("ix_runs_holding", "slot_group", "slot_key", where=HOLDING),
    _partial("ix_runs_lined_up", "slot_group", "slot_key", "priority", "created_at", "run_id", where=LINED_UP),
    _partial("ix_runs_claimable", "isolation", "priority", "wake_at", "run_id", where="owner IS NULL AND wake_at IS NOT NULL"),
    _partial("ix_runs_owner", "owner", where="owner IS NOT NULL"),
    _partial("ix_runs_active", "tenant", "run_id", where="ended_at IS NULL"),
    _partial("ix_runs_parent_run", "parent_run", where="parent_run IS NOT NULL"),
    _partial("ix_runs_uncounted", "run_id", where=UNCOUNTED),
    _partial("ix_runs_ended", "keep_for", "status", "ended_at", "run_id", where="ended_at IS NOT NULL"),
    _partial("ix_runs_schedule_open", "schedule_id", "ended_at", where="schedule_id IS NOT NULL AND ended_at IS NULL"),
    _partial("ix_runs_schedule", "schedule_id", "run_id", where="schedule_id IS NOT NULL"),
    # The second net under schedules/firing.py: whatever fires twice, a tick has one run.
    _partial("uq_runs_schedule_tick", "schedule_id", "schedule_tick", where="schedule_tick IS NOT NULL", unique=True),
    Index(None, "tenant", "workflow", "run_id"),
    Index(None, "tenant", "run_id"),
)

run_labels = Table(
    "run_labels",
    metadata,
    Column("key", PlainText, primary_key=True),
    Column("value", PlainText, primary_key=True),
    Column("run_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text),
    Column("attempt", Integer),
    Column("body", Text),
    Column("at", BigInteger, nullable=False),
    Column("crc", BigInteger, nullable=False),
    # The second net under the guards of appends.py: the model checker's properties as constraints.
    _partial("uq_events_run_end", "run_id", where=_kinds(RUN_ENDS), unique=True),
    _partial("uq_events_step_end", "run_id", "step", where=_kinds(STEP_ENDS), unique=True),
    _partial("uq_events_step_started", "run_id", "step", "attempt", where=_kinds([Kind.STEP_STARTED]), unique=True),
    sqlite_with_rowid=False,
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Serial, primary_key=True),  # the order of arrival within a run: assigned under the run's lock
    Column("run_id", Text, nullable=False),
    Column("message_id", PlainText, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("applied_seq", BigInteger),  # 0: the run ended without applying it
    Index("uq_inbox_run_id_message_id", "run_id", "message_id", unique=True),
    _partial("ix_inbox_waiting", "run_id", where="applied_seq IS NULL"),
)

owners = Table(
    "owners",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("beat", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("host", PlainText, nullable=False),
    Column("name", PlainText, nullable=False),
    Column("version", PlainText, nullable=False),
    Column("draining", Boolean(create_constraint=False), nullable=False),
)

idem = Table(
    "idem",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", PlainText, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("run_id", Text, nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

approvals = Table(
    "approvals",
    metadata,
    Column("approval_id", Text, primary_key=True),
    Column("run_id", Text, nullable=False, index=True),
    Column("workflow", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("message", PlainText, nullable=False),
    Column("form", Text),
    Column("show", Text),
    Column("expires_at", BigInteger),
    Column("decided_at", BigInteger),
    Column("decision", Text),
    Column("message_id", PlainText),  # the inbox message that decided; NULL when the engine did
    _partial("ix_approvals_pending", "requested_at", "approval_id", where="decided_at IS NULL"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("endpoint_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("url", PlainText, nullable=False),
    Column("events", Text, nullable=False),
    Column("workflows", Text),  # NULL: all
    Column("description", PlainText, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # events before this were not, or not so, subscribed to
    Column("disabled_at", BigInteger),
    Column("disabled_reason", PlainText),
    Column("failing_since", BigInteger),  # the first failure since something was last delivered
    Column("pruned_before", BigInteger, nullable=False),  # deliveries that ended before this may be gone
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, nullable=False),
    Column("run_id", Text),  # NULL: a test message, which speaks of no run
    Column("seq", BigInteger),
    Column("event", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),  # of a delivery that is being sent: when its lease ends
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("answer", Integer),
    Column("error", PlainText),
    _partial("ix_outbox_due", "endpoint_id", "next_at", where="state = 'pending'"),
    _partial("uq_outbox_pending", "endpoint_id", "run_id", "seq", where="state = 'pending'", unique=True),
    _partial("ix_outbox_ended", "ended_at", where="ended_at IS NOT NULL"),
    Index(None, "endpoint_id", "id"),
)

hooks = Table(
    "hooks",
    metadata,
    Column("hook_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("name", PlainText, nullable=False),
    Column("workflow", PlainText, nullable=False),
    Column("version", Text),
    Column("token_id", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("verify", Text, nullable=False),
    Column("header", Text),
    Column("secret", Text),
    Column("inputs", Text),  # NULL: the whole body
    Column("labels", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("uq_hooks_token_id", "token_id", unique=True),
    Index("uq_hooks_tenant_name", "tenant", "name", unique=True),
)

workflows = Table(
    "workflows",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("workflow", PlainText, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
)

definitions = Table(
    "definitions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("definition", Text, primary_key=True),
    Column("workflow", PlainText, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("document", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("uq_definitions_tenant_workflow_version", "tenant", "workflow", "version", unique=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("name", PlainText, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    _partial("ix_api_keys_expires_at", "expires_at", where="expires_at IS NOT NULL"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("name", PlainText, primary_key=True),
    Column("digest", Text, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("media_type", PlainText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("step", Text),
)

# What journals and inboxes refer to: content of the artifact store that no row names may go.
value_refs = Table(
    "value_refs",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("run_id", Text, primary_key=True, index=True),
    sqlite_with_rowid=False,
)

# Runs that are gone but for rows nobody looks at any more: they are deleted in portions, also by whoever comes after a crash.
removals = Table("removals", metadata, Column("run_id", Text, primary_key=True))

settings = Table(
    "settings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("provider", PlainText, nullable=False),
    Column("encrypted_value", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("uq_settings_user_id_provider", "user_id", "provider", unique=True),
)

schedules = Table(
    "schedules",
    metadata,
    Column("schedule_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("workflow", Text, nullable=False),
    Column("etag", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("paused", Boolean(create_constraint=False), nullable=False),
    Column("note", PlainText),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("last_tick", BigInteger),  # the latest tick that was decided: no tick up to it is ever decided again
    Column("next_tick", BigInteger),  # the guard of every decision; NULL when there is no more
    Column("next_at", BigInteger),  # when to look at `next_tick`; NULL while paused
    Column("error", Text),  # why `next_tick` could not be started yet
    Index("uq_schedules_tenant_name", "tenant", "name", unique=True),
    _partial("ix_schedules_next_at", "next_at", where="next_at IS NOT NULL"),
)

schedule_ticks = Table(
    "schedule_ticks",
    metadata,
    Column("id", Serial, primary_key=True),  # the order in which they were recorded
    Column("schedule_id", Text, nullable=False),
    Column("tick", BigInteger, nullable=False),
    Column("last_tick", BigInteger, nullable=False),  # of a row that records several missed ticks
    Column("count", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("overlap", Text),  # of a tick somebody asked for afterwards
    Column("run_id", Text),
    Column("error", Text),
    Column("recorded_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger, nullable=False),
    Index("ix_schedule_ticks_schedule_id_id", "schedule_id", "id"),
    _partial("ix_schedule_ticks_buffered", "schedule_id", "tick", where="outcome = 'buffered'"),
    _partial("uq_schedule_ticks_schedule_id_tick", "schedule_id", "tick", where="outcome <> 'missed'", unique=True),
)

# What agent steps say to each other beyond their runs. It outlives them, so it refers to nothing of theirs.
conversations = Table(
    "conversations",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("head", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, index=True),
)

exchanges = Table(
    "exchanges",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("messages", Text, nullable=False),
)

# Answers of models that are kept to be given again. Nothing depends on a row being there.
cached_calls = Table(
    "cached_calls",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("answer", Text, nullable=False),  # last: whoever sums sizes need not read it
)
