"""The metrics the product promises, counted once for the whole cluster.

What is counted lies in the database: a run's end is counted from its row, and what processes report is added in the transaction that also
notes the number of the report. So nothing is counted twice or forgotten because a process, the hub or the whole cluster was restarted.
The names are a promise to dashboards and alerts: they are never renamed.
"""

import secrets
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

DURATIONS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
CALLS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
WAITS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
"""Upper bounds in seconds; above the last is +Inf."""
INFINITY, SUM = "+Inf", "sum"
OTHER = "_other"
"""Stands in a label for all values beyond its limit."""
MAX_LABEL = 128
"""Characters of one value."""
OPEN_LABELS: Mapping[str, int] = {"workflow_id": 1000, "model": 200}
"""Labels whose values users choose, and how many of them are told apart. The values of the others are ours, and few."""
MAX_AMOUNTS = 10_000
"""Counters of one process that wait to be reported; beyond it those of the labels above are lumped together."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: a counter, or with `bounds` a histogram."""

    labels: tuple[str, ...]
    meaning: str
    bounds: tuple[float, ...] = ()


SERIES: Mapping[str, Series] = {
    "workflow_runs_total": Series(("workflow_id", "status", "run_mode"), "Runs that have ended"),
    "workflow_duration_seconds": Series(("workflow_id", "run_mode"), "From a run's start to its end", DURATIONS),
    "provider_api_calls_total": Series(("provider", "status"), "Model calls"),
    "provider_api_latency_seconds": Series(("provider",), "Seconds of a model call", LATENCIES),
    "provider_limiter_wait_seconds": Series(("provider",), "Seconds a model call waited for the limiter", WAITS),
    "provider_limiter_refusals_total": Series(("provider",), "Model calls a provider refused because there were too many"),
    "model_call_seconds": Series(("provider", "model"), "Seconds of a model call that was answered", CALLS),
    "model_tokens_total": Series(("provider", "model", "direction"), "Tokens of answered model calls"),
    "model_cost_usd_total": Series(("provider", "model"), "What answered model calls have cost, as far as prices are known"),
}
ACTIVE = "active_runs"

Key = tuple[str, tuple[str, ...]]
"""A metric and the values of its labels; of a histogram also the bucket (its upper bound) or `sum`."""
Amounts = Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a process has to report. Sent again, it is the same batch with the same number: whoever adds it up knows that."""

    source: str
    number: int
    amounts: tuple[tuple[str, tuple[str, ...], float], ...] = ()


@dataclass(frozen=True, slots=True)
class Spent:
    """What one answer of a model has taken. `cost_usd` is None when nobody knows the price of the model."""

    provider: str
    model: str
    seconds: float
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class Metrics:
    """What happened in this process and was not added up yet."""

    def __init__(self) -> None:
        self._source, self._number = secrets.token_hex(16), 0
        self._waiting: dict[Key, float] = {}
        self._sent: Batch | None = None

    def provider_call(self, provider: str, status: str, seconds: float) -> None:
        """A model call has returned: `success`, `canceled` or the code of its error."""
        self.count("provider_api_calls_total", provider, status)
        self.observe("provider_api_latency_seconds", seconds, provider)

    def limiter_wait(self, provider: str, seconds: float) -> None:
        """A model call has waited for the limiter."""
        self.observe("provider_limiter_wait_seconds", seconds, provider)

    def limiter_refusal(self, provider: str) -> None:
        """A provider has refused a model call because there were too many."""
        self.count("provider_limiter_refusals_total", provider)

    def spent(self, spent: Spent) -> None:
        """A model has answered."""
        who = (spent.provider, spent.model)
        self.observe("model_call_seconds", spent.seconds, *who)
        self.count("model_tokens_total", *who, "input", amount=spent.input_tokens)
        self.count("model_tokens_total", *who, "output", amount=spent.output_tokens)
        if spent.cost_usd is not None:
            self.count("model_cost_usd_total", *who, amount=spent.cost_usd)

    def count(self, metric: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter of SERIES."""
        self._add(counted(metric, *labels, amount=amount))

    def observe(self, metric: str, value: float, *labels: str) -> None:
        """Add an observation to a histogram of SERIES."""
        self._add(observed(metric, value, *labels))

    def batch(self) -> Batch:
        """What to report now: the last batch again, until `settle` has heard that it was added."""
        if self._sent is None and self._waiting:
            self._number += 1
            self._sent = Batch(self._source, self._number, tuple((*key, amount) for key, amount in self._waiting.items()))
            self._waiting = {}
        return self._sent or Batch(self._source, self._number)

    @property
    def waiting(self) -> bool:
        """Whether there is something to report."""
        return self._sent is not None or bool(self._waiting)

    def settle(self, number: int) -> None:
        """The batch of this number was added."""
        if self._sent is not None and self._sent.number <= number:
            self._sent = None

    def _add(self, amounts: Amounts) -> None:
        for key, amount in amounts.items():
            place = key if key in self._waiting or len(self._waiting) < MAX_AMOUNTS else lumped(key)
            self._waiting[place] = self._waiting.get(place, 0.0) + amount


class Values:
    """The values of open labels that are told apart. Whatever comes when there are enough of them is counted as `_other`."""

    def __init__(self, known: Iterable[Key] = ()) -> None:
        self._known: dict[str, set[str]] = {label: set() for label in OPEN_LABELS}
        for key in known:
            self.bounded(key)

    def bounded(self, key: Key) -> Key:
        """The key to count under."""
        metric, values = key
        series = SERIES.get(metric)
        if series is None:
            return key  # another version's, on the same database
        labels = series.labels
        return metric, (*(self._one(label, value) for label, value in zip(labels, values, strict=False)), *values[len(labels) :])

    def _one(self, label: str, value: str) -> str:
        known = self._known.get(label)
        if known is None or value in known or value == OTHER:
            return value
        if len(known) >= OPEN_LABELS[label]:
            return OTHER
        known.add(value)
        return value


def counted(metric: str, *labels: str, amount: float = 1) -> Amounts:
    """What one event adds to a counter."""
    return {(metric, tuple(label[:MAX_LABEL] for label in labels)): float(amount)}


def observed(metric: str, value: float, *labels: str) -> Amounts:
    """What one observation adds to a histogram."""
    bounds, values = SERIES[metric].bounds, tuple(label[:MAX_LABEL] for label in labels)
    at = bisect_left(bounds, value)
    bucket = str(bounds[at]) if at < len(bounds) else INFINITY
    return {(metric, (*values, bucket)): 1.0, (metric, (*values, SUM)): value}


def run_ended(workflow: str, status: str, mode: str, seconds: float) -> Amounts:
    """What a run's end adds; `seconds` from its start to its end."""
    return {**counted("workflow_runs_total", workflow, status, mode), **observed("workflow_duration_seconds", seconds, workflow, mode)}


def lumped(key: Key) -> Key:
    """The same with nothing told apart that users choose."""
    metric, values = key
    labels = SERIES[metric].labels
    return metric, (*(OTHER if label in OPEN_LABELS else value for label, value in zip(labels, values, strict=False)), *values[len(labels) :])


def render(totals: Amounts, active_runs: int) -> bytes:
    """Prometheus text exposition format 0.0.4. `active_runs` comes from the database: never counted up and down, so that no crash makes it wrong."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(totals, active_runs))
    return generate_latest(registry)


class _Collector:
    def __init__(self, totals: Amounts, active_runs: int) -> None:
        self._totals, self._active = totals, active_runs

    def collect(self) -> Iterable[Metric]:
        for name, series in SERIES.items():
            found = {values: amount for (metric, values), amount in self._totals.items() if metric == name}
            yield _histogram(name, series, found) if series.bounds else _counter(name, series, found)
        yield GaugeMetricFamily(ACTIVE, "Runs that have not ended", self._active)


def _counter(name: str, series: Series, found: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name.removesuffix("_total"), series.meaning, labels=series.labels)
    for values, amount in sorted(found.items()):
        family.add_metric(values, amount)
    return family


def _histogram(name: str, series: Series, found: Mapping[tuple[str, ...], float]) -> Metric:
    family = HistogramMetricFamily(name, series.meaning, labels=series.labels)
    for values in sorted({values[:-1] for values in found}):
        family.add_metric(values, _cumulative(series.bounds, values, found), found.get((*values, SUM), 0.0))
    return family


def _cumulative(bounds: Sequence[float], values: tuple[str, ...], found: Mapping[tuple[str, ...], float]) -> list[tuple[str, float]]:
    """Buckets as Prometheus has them: each counts all that is not above its bound."""
    buckets, below = [], 0.0
    for bound in (*map(str, bounds), INFINITY):
        below += found.get((*values, bound), 0.0)
        buckets.append((bound, below))
    return buckets
