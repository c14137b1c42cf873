"""Time, webhooks, limits of concurrency, retention: one function for each."""

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
    """Endpoints, deliveries and hooks."""


def _retention() -> None:
    """What journals refer to, so that what nobody refers to can go."""
