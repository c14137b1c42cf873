"""Child runs side by side: some stumble and recover, one is beyond help, the rest goes on."""

from runtime.store.protocol import RunQuery
from tests.examples.conftest import EXAMPLES

PATH, CHILD = "price_watch/workflow.yaml", "price_watch/price_check.yaml"


async def publish_child(desk):
    await desk.gateway.publish("default", (EXAMPLES / CHILD).read_text())


async def test_the_best_of_those_that_answered(desk):
    await publish_child(desk)
    run = await desk.start(PATH)
    outputs = await desk.outputs(run)
    assert (outputs["checked"], outputs["failed"]) == (5, 1)
    assert 300 <= outputs["best"]["price"] < 400
    children = [row for row in await desk.gateway.runs("default", RunQuery("default")) if row.parent_run == run.run_id]
    assert sorted(str(child.status) for child in children) == ["failed"] + ["succeeded"] * 5
    failed = next(child for child in children if child.status == "failed")
    assert failed.error["code"] == "shop_closed"


async def test_a_stumbling_shop_is_asked_again(desk):
    await publish_child(desk)
    run = await desk.start(PATH, offers=[{"shop": "Flaky Fittings", "sku": "PUMP-40"}])
    assert (await desk.outputs(run))["checked"] == 1
    (child,) = [row for row in await desk.gateway.runs("default", RunQuery("default")) if row.parent_run == run.run_id]
    step, _ = await desk.gateway.step("default", child.run_id, "ask")
    assert step.attempt == 3


async def test_too_many_failures_fail_the_run(desk):
    await publish_child(desk)
    run = await desk.start(PATH, offers=[{"shop": "Closed Counter", "sku": str(number)} for number in range(2)] + [{"shop": "The Pipe Yard", "sku": "1"}])
    row = await desk.end(run)
    assert (row.status, row.error["step"]) == ("failed", "checks")
