"""Time, webhooks, limits of concurrency, retention: one function for each."""

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what each part needs."""
    _concurrency()
    _schedules()
    _webhooks()
    _retention()


def _concurrency() -> None:
    """Slots: columns of live runs."""


def _schedules() -> None:
    """Cron schedules and which run came from which."""


def _webhooks() -> None:
    """Endpoints, deliveries and hooks."""


def _retention() -> None:
    """What journals refer to, so that what nobody refers to can go."""
