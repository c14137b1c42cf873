"""What people say from the command line: decisions, signals."""

import re

from actors.cli.exits import Exit
from tests.unit.cli.flows import started, waiting_approval


def test_a_question_is_answered_by_yes_and_says_so(agentic):
    done = agentic("run", "plain-ask.yaml", "--yes")
    assert "--yes: approved" in done.output


def test_a_question_is_answered_by_hand(agentic):
    run_id = started(agentic, "ask.yaml")
    approval_id = waiting_approval(agentic, run_id, "ask")
    assert "Publish it?" in agentic("approvals", "show", approval_id).output
    agentic("approvals", "approve", approval_id, "--form", '{"stars": "many"}', expect=Exit.USAGE)
    agentic("approvals", "approve", approval_id, "--form", '{"stars": 3}', "--comment", "good")
    assert agentic("runs", "watch", run_id, "--json").data["output"] == {"stars": {"stars": 3}}
    again = agentic("approvals", "reject", approval_id, expect=Exit.CONFLICT)
    assert "the first decision stands" in again.stderr or "already ended" in again.stderr
    assert approval_id in agentic("approvals", "list", "--all").output
    assert approval_id not in agentic("approvals", "list").output


def test_a_call_of_a_tool_is_approved_with_other_arguments(agentic):
    run_id = started(agentic, "pay.yaml")
    approval_id = waiting_approval(agentic, run_id, "pay")
    assert "The agent wants to call pay" in agentic("approvals", "list", "--run", run_id).output.replace("\n", " ")
    shown = agentic("approvals", "show", approval_id).output
    assert re.search(r"tool\W+pay", shown)
    assert re.search(r"amount\W+7", shown)
    agentic("approvals", "approve", approval_id, "--form", '{"args": {"amount": "all"}}', expect=Exit.USAGE)
    agentic("approvals", "approve", approval_id, "--form", '{"args": {"amount": 6}}')
    assert "paid 6" in agentic("runs", "watch", run_id, "--json").data["output"]["reply"]


def test_a_call_of_a_tool_is_approved_as_it_is_by_yes(agentic):
    done = agentic("run", "pay.yaml", "--yes", "--watch")
    assert "--yes: approved" in done.output
    assert "paid 7" in done.output


def test_a_rejection_fails_the_run(agentic):
    run_id = started(agentic, "plain-ask.yaml")
    agentic("approvals", "reject", waiting_approval(agentic, run_id, "plain-ask"))
    done = agentic("runs", "watch", run_id, expect=Exit.FAILED)
    assert "rejected" in done.output


def test_a_signal_reaches_its_step(agentic):
    run_id = started(agentic, "listen.yaml")
    agentic("signal", run_id, "ping", "-p", '{"count": 7}')
    assert agentic("runs", "watch", run_id, "--json").data["output"] == {"count": 7}
    agentic("signal", run_id, "ping", expect=Exit.CONFLICT)
