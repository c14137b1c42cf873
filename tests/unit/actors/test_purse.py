"""AgentActors ask for money through the Supervisor, ask nobody while there are no budgets, and make no call while nobody can say."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from actors import purse
from actors.purse import NONE, SupervisorPurse
from runtime.errors import StepFailed
from runtime.money.accounts import Verdict
from runtime.money.amounts import Amount
from runtime.money.purse import Answer, Payer, Wish

PAYER = Payer("acme", "brief", "r", "key-1")
LIMITED = Payer("acme", "brief", "r", "key-1", {"calls": 5})
WISH = Wish(LIMITED, "r", "ask", "c", Amount(calls=1))
GRANTED = Answer(Verdict.GRANTED)
SET = ("1-7", [("acme", "workflow", "brief")])
"""What there is once a budget was set."""


class Supervisor:
    """Says of each method what it is told to, in turn, and the last of it for ever; an exception is raised."""

    def __init__(self, **said: Any) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.said = said

    def __getattr__(self, method: str) -> Any:
        async def remote(*what: Any) -> Any:
            self.asked.append((method, *what))
            answers = self.said[method]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return SimpleNamespace(remote=remote)


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A purse whose Supervisor says this; one that is away is asked again at once."""

    def make(**said: Any) -> tuple[SupervisorPurse, Supervisor]:
        there = Supervisor(**said)
        monkeypatch.setattr(purse, "handle", lambda _name: there)
        monkeypatch.setattr(purse, "RETRY_SECONDS", 0)
        return SupervisorPurse(), there

    return make


async def test_a_run_with_limits_is_concerned_without_asking(supervised: Any) -> None:
    mine, there = supervised()
    assert await mine.concerns(LIMITED)
    assert there.asked == []


async def test_while_there_are_no_budgets_nobody_is_asked(supervised: Any) -> None:
    mine, there = supervised()
    mine.heard(NONE)
    assert not await mine.concerns(PAYER)
    assert there.asked == []


async def test_budgets_are_read_once_for_each_version(supervised: Any) -> None:
    mine, there = supervised(budgets=[SET, ("2-9", [("acme", "tenant", "-")]), (NONE, [])])
    mine.heard("1-7")
    assert [await mine.concerns(payer) for payer in (PAYER, PAYER, Payer("acme", "other", "r"), Payer("else", "brief", "r"))] == [True, True, False, False]
    assert there.asked == [("budgets",)]
    mine.heard("2-9")
    assert await mine.concerns(Payer("acme", "other", "r"))
    assert await mine.concerns(PAYER)
    assert there.asked == [("budgets",)] * 2
    mine.heard(NONE)
    assert not await mine.concerns(PAYER)
    assert there.asked == [("budgets",)] * 2, "that there are none any more is heard, not asked"


async def test_a_budget_that_a_run_was_given_under_way_concerns_all_below_it(supervised: Any) -> None:
    mine, _ = supervised(budgets=[("1-8", [("acme", "run", "r")])])
    mine.heard("1-8")
    assert [await mine.concerns(Payer("acme", "any", root)) for root in ("r", "s")] == [True, False]


async def test_who_hears_nothing_asks_again_after_a_second(supervised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, there = supervised(budgets=[(NONE, []), SET])
    now = 100.0
    monkeypatch.setattr(purse, "time", SimpleNamespace(monotonic=lambda: now))
    assert not await mine.concerns(PAYER)
    now = 100.9
    assert not await mine.concerns(PAYER)
    assert len(there.asked) == 1
    now = 101.0
    assert await mine.concerns(PAYER)
    mine.heard("")
    assert await mine.concerns(PAYER)
    assert len(there.asked) == 2, "a Supervisor that has not looked yet has said nothing"


async def test_a_wish_is_passed_on_and_its_answer_back(supervised: Any) -> None:
    refused = Answer(Verdict.EXCEEDED, {"scope": "run", "name": "r"})
    mine, there = supervised(reserve=[GRANTED, refused], release=[None])
    assert await mine.reserve(WISH) == GRANTED
    assert await mine.reserve(WISH) == refused
    await mine.release(WISH)
    assert there.asked == [("reserve", WISH), ("reserve", WISH), ("release", WISH)]
    for said in (WISH, refused):
        assert pickle.loads(pickle.dumps(said)) == said


@pytest.mark.parametrize("away", [ActorDiedError(), ValueError("there is no actor of this name")])
async def test_a_supervisor_that_is_away_is_waited_for(supervised: Any, away: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, there = supervised(reserve=[away, away, GRANTED])
    forgotten: list[str] = []
    monkeypatch.setattr(purse, "forget", forgotten.append)
    assert await mine.reserve(WISH) == GRANTED
    assert (len(there.asked), forgotten) == (3, [purse.SUPERVISOR] * 2), "the next one is looked up anew"


async def test_whoever_cannot_be_asked_makes_the_attempt_fail_and_it_may_be_repeated(supervised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purse, "PATIENCE_SECONDS", 0.01)
    mine, _ = supervised(reserve=[ActorDiedError()], budgets=[ActorDiedError()], release=[ActorDiedError()])
    for asking in (mine.reserve(WISH), mine.concerns(PAYER)):
        with pytest.raises(StepFailed, match="could not be asked") as failure:
            await asking
        assert (failure.value.error_code, failure.value.retryable) == ("budget_unavailable", True)
    await mine.release(WISH)  # what is not given back now, is by the next call


async def test_a_database_that_is_away_is_waited_for_too(supervised: Any) -> None:
    refused = RayTaskError("reserve", "", StepFailed("budget_unavailable", "the budget could not be asked: the database is away")).as_instanceof_cause()
    mine, there = supervised(reserve=[refused, GRANTED])
    assert await mine.reserve(WISH) == GRANTED
    assert len(there.asked) == 2
