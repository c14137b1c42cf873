"""Subscribing the witness to the ends of runs, where the platform has webhooks."""

from tests.chaos.client import Client
from tests.chaos.driver import Driver
from tests.chaos.observer import Observer
from tests.chaos.ports import WaitedInVainError, until

NAME = "ends"
EVENTS = ["run.succeeded", "run.failed", "run.canceled"]
SECONDS = 60.0


async def subscribe(client: Client, witness: Observer) -> list[str]:
    """The names of the webhooks that will be told of every end; none when this version has none."""
    body = {"url": f"{witness.url}/webhook/{NAME}", "events": EVENTS}
    answer = await client.ask("POST", "/v1/endpoints", body=body, headers={"Idempotency-Key": "chaos-endpoint"})
    if answer.status in (404, 405):
        return []
    if answer.status not in (200, 201):
        raise AssertionError(f"the webhook was not accepted: {answer.status} {answer.body}")
    script = [{}, {}, {"status": 500}, {}, {"hang": 1.0}, {}, {"status": 503}] * 5
    secret = {"secret": answer.body["secret"]} if "secret" in answer.body else {}
    await witness.control_webhook(NAME, script=script, **secret)
    return [NAME]


async def arrived(witness: Observer, driver: Driver, endpoints: list[str]) -> None:
    """Wait for the deliveries of all runs; what never comes is found by C6."""

    async def told() -> bool:
        bodies = [entry["body"] for entry in await witness.ledger() if entry["kind"] == "webhook" and entry["status"] < 300]
        text = "\n".join(bodies)
        return all(run_id in text for run_id in driver.runs)

    if endpoints:
        try:
            await until(told, SECONDS, 1.0)
        except WaitedInVainError:
            return
