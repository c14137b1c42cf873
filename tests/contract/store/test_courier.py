"""The courier on both databases: crashes, races, slow and dead receivers, and days of failure in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpcore2
import httpx2
import pytest

from runtime.clock import SystemClock
from runtime.courier import Courier, Sender, courier
from runtime.courier.schedule import DELAYS
from runtime.engine.events import Kind
from runtime.errors import StepFailed
from runtime.failpoints import AnswerLost
from runtime.secrets import SecretBox
from runtime.signatures import is_standard, key_of, new_secret
from runtime.steps.addresses import AllowList
from runtime.steps.outbound import Outbound
from runtime.store.fsck import fsck
from runtime.store.open import Store
from runtime.store.sealed import rewrap
from runtime.store.webhooks import DeliveryState, EndpointRow
from tests.contract.store.desk import TENANT, Desk, tick
from tests.contract.store.post_office import an_endpoint, in_outbox
from tests.support.receiver import Receiver, receiving

BOX = SecretBox(["k" * 32])
SECRET = new_secret()
HOUR = 3_600_000


class Hands:
    """A clock that moves when told; the journal's events are as old as the desk's ticks."""

    def __init__(self) -> None:
        self.ms = tick() + 1_000_000

    def now(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class Wire(httpx2.AsyncBaseTransport):
    """A receiver without a network: answers by script, keeps every request."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.default: Any = 204
        self.requests: list[httpx2.Request] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.started: asyncio.Queue[str] = asyncio.Queue()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.started.put_nowait(request.url.host)
        if request.url.host in self.gates:
            await self.gates[request.url.host].wait()
        answer = self.answers.pop(0) if self.answers else self.default
        if isinstance(answer, BaseException):
            raise answer
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(b"x" * 100_000))

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def wire() -> Wire:
    return Wire()


def a_courier(store: Store, wire: Wire, clock: Any, box: SecretBox = BOX) -> Courier:
    return Courier(store.outbox, Sender(box, lambda: wire, clock), clock, chance=lambda: 0.0)


async def subscribe(store: Store, **fields: Any) -> EndpointRow:
    row = an_endpoint(**fields)
    row = replace(row, secret=BOX.seal(SECRET.encode(), row.place))
    await store.outbox.add(row)
    return row


async def state(store: Store) -> list[tuple[str, int]]:
    return [(row.state, row.tries) for row in await in_outbox(store)]


async def test_a_message_is_signed_and_sent_once(desk: Desk, store: Store, wire: Wire, clock: Hands):
    endpoint = await subscribe(store, url="https://receiver.example/in?a=b")
    hand = await desk.hold()
    courier_ = a_courier(store, wire, clock)
    assert await courier_.round() == 1
    (request,) = wire.requests
    (row,) = await in_outbox(store)
    assert (request.method, str(request.url), request.headers["content-type"]) == ("POST", endpoint.url, "application/json")
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == (row.id, str(clock.ms // 1000))
    assert request.content == row.payload.encode()
    assert is_standard(key_of(SECRET), row.id, str(clock.ms // 1000), request.headers["webhook-signature"], request.content, now=clock.ms)
    assert (row.state, row.answer, row.tries, row.run_id) == ("delivered", 204, 1, hand.run_id)
    assert await courier_.round() == 0


async def test_while_a_secret_changes_both_sign_and_then_the_new_one_alone(desk: Desk, store: Store, wire: Wire, clock: Hands):
    endpoint, fresh = await subscribe(store), new_secret()
    await store.outbox.rotate(TENANT, endpoint.endpoint_id, BOX.seal(fresh.encode(), endpoint.place), until=clock.ms + 1)
    for signers in ([fresh, SECRET], [fresh]):
        await desk.hold()
        await a_courier(store, wire, clock).round()
        headers = wire.requests[-1].headers
        signatures = headers["webhook-signature"].split(" ")
        assert len(signatures) == len(signers)
        for secret, signature in zip(signers, signatures, strict=True):
            assert is_standard(key_of(secret), headers["webhook-id"], headers["webhook-timestamp"], signature, wire.requests[-1].content, now=clock.ms)
        clock.ms += 1


@pytest.mark.parametrize("failure", [AnswerLost("lost"), RuntimeError("a defect")])
async def test_a_crash_between_sending_and_noting_sends_the_same_again(
    desk: Desk, store: Store, second: Store, wire: Wire, clock: Hands, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    await subscribe(store)
    await desk.hold()
    reached: list[tuple[str, str]] = []

    def die(point: str, key: str) -> None:
        reached.append((point, key))
        raise failure

    monkeypatch.setattr(courier, "reach", die)
    assert await a_courier(store, wire, clock).round() == 1
    monkeypatch.undo()
    assert await state(store) == [("pending", 1)]
    heir = a_courier(second, wire, clock)
    assert await heir.round() == 0
    clock.ms += courier.LEASE_MS
    assert await heir.round() == 1
    assert reached == [("outbox.after_send", wire.ids[0])]
    assert wire.ids[0] == wire.ids[1]
    assert wire.requests[0].content == wire.requests[1].content
    assert await state(store) == [("delivered", 2)]


async def test_two_couriers_share_the_work(desk: Desk, store: Store, second: Store, wire: Wire, clock: Hands):
    await subscribe(store)
    for _ in range(25):
        await (await desk.hold()).end()
    couriers = [a_courier(each, wire, clock) for each in (store, second)]
    while any(await asyncio.gather(*(each.round() for each in couriers))):
        clock.ms += 1
    assert len(wire.ids) == len(set(wire.ids)) == 50
    assert set(await state(store)) == {("delivered", 1)}
    assert await fsck(store) == []


async def test_a_run_is_told_in_its_order_whatever_fails(desk: Desk, store: Store, wire: Wire, clock: Hands):
    await subscribe(store)
    hand = await desk.hold()
    for name in "abc":
        await hand.append((Kind.STEP_FAILED, {"step": name, "body": {"error": {}}}))
    await hand.end()
    wire.answers = [500, 500, 204, 500, 204, 503, 503, 503, 204]
    one = a_courier(store, wire, clock)
    while any(row[0] == "pending" for row in await state(store)):
        await one.round()
        clock.ms += 60_000
    seqs = [row.seq for row in await in_outbox(store)]
    order = {row.id: row.seq for row in await in_outbox(store)}
    sent = [order[each] for each in wire.ids]
    assert sent == sorted(sent)
    assert sorted(set(sent)) == seqs


async def test_days_of_failure_in_virtual_time(desk: Desk, store: Store, wire: Wire, clock: Hands):
    await subscribe(store)
    await desk.hold()
    wire.default = 503
    one, began, at = a_courier(store, wire, clock), clock.ms, []
    while (await state(store))[0][0] == "pending":
        if await one.round():
            at.append(clock.ms - began)
        clock.ms += 5_000 if len(at) < 3 else 600_000
    waits = [(later - earlier) / 1000 for earlier, later in pairwise(at)]
    assert len(at) == len(DELAYS) == 10
    for wait, delay in zip(waits, DELAYS[1:], strict=True):
        assert delay <= wait <= delay + 600
    assert len(set(wire.ids)) == 1
    assert len({request.content for request in wire.requests}) == 1
    assert await state(store) == [("given_up", 10)]


async def test_a_receiver_that_was_down_for_a_day_gets_everything_in_order(desk: Desk, store: Store, wire: Wire, clock: Hands):
    await subscribe(store)
    hands = [await desk.hold() for _ in range(5)]
    one, back = a_courier(store, wire, clock), clock.ms + 24 * HOUR
    wire.default = httpcore2.ConnectError("refused")
    while clock.ms < back:
        await one.round()
        clock.ms += HOUR
    for hand in hands:
        await hand.end()
    wire.default, wire.requests = 204, []
    while any(row[0] == "pending" for row in await state(store)):
        await one.round()
        clock.ms += HOUR
    assert len(wire.ids) == len(set(wire.ids)) == 10
    order = {row.id: (row.run_id, row.seq) for row in await in_outbox(store)}
    for hand in hands:
        seqs = [order[each][1] for each in wire.ids if order[each][0] == hand.run_id]
        assert seqs == sorted(seqs)


async def test_gone_disables_and_nothing_more_is_sent(desk: Desk, store: Store, wire: Wire, clock: Hands):
    endpoint = await subscribe(store)
    hand = await desk.hold()
    wire.default = 410
    one = a_courier(store, wire, clock)
    await one.round()
    await hand.end()
    clock.ms += HOUR
    assert await one.round() == 0
    row = await store.outbox.endpoint(TENANT, endpoint.endpoint_id)
    assert row is not None
    assert row.disabled_reason == "the receiver answered 410 Gone"
    assert await state(store) == [("given_up", 1)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((302, {"location": "http://169.254.169.254/"}), "redirects are not followed"),
        (StepFailed("outbound_refused", "10.0.0.1:80 is not a public address", retryable=False), "not a public address"),
        (httpcore2.ConnectError("no route"), "cannot be reached: no route"),
        (httpcore2.ReadTimeout("slow"), "did not answer within 15 s"),
        (httpcore2.RemoteProtocolError("rubbish"), "rubbish"),
        (ValueError("odd"), "cannot be used"),
        ((503, {"retry-after": "3600"}), "answered 503"),
    ],
)
async def test_whatever_goes_wrong_is_noted_and_tried_again(desk: Desk, store: Store, wire: Wire, clock: Hands, answer: Any, error: str):
    await subscribe(store)
    await desk.hold()
    wire.answers = [answer]
    await a_courier(store, wire, clock).round()
    (row,) = await in_outbox(store)
    assert row.state == "pending"
    assert error in row.error
    assert row.next_at == clock.ms + (3_600_000 if "503" in error else 5_000)
    assert len(wire.requests) == 1


async def test_without_the_key_nothing_is_sent_and_nothing_is_lost(desk: Desk, store: Store, wire: Wire, clock: Hands):
    await subscribe(store)
    await desk.hold()
    await a_courier(store, wire, clock, SecretBox(["other" * 8])).round()
    (row,) = await in_outbox(store)
    assert (row.state, row.tries, wire.requests) == ("pending", 0, [])
    assert "another SECRET_KEY" in row.error
    clock.ms += 60_000
    await a_courier(store, wire, clock).round()
    assert await state(store) == [("delivered", 1)]


async def test_rewrapping_lets_the_old_key_go(desk: Desk, store: Store, wire: Wire, clock: Hands):
    endpoint = await subscribe(store)
    await store.outbox.rotate(TENANT, endpoint.endpoint_id, BOX.seal(SECRET.encode(), endpoint.place), until=1 << 50)
    lost = replace(an_endpoint(url="https://lost.example/"), secret="A" * 300, disabled_at=1)
    await store.outbox.add(lost)
    new = "n" * 32
    assert await rewrap(store, SecretBox([new, "k" * 32])) == {"changed": 2, "unreadable": 1}
    assert await rewrap(store, SecretBox([new])) == {"right": 2, "unreadable": 1}
    await desk.hold()
    await a_courier(store, wire, clock, SecretBox([new])).round()
    assert await state(store) == [("delivered", 1)]
    assert await store.outbox.endpoint(TENANT, lost.endpoint_id) == lost


async def test_a_slow_endpoint_holds_nobody_up(desk: Desk, store: Store, wire: Wire, clock: Hands, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(courier, "AT_ONCE", 4)
    await subscribe(store, url="https://slow.example/", created_at=0)
    await subscribe(store, url="https://quick.example/")
    wire.gates["slow.example"] = asyncio.Event()
    for _ in range(20):
        await desk.hold()
    one = a_courier(store, wire, SystemClock())
    one.start()
    try:
        hosts: list[str] = []
        while hosts.count("quick.example") < 20:
            hosts.append(await wire.started.get())
        assert 1 <= hosts.count("slow.example") <= courier.PER_ENDPOINT
        wire.gates["slow.example"].set()
        while hosts.count("slow.example") < 20:
            hosts.append(await wire.started.get())
    finally:
        await one.stop()
    assert set(await state(store)) == {("delivered", 1)}


async def test_stopping_sends_what_is_due_and_leaves_what_hangs(desk: Desk, store: Store, wire: Wire):
    await subscribe(store, url="https://slow.example/", events=("run.started",))
    await subscribe(store, url="https://quick.example/")
    wire.gates["slow.example"] = asyncio.Event()
    await (await desk.hold()).end()
    one = a_courier(store, wire, SystemClock())
    await one.stop(grace=0.2)
    assert sorted(await state(store)) == [("delivered", 1), ("delivered", 1), ("pending", 1)]


async def test_what_is_long_over_is_forgotten(desk: Desk, store: Store, wire: Wire, clock: Hands):
    await subscribe(store)
    await desk.hold()
    one = a_courier(store, wire, clock)
    await one.round()
    assert await store.outbox.prune(clock.ms - courier.KEEP_MS) == 0
    later = a_courier(store, wire, SystemClock())  # years after the desk's ticks
    later.start()
    try:
        async with asyncio.timeout(20):
            while await in_outbox(store):  # noqa: ASYNC110 - another task prunes, and the database has no event to wait for
                await asyncio.sleep(0.01)
    finally:
        await later.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        opened.secrets = [SECRET]
        yield opened


def over_the_wire(store: Store, *allowed: str) -> Courier:
    clock = SystemClock()
    return Courier(store.outbox, Sender(BOX, lambda: Outbound(AllowList.parse(allowed)), clock), clock, chance=lambda: 0.0)


async def test_through_the_real_way_out(desk: Desk, store: Store, receiver: Receiver):
    await subscribe(store, url=receiver.url)
    await desk.hold()
    one = over_the_wire(store)
    await one.round()
    assert receiver.got == []
    assert "not a public address" in (await in_outbox(store))[0].error
    await one.stop()
    await desk.hold()
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000
    receiver.answers = [b"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", huge, b"rubbish\r\n\r\n"]
    two = over_the_wire(store, "127.0.0.1")
    for _ in range(3):
        await two.round()
        await desk.hold()
    await two.stop()
    assert receiver.forged == []
    found = {(row.state, row.answer) for row in await in_outbox(store)}
    assert {("pending", 307), ("delivered", 200), ("pending", None), ("delivered", 204)} <= found
    assert DeliveryState.GIVEN_UP.value not in {state for state, _ in found}
