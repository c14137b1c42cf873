"""Totals: every end of a run and every batch is counted once, whoever wrote, sent, repeated or removed it."""

import asyncio

import pytest

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.metrics import Batch, Metrics, Spent
from runtime.store.open import Store
from runtime.store.protocol import MessageKind
from tests.contract.store.desk import TENANT, Desk, tick

CALLS = ("provider_api_calls_total", ("openai", "success"))


def ends(workflow: str = "brief", status: str = "succeeded", mode: str = "live"):
    return ("workflow_runs_total", (workflow, status, mode))


def counted() -> Metrics:
    metrics = Metrics()
    metrics.provider_call("openai", "success", 0.2)
    return metrics


async def test_the_end_of_a_run_is_counted_once(store: Store, second: Store, desk: Desk):
    for kind in (Kind.RUN_SUCCEEDED, Kind.RUN_SUCCEEDED, Kind.RUN_FAILED):
        await (await desk.hold()).end(kind)
    await desk.hold()
    assert sum(await asyncio.gather(store.counts.count_ends(), second.counts.count_ends())) == 3
    assert await second.counts.count_ends() == 0
    totals = await store.counts.totals()
    assert (totals[ends()], totals[ends(status="failed")]) == (2, 1)
    assert sum(totals["workflow_duration_seconds", ("brief", "live", bucket)] for bucket in ("1.0",)) == 3
    assert totals["workflow_duration_seconds", ("brief", "live", "sum")] == pytest.approx(0.003, abs=0.01)


async def test_a_run_that_never_had_an_owner_is_counted(store: Store, desk: Desk):
    run_id = await desk.submit()
    await desk.send(run_id, MessageKind.CANCEL)
    assert (await desk.run(run_id)).status is RunStatus.CANCELED
    assert await store.counts.count_ends() == 1
    assert (await store.counts.totals())[ends(status="canceled")] == 1


async def test_a_run_that_is_taken_over_ends_once(store: Store, desk: Desk):
    late = await desk.hold("host-1")
    await desk.owner("host-2")
    (claim,) = await desk.claim("host-2", late.run_id, dead=["host-1"])
    now = type(late)(store, claim.row)
    await now.end()
    await late.end(Kind.RUN_FAILED)
    await store.counts.count_ends()
    totals = await store.counts.totals()
    assert {key: value for key, value in totals.items() if key[0] == "workflow_runs_total"} == {ends(): 1}


async def test_a_run_that_is_removed_before_it_was_counted_is_counted(store: Store, desk: Desk):
    hand = await desk.hold()
    await hand.end()
    await store.retention.remove([hand.run_id])
    other = await desk.hold()
    await other.end()
    await store.counts.count_ends()
    await store.retention.remove([other.run_id])
    assert (await store.counts.totals())[ends()] == 2


async def test_many_ends_are_counted_in_portions(store: Store, desk: Desk):
    await desk.owner()
    for _ in range(260):
        run_id = await desk.submit()
        await desk.change(run_id, ended_at=tick(), status="succeeded")
    assert await store.counts.count_ends() == 260
    assert (await store.counts.totals())[ends()] == 260


async def test_a_batch_is_added_once_however_often_it_is_sent(store: Store, second: Store):
    metrics = counted()
    batch = metrics.batch()
    for _ in range(2):
        assert await asyncio.gather(*(each.counts.add(batch, tick()) for each in (store, second))) == [1, 1]
    assert (await store.counts.totals())[CALLS] == 1
    # The answer was lost: what came meanwhile waits for the next batch, and the same one goes out again.
    metrics.provider_call("openai", "success", 0.2)
    assert metrics.batch() == batch
    metrics.settle(1)
    following = metrics.batch()
    assert (following.number, metrics.waiting) == (2, True)
    await second.counts.add(following, tick())
    await store.counts.add(batch, tick())
    assert (await store.counts.totals())[CALLS] == 2
    metrics.settle(2)
    assert (metrics.batch(), metrics.waiting) == (Batch(batch.source, 2), False)


async def test_processes_add_up(store: Store):
    await asyncio.gather(*(store.counts.add(counted().batch(), tick()) for _ in range(5)))
    totals = await store.counts.totals()
    assert totals[CALLS] == 5
    assert totals["provider_api_latency_seconds", ("openai", "0.25")] == 5
    assert totals["provider_api_latency_seconds", ("openai", "sum")] == pytest.approx(1.0)


async def test_labels_have_a_bound(store: Store):
    metrics = Metrics()
    for number in range(205):
        metrics.spent(Spent("openai", f"model-{number}", 1.0, 10, 1, 0.5))
    await store.counts.add(metrics.batch(), tick())
    totals = await store.counts.totals()
    models = {labels[1] for metric, labels in totals if metric == "model_tokens_total"}
    assert len(models) == 201
    assert totals["model_tokens_total", ("openai", "_other", "input")] == 50
    assert sum(value for (metric, _), value in totals.items() if metric == "model_cost_usd_total") == pytest.approx(102.5)


async def test_another_process_knows_the_labels_there_are(store: Store, second: Store):
    metrics = Metrics()
    for number in range(200):
        metrics.spent(Spent("openai", f"model-{number}", 1.0, 10, 1, None))
    await store.counts.add(metrics.batch(), tick())
    late = Metrics()
    late.spent(Spent("openai", "one-more", 1.0, 10, 1, None))
    late.spent(Spent("openai", "model-7", 1.0, 10, 1, None))
    await second.counts.add(late.batch(), tick())
    totals = await store.counts.totals()
    assert totals["model_tokens_total", ("openai", "_other", "input")] == 10
    assert totals["model_tokens_total", ("openai", "model-7", "input")] == 20


async def test_sources_are_forgotten_after_a_week(store: Store):
    await store.counts.add(Batch("old", 3, ((*CALLS, 1.0),)), 0)
    await store.counts.add(Batch("new", 1, ((*CALLS, 1.0),)), 8 * 86_400_000)
    from sqlalchemy import select

    from runtime.store.metric_tables import metric_sources

    assert await store.reader.read(lambda connection: list(connection.scalars(select(metric_sources.c.source)))) == ["new"]


async def test_tenants_are_no_label(store: Store, desk: Desk):
    await (await desk.hold(tenant="somebody-else")).end()
    await store.counts.count_ends()
    assert not any(TENANT in labels or "somebody-else" in labels for _, labels in await store.counts.totals())
