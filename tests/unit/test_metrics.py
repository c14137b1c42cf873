"""What stands at /metrics, read as Prometheus reads it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.metrics import MAX_AMOUNTS, SERIES, Metrics, Spent, counted, observed, render, run_ended

PROMISED = {
    "workflow_runs_total": {"workflow_id", "status", "run_mode"},
    "workflow_duration_seconds": {"workflow_id", "run_mode"},
    "provider_api_calls_total": {"provider", "status"},
    "provider_api_latency_seconds": {"provider"},
    "active_runs": set(),
}


def added(*amounts):
    totals = {}
    for one in amounts:
        for key, amount in one.items():
            totals[key] = totals.get(key, 0.0) + amount
    return totals


def samples(text: bytes):
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for family in text_string_to_metric_families(text.decode()) for sample in family.samples
    }


def test_names_and_labels_are_those_that_were_promised():
    spent = Metrics()
    spent.provider_call("openai", "success", 0.1)
    spent.spent(Spent("openai", "gpt", 1.0, 1, 1, 0.1))
    totals = added(run_ended("brief", "failed", "live", 12.0), {(metric, labels): amount for metric, labels, amount in spent.batch().amounts})
    text = render(totals, 3)
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    for name, labels in PROMISED.items():
        family = families[name.removesuffix("_total")]
        assert {frozenset(sample.labels) - {"le"} for sample in family.samples} == {frozenset(labels)}, name
        assert family.type == ("gauge" if name == "active_runs" else "histogram" if name.endswith("_seconds") else "counter")
    ended = frozenset({("workflow_id", "brief"), ("status", "failed"), ("run_mode", "live")})
    assert samples(text)["workflow_runs_total", ended] == 1
    assert samples(text)["active_runs", frozenset()] == 3


@pytest.mark.parametrize(("seconds", "first"), [(0.4, "1.0"), (1.0, "1.0"), (1.1, "5.0"), (600.0, "600.0"), (601.0, "+Inf")])
def test_buckets_count_what_is_not_above_them(seconds, first):
    found = samples(render(observed("workflow_duration_seconds", seconds, "brief", "live"), 0))
    labels = {("workflow_id", "brief"), ("run_mode", "live")}
    buckets = {dict(place)["le"]: value for (name, place), value in found.items() if name == "workflow_duration_seconds_bucket"}
    assert list(buckets) == ["1.0", "5.0", "10.0", "30.0", "60.0", "120.0", "300.0", "600.0", "+Inf"]
    assert next(bound for bound, value in buckets.items() if value) == first
    assert list(buckets.values()) == sorted(buckets.values())
    assert found["workflow_duration_seconds_count", frozenset(labels)] == 1
    assert found["workflow_duration_seconds_sum", frozenset(labels)] == seconds


def test_nothing_counted_is_valid_too():
    assert {family.name for family in text_string_to_metric_families(render({}, 0).decode())} >= {"active_runs", "workflow_runs"}


def test_values_that_need_escapes_survive():
    name = 'a "quoted" \\ name\nwith lines'
    found = samples(render(counted("workflow_runs_total", name, "succeeded", "live"), 0))
    assert found["workflow_runs_total", frozenset({("workflow_id", name), ("status", "succeeded"), ("run_mode", "live")})] == 1


def test_what_another_version_counts_is_left_alone():
    assert b"unheard_of" not in render({("unheard_of_total", ("x",)): 1.0}, 0)


def test_a_process_that_is_never_asked_keeps_a_bounded_number():
    metrics = Metrics()
    for number in range(MAX_AMOUNTS):
        metrics.spent(Spent("openai", f"model-{number}", 1.0, 2, 1, None))
    amounts = {(metric, labels): amount for metric, labels, amount in metrics.batch().amounts}
    assert len(amounts) <= MAX_AMOUNTS + 10
    assert sum(amount for (metric, labels), amount in amounts.items() if metric == "model_tokens_total" and labels[2] == "input") == 2 * MAX_AMOUNTS


def test_every_series_has_a_sentence():
    assert all(series.meaning for series in SERIES.values())
