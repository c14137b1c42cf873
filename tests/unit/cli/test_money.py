"""Money from the command line: what was spent, and what may be."""

import asyncio
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from actors.cli.exits import CommandError, Exit
from actors.cli.money import run_budget
from runtime.settings import Settings
from runtime.store.money_protocol import LedgerRow
from runtime.store.money_tables import ledger
from runtime.store.open import open_store
from runtime.store.operations import Work
from tests.unit.cli.flows import ready, started

DAY = 86_400_000
RUN = "0198c0de-0000-7000-8000-000000000001"
NEW_YEAR = 1_767_225_600_000
"""2026-01-01."""


@pytest.fixture(scope="module")
def spent(platform):
    """Three calls in the ledger: two of one model, one of another without a known price, a day later and of a run below the first one."""
    home, url = platform
    ready(url)
    asyncio.run(
        _book(
            home,
            LedgerRow(*_call(RUN, "a", at=NEW_YEAR)),
            LedgerRow(*_call(RUN, "b", at=NEW_YEAR, step="sum")),
            LedgerRow(*_call("r-below", "c", at=NEW_YEAR + DAY, workflow="other", user="key-2", model="mine:m", usd=None)),
        )
    )


def _call(run_id, call, *, at, workflow="brief", step="ask", user="key-1", model="openai:m", usd=Decimal("0.25")):
    where = (run_id, call, 1, RUN, step, None, None, 1, 1, "default", workflow, user)
    return (*where, model.partition(":")[0], model, None, 100, 40, 10, 5, usd, "prices 1", 800, False, at)


async def _book(home: Path, *rows: LedgerRow) -> None:
    def add(connection: Connection) -> None:
        connection.execute(insert(ledger), [asdict(row) for row in rows])

    store = await open_store(Settings(home=home).database, migrate=False)
    await store.writer.write(Work(add))
    await store.close()


def test_usage_is_one_total_or_one_for_each_group(agentic, spent):
    (total,) = agentic("usage", "--json").data
    assert (total["calls"], total["unpriced_calls"], total["input_tokens"], total["output_tokens"], total["usd"]) == (3, 1, 300, 30, "0.5")
    shown = agentic("usage", "--by", "workflow", "--by", "model").output
    assert [line.split() for line in shown.splitlines() if line.strip().startswith(("brief", "other"))] == [
        ["brief", "openai:m", "2", "200", "80", "20", "0.5"],
        ["other", "mine:m", "1", "100", "40", "10", "0"],
    ]
    assert "1 calls have no known price" in shown
    assert "no known price" not in agentic("usage", "--by", "step", "-w", "brief").output


@pytest.mark.parametrize("group", ["run", "step", "workflow", "user", "model", "day"])
def test_every_group_has_its_column(agentic, spent, group):
    assert agentic("usage", "--by", group).output.split()[0] == ("workflow" if group == "step" else group)
    assert sum(entry["calls"] for entry in agentic("usage", "--by", group, "--json").data) == 3


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        (("--from", "2026-01-02"), 1),
        (("--to", "2026-01-02T00:00:00Z"), 2),
        (("--user", "key-2"), 1),
        (("--model", "openai:m"), 2),
        (("--run", RUN), 3),
        (("--workflow", "nobody"), 0),
    ],
)
def test_usage_of_a_part(agentic, spent, options, calls):
    (total,) = agentic("usage", *options, "--json").data
    assert total["calls"] == calls


def test_where_nothing_was_asked_the_table_is_a_sentence(agentic):
    assert agentic("usage", "--by", "model", "--user", "nobody").output.strip() == "no model calls"
    agentic("usage", "--by", "weather", expect=Exit.USAGE)
    assert "from" in agentic("usage", "--from", "yesterday", expect=Exit.USAGE).output


def test_budgets_from_their_setting_to_their_end(agentic, spent):
    assert "no budgets" in agentic("budgets", "list").output
    said = agentic("budgets", "set", "workflow", "brief", "--usd", "2.5", "--calls", "10").output
    assert said.splitlines()[-1] == "workflow brief, each month: 0 / 2.5 usd, 0 / 10 calls", "the calls of the ledger are of an earlier month"
    agentic("budgets", "set", "user", "schedule:nightly", "--tokens", "1000", "--period", "day", "--on-exceeded", "ask")
    (entry,) = agentic("budgets", "list", "--json").data[:1]
    assert (entry["name"], entry["period"], entry["tokens"], entry["usd"], entry["on_exceeded"]) == ("schedule:nightly", "day", 1000, None, "ask")
    agentic("budgets", "set", "tenant", "-", "--usd", "100")
    lines = [line.split() for line in agentic("budgets", "list").output.splitlines()]
    assert ["workflow", "brief", "month", "0", "/", "2.5", "0", "/", "10", "stop"] in lines
    assert [(each["scope"], each["name"]) for each in agentic("budgets", "list", "--json").data] == [
        ("tenant", "-"),
        ("user", "schedule:nightly"),
        ("workflow", "brief"),
    ]
    agentic("budgets", "set", "workflow", "brief", "--usd", "3")
    (changed,) = [each for each in agentic("budgets", "list", "--json").data if each["scope"] == "workflow"]
    assert (changed["usd"], changed["calls"]) == ("3", None), "it takes the place of the one before"
    assert "the budget of workflow brief for each month is gone" in agentic("budgets", "delete", "workflow", "brief").output
    agentic("budgets", "delete", "workflow", "brief", expect=Exit.NOT_FOUND)
    agentic("budgets", "delete", "user", "schedule:nightly", "--period", "day")
    agentic("budgets", "delete", "tenant", "-")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("workflow", "brief"), "usd, tokens and calls"),
        (("tenant", "all", "--calls", "1"), "/name"),
        (("planet", "earth", "--calls", "1"), "planet"),
        (("workflow", "brief", "--calls", "0"), "--calls"),
        (("workflow", "brief", "--calls", "1", "--period", "year"), "--period"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(agentic, words, said):
    assert said in agentic("budgets", "set", *words, expect=Exit.USAGE).output


def test_a_run_has_the_budget_of_its_start(agentic):
    run_id = started(agentic, "note.yaml", "--budget", "usd=0.5", "-b", "calls=7", "-b", "on_exceeded=ask", "-w")
    budget = agentic("runs", "show", run_id, "--json").data["budget"]
    assert (budget["usd"], budget["calls"], budget["tokens"], budget["on_exceeded"]) == ("0.5", 7, None, "ask")
    assert '"calls": 7' in agentic("runs", "show", run_id).output
    agentic("run", "note.yaml", "--budget", "euro=5", expect=Exit.USAGE)


def test_a_paused_run_is_given_more(agentic):
    run_id = started(agentic, "listen.yaml", "-b", "calls=1")
    agentic("runs", "pause", run_id)
    agentic("runs", "resume", run_id, "--budget", "calls=9")
    agentic("signal", run_id, "ping", "-p", '{"count": 1}')
    agentic("runs", "watch", run_id)
    assert agentic("runs", "show", run_id, "--json").data["budget"]["calls"] == 9


def test_the_words_of_a_budget():
    assert run_budget(None) is None
    assert run_budget(["usd=5", "duration=1h", "on_exceeded=ask"]) == {"usd": 5, "duration": "1h", "on_exceeded": "ask"}
    with pytest.raises(CommandError, match="not euro"):
        run_budget(["euro=5"])
