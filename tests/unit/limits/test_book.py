"""The limiter in virtual time: paces, turns, what refusals and headers teach, and what is left when somebody goes."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.limit_settings import ProviderLimits
from runtime.limits.adaptive import FORGET_SECONDS
from runtime.limits.book import HOLDER_SECONDS, IDLE_SECONDS, MAX_TOLD, Book
from runtime.limits.gate import Learned
from runtime.limits.messages import Ask, Batch, Key, News, Place, Spot
from runtime.limits.seen import Quota, Seen
from tests.unit.limits.provider import KEY, Cluster, Erratic, Provider, Strict, spot


def asks(count: int, run: str = "r", first: int = 1, tokens: int = 0, model: str = "m", **limits: int) -> list[Ask]:
    return [Ask(number, spot(model, **limits), run, tokens) for number in range(first, first + count)]


def test_a_map_of_ten_thousand_runs_at_the_limit() -> None:
    cluster = Cluster(Provider())
    cluster.say(*asks(10_000, requests_per_minute=3000))
    cluster.run()
    assert cluster.now - 100.0 == pytest.approx(200, rel=0.02)
    assert cluster.most_in_a_minute() <= 3000
    assert len(cluster.done) == 10_000


def test_a_map_does_not_starve_a_run_of_one_call() -> None:
    cluster = Cluster(Provider())
    cluster.say(*asks(10_000, "map", requests_per_minute=600))
    cluster.run(until=110.0)
    cluster.say(*asks(1, "one", first=20_000, requests_per_minute=600))
    cluster.run(until=111.0)
    (at,) = [at for at, ask in cluster.done if ask.run == "one"]
    assert at < 110.5


@given(st.lists(st.integers(1, 60), min_size=2, max_size=6), st.randoms())
@settings(max_examples=50, deadline=None)
def test_runs_are_served_in_turns(sizes: list[int], random) -> None:
    """As long as two runs both wait, neither gets two more than the other."""
    numbers = itertools.count(1)
    wanted = [Ask(next(numbers), spot(requests_per_minute=6000), f"r{run}", 0) for run, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(wanted)
    cluster = Cluster(Provider(latency=0))
    cluster.say(*wanted)
    cluster.run()
    order = [ask.run for _, ask in cluster.done]
    assert len(order) == sum(sizes)
    for one, other in itertools.combinations([f"r{run}" for run in range(len(sizes))], 2):
        both = min(max(place for place, run in enumerate(order) if run == who) for who in (one, other))
        seen = [order[: place + 1].count(one) - order[: place + 1].count(other) for place in range(both)]
        assert all(-1 <= difference <= 1 for difference in seen)


def test_tokens_are_paced_and_corrected() -> None:
    cluster = Cluster(Provider())
    cluster.say(*asks(10, tokens=1000, tokens_per_minute=60_000))
    cluster.run()
    assert cluster.now - 100.0 == pytest.approx(9, abs=0.3)
    cluster.say(*asks(1, first=50, tokens=1000, tokens_per_minute=60_000))
    cluster.provider.latency = 1000
    cluster.run(until=cluster.now + 1.5)
    cluster.say(news=(News(spot(tokens_per_minute=60_000), 50, more_tokens=9000),))
    before = cluster.now
    cluster.say(*asks(1, first=60, tokens=1000, tokens_per_minute=60_000))
    cluster.run(until=before + 20)
    assert cluster.provider.sent[-1] - before == pytest.approx(10, abs=1.3)


def test_no_more_are_out_than_may_be() -> None:
    cluster = Cluster(Provider(latency=1.0))
    cluster.say(*asks(20, in_flight=4))
    cluster.run(until=100.5)
    assert len(cluster.provider.sent) == 4
    cluster.run()
    assert cluster.now - 100.0 == pytest.approx(5.0)


def test_processes_are_told_of_so_many_limited_spots_and_not_more() -> None:
    book = Book()
    for number in range(MAX_TOLD + 1):
        at = Spot(replace(KEY, tenant=f"tenant-{number}"), "m", ProviderLimits())
        book.take(Batch("a", number + 1, news=(News(at, refused=True, pause=600.0),), full=number == 0), 100.0 + number / 1000)
    told = book.limited(102.0)
    assert len(told) == MAX_TOLD
    assert {key.tenant for key, _ in told} == {f"tenant-{number}" for number in range(1, MAX_TOLD + 1)}, "the one used longest ago is left out"


def test_headers_limit_what_no_setting_does() -> None:
    cluster = Cluster(Provider(says=lambda now: Seen(Quota(600, 300, 1.0))))
    cluster.say(*asks(1))
    cluster.run()
    assert cluster.book.limited(cluster.now) == ((KEY, "m"),)
    began = cluster.now
    cluster.say(*asks(600, first=2))
    cluster.run()
    assert cluster.now - began == pytest.approx(60, rel=0.03)


def test_the_lowest_limit_counts() -> None:
    cluster = Cluster(Provider(says=lambda now: Seen(Quota(6000, 5000, 1.0))))
    cluster.say(*asks(100, requests_per_minute=600))
    cluster.run()
    assert cluster.now - 100.0 == pytest.approx(10, rel=0.05)


def test_what_others_have_used_is_not_asked_for() -> None:
    """Somebody outside uses the same key: the provider says that nothing is left."""
    cluster = Cluster(Provider(says=lambda now: Seen(Quota(60, 0, 60.0))))
    cluster.say(*asks(1))
    cluster.run()
    cluster.say(*asks(3, first=2))
    cluster.run()
    assert all(later - sooner >= 0.9 for sooner, later in itertools.pairwise(cluster.provider.sent))


def test_while_one_is_refused_nobody_asks() -> None:
    cluster = Cluster(Provider())
    cluster.say(*asks(1))
    cluster.run()
    cluster.say(news=(News(spot(), refused=True, pause=30.0, pace=600),))
    at = cluster.now
    for run in range(50):
        cluster.say(*asks(1, f"r{run}", first=100 + run))
    cluster.run(until=at + 300)
    assert min(time for time in cluster.provider.sent if time > at) >= at + 30.0
    after = [time for time in cluster.provider.sent if time > at]
    assert after[1] > after[0], "they do not all come at once then"


def test_another_model_of_the_key_has_limits_of_its_own() -> None:
    cluster = Cluster(Provider())
    cluster.say(news=(News(spot("a"), refused=True, pause=30.0, pace=600),))
    cluster.say(*asks(1, model="a"), *asks(1, first=2, model="b"))
    cluster.run(until=101.0)
    assert [ask.spot.model for _, ask in cluster.done] == ["b"]


@pytest.mark.parametrize("rate", [5, 20, 100])
def test_refusals_stay_few_where_nobody_says_the_limit(rate: int) -> None:
    """A hundred parallel callers, each with its next request as soon as the last is answered, at a provider that only refuses."""
    cluster = Cluster(Provider(rate=rate))
    cluster.say(news=(News(spot(), refused=True, pause=1.0, pace=0),))  # they learn of the limit by hitting it
    cluster.say(*asks(rate * 300))
    cluster.run()
    refused, sent = len(cluster.provider.refused), len(cluster.provider.sent)
    assert refused / sent < 0.02, f"{refused} of {sent}"
    assert cluster.now - 100.0 < 300 / 0.75, "three quarters of what is allowed is used at least"


def test_a_burst_of_refusals_halves_once() -> None:
    cluster = Cluster(Provider())
    for _ in range(80):
        cluster.say(news=(News(spot(), refused=True, pause=1.0, pace=1200, age=0.05),))
    assert cluster.book.key(KEY).gate("m", cluster.now).learned(cluster.now).adaptive == pytest.approx(600)
    cluster.now += 10
    cluster.say(news=(News(spot(), age=0.05), News(spot(), refused=True, pause=1.0, pace=1200, age=0.05)))
    assert cluster.book.key(KEY).gate("m", cluster.now).learned(cluster.now).adaptive == pytest.approx(300)


def test_who_is_refused_again_at_once_waits_longer_and_not_slower() -> None:
    """Nothing was let through since the last refusal, so nobody knows whether the pace after it is right."""
    cluster = Cluster(Provider())
    gate = cluster.book.key(KEY).gate("m", cluster.now)
    pauses = []
    for _ in range(7):
        cluster.say(news=(News(spot(), refused=True, pace=1200, age=0.01),))
        pauses.append(gate.paused_until - cluster.now)
        cluster.now = gate.paused_until + 0.02
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30])
    assert gate.refusals == 7
    assert gate.learned(cluster.now).adaptive == pytest.approx(600), "halved once"


def test_a_few_refusals_hardly_slow_a_known_limit_down() -> None:
    """Requests arrive less evenly than they are sent: one in a hundred is refused at a limit that was kept."""
    cluster = Cluster(Erratic(every=100))
    cluster.say(*asks(2000, requests_per_minute=1200))
    cluster.run()
    assert cluster.now - 100.0 == pytest.approx(2020 / 20 + 20, rel=0.1), "each of the 20 refusals costs the second's pause, and little more"


def test_refusals_that_do_not_depend_on_the_pace_leave_a_tenth_of_a_known_limit() -> None:
    cluster = Cluster(Erratic(every=10))
    cluster.say(*asks(3000, requests_per_minute=6000))
    cluster.run()
    pauses, sent = len(cluster.provider.refused), len(cluster.provider.sent)
    assert cluster.now - 100.0 < 1.01 * (pauses + sent / 10), "the pauses, and a tenth of the pace in between"


@pytest.mark.parametrize("really", [300, 1500])
def test_a_setting_that_allows_too_much_is_found_out(really: int) -> None:
    """The provider counts its minutes strictly and says nothing but no."""
    cluster = Cluster(Strict(limit=really))
    cluster.say(*asks(really * 4, requests_per_minute=3000))
    cluster.run()
    refused, sent = len(cluster.provider.refused), len(cluster.provider.sent)
    assert refused / sent < 0.1, f"{refused} of {sent}"
    assert cluster.now - 100.0 < 4 * 60 / 0.7, "most of what is allowed is used"


def test_a_known_limit_is_halved_however_little_was_asked() -> None:
    cluster = Cluster(Provider())
    cluster.say(news=(News(spot(requests_per_minute=3000), seen=Seen(Quota(600)), refused=True, pause=1.0, pace=6),))
    assert cluster.book.key(KEY).gate("m", cluster.now).learned(cluster.now).adaptive == 300


def test_what_refusals_taught_is_forgotten_in_the_end() -> None:
    cluster = Cluster(Provider())
    cluster.say(news=(News(spot(), refused=True, pause=1.0),))
    cluster.now += FORGET_SECONDS + 1
    assert cluster.book.limited(cluster.now) == ()


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["ask", "refuse", "withdraw", "leave"])), min_size=1, max_size=120))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_no_minute_has_too_many_and_nobody_is_forgotten(story: list[tuple[float, str]]) -> None:
    cluster, numbers, withdrawn = Cluster(Provider(latency=0.2)), itertools.count(1), set()
    for pause, what in story:
        cluster.run(until=cluster.now + pause)
        cluster.now += pause
        match what:
            case "ask":
                cluster.say(*asks(7, f"r{pause}", first=next(numbers) * 10, requests_per_minute=120, in_flight=9))
            case "refuse":
                cluster.say(news=(News(spot(requests_per_minute=120, in_flight=9), refused=True, pause=pause),))
            case "withdraw":
                withdrawn |= {10, 11}
                cluster.say(withdrawn=(10, 11))
            case "leave":
                cluster.book.leave("other")
        assert len(cluster.book.key(KEY).out) <= 9
    cluster.run(until=cluster.now + 1000)
    assert cluster.most_in_a_minute() <= 120
    assert cluster.book.waiting == 0


def test_who_is_silent_gives_everything_back() -> None:
    cluster = Cluster(Provider(latency=1e9))
    cluster.say(*asks(2, in_flight=1), holder="dead")
    cluster.run(until=100.0)
    cluster.say(*asks(1, first=9, in_flight=1))
    cluster.run(until=101.0)
    assert len(cluster.provider.sent) == 1
    cluster.now += HOLDER_SECONDS
    cluster.say()
    cluster.now += 1
    cluster.book.tidy(cluster.now)
    cluster.run(until=cluster.now)
    assert len(cluster.provider.sent) == 2
    assert list(cluster.book.holders) == ["p"]


def test_a_new_limiter_is_told_what_the_old_one_knew_and_begins_without_a_burst() -> None:
    book, held = Book(), asks(30, requests_per_minute=6000, in_flight=40)
    assert not book.take(Batch("p", 5, asks=tuple(held)), 100.0), "who was not heard from the beginning says everything"
    places = (Place(KEY, "m", Learned(requests=6000, adaptive=300, ceiling=600, pause=4.0)),)
    assert book.take(Batch("p", 6, tuple(asks(100, first=50, requests_per_minute=6000, in_flight=40)), full=True, held=tuple(held), places=places), 100.0)
    assert len(book.key(KEY).out) == 30
    assert book.serve(103.9) == []
    assert len(book.serve(104.1)) == 1
    learned = book.key(KEY).gate("m", 104.1).learned(104.1)
    assert (learned.requests, learned.adaptive) == (6000, 300)


def test_what_two_processes_remember_the_lower_counts() -> None:
    book = Book()
    for number, limit in enumerate((300.0, 100.0, 200.0)):
        book.take(Batch(f"p{number}", 1, full=True, places=(Place(KEY, "m", Learned(requests=limit, pause=limit / 100)),)), 100.0)
    learned = book.key(KEY).gate("m", 100.0).learned(100.0)
    assert (learned.requests, learned.pause) == (100.0, 3.0)
    book.take(Batch("late", 1, full=True, places=(Place(KEY, "m", Learned(requests=1.0)),)), 100.0 + HOLDER_SECONDS + 1)
    assert book.key(KEY).gate("m", 120.0).learned(120.0).requests == 100.0, "whoever was there all the time knows better"


def test_keys_nobody_uses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(Provider())
    for number in range(5):
        cluster.say(news=(News(spot(key=Key("t", "openai", str(number))), refused=True),))
        cluster.now += 1
    cluster.book.tidy(cluster.now)
    assert len(cluster.book.keys) == 5
    monkeypatch.setattr("runtime.limits.book.MAX_KEYS", 3)
    cluster.book.tidy(cluster.now)
    assert [key.account for key in cluster.book.keys] == ["2", "3", "4"]
    cluster.book.tidy(cluster.now + IDLE_SECONDS + 1)
    assert cluster.book.keys == {}


def test_who_finds_no_room_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.limits.book.MAX_WAITING", 5)
    book, wanted = Book(), asks(8, in_flight=2)
    assert not book.take(Batch("p", 1, tuple(wanted), full=True), 100.0)
    assert [waiting.ask.number for waiting in book.serve(100.0)] == [1, 2]
    assert not book.take(Batch("p", 2, tuple(wanted[2:]), full=True, held=tuple(wanted[:2])), 100.1)
    assert (book.waiting, len(book.key(KEY).out)) == (5, 2), "what is out stays known"
    assert book.take(Batch("p", 3, tuple(wanted[3:]), full=True, held=tuple(wanted[1:3])), 100.2)
