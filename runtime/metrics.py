"""The metrics the product promises, counted once for the whole cluster.

Every process records deltas in a `Metrics`; one `Registry` per cluster applies them and renders Prometheus text. The names are a
promise to dashboards and alerts: they are never renamed.
"""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (1, 5, 10, 30, 60, 120, 300, 600)
Delta = (
    tuple[Literal["run"], str, str, str, float]
    | tuple[Literal["call"], str, str, float]
    | tuple[Literal["limiter_wait"], str, float]
    | tuple[Literal["limiter_refusal"], str]
)
"""`("run", workflow, status, mode, seconds)`, `("call", provider, status, seconds)`, and so on: plain data that crosses processes."""
MAX_DELTAS = 100_000
"""Deltas kept while the registry cannot be reached; beyond it the oldest are dropped: metrics are best effort, memory is not."""


class Metrics:
    """What happened in this process and was not reported yet."""

    def __init__(self) -> None:
        self._deltas: list[Delta] = []

    def run_ended(self, workflow_id: str, status: str, run_mode: str, seconds: float) -> None:
        """A run's end was committed; `seconds` from its start to its end."""
        self._add(("run", workflow_id, status, run_mode, seconds))

    def provider_call(self, provider: str, status: str, seconds: float) -> None:
        """A model call has returned."""
        self._add(("call", provider, status, seconds))

    def limiter_wait(self, provider: str, seconds: float) -> None:
        """A model call has waited for the limiter."""
        self._add(("limiter_wait", provider, seconds))

    def limiter_refusal(self, provider: str) -> None:
        """A provider has refused a model call because there were too many."""
        self._add(("limiter_refusal", provider))

    def drain(self) -> list[Delta]:
        """Everything since the last drain; the caller now answers for it."""
        deltas, self._deltas = self._deltas, []
        return deltas

    def give_back(self, deltas: list[Delta]) -> None:
        """Deltas that could not be delivered."""
        self._deltas = (deltas + self._deltas)[-MAX_DELTAS:]

    def _add(self, delta: Delta) -> None:
        if len(self._deltas) < MAX_DELTAS:
            self._deltas.append(delta)


class Registry:
    """The promised metrics of one cluster."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._runs = Counter("workflow_runs_total", "Runs that have ended", ["workflow_id", "status", "run_mode"], registry=self._registry)
        self._duration = Histogram(
            "workflow_duration_seconds", "From a run's start to its end", ["workflow_id", "run_mode"], buckets=BUCKETS, registry=self._registry
        )
        self._calls = Counter("provider_api_calls_total", "Model calls", ["provider", "status"], registry=self._registry)
        self._latency = Histogram("provider_api_latency_seconds", "Seconds of a model call", ["provider"], registry=self._registry)
        self._waits = Histogram("provider_limiter_wait_seconds", "Seconds a model call waited for the limiter", ["provider"], registry=self._registry)
        self._refusals = Counter(
            "provider_limiter_refusals_total", "Model calls a provider refused because there were too many", ["provider"], registry=self._registry
        )
        self._active = Gauge("active_runs", "Runs that have not ended", registry=self._registry)

    def apply(self, deltas: list[Delta]) -> None:
        """Add what processes have reported."""
        for delta in deltas:
            if delta[0] == "run":
                _, workflow, status, mode, seconds = delta
                self._runs.labels(workflow, status, mode).inc()
                self._duration.labels(workflow, mode).observe(seconds)
            elif delta[0] == "limiter_wait":
                self._waits.labels(delta[1]).observe(delta[2])
            elif delta[0] == "limiter_refusal":
                self._refusals.labels(delta[1]).inc()
            else:
                _, provider, status, seconds = delta
                self._calls.labels(provider, status).inc()
                self._latency.labels(provider).observe(seconds)

    def set_active_runs(self, count: int) -> None:
        """The number from the database: never counted up and down, so that no crash can make it wrong."""
        self._active.set(count)

    def render(self) -> bytes:
        """Prometheus text exposition format 0.0.4."""
        return generate_latest(self._registry)
