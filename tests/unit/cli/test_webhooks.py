"""Webhooks out and in from the command line."""

from actors.cli.exits import Exit
from tests.unit.cli.flows import started


def test_endpoints_from_their_making_to_their_end(agentic):
    made = agentic("endpoints", "create", "http://127.0.0.1:1/in", "-e", "run.failed", "-w", "note", "-d", "The desk.", "--json").data
    name = made["endpoint_id"]
    assert made["secret"].startswith("whsec_")
    assert "whsec_" in agentic("endpoints", "create", "https://receiver.example/").output
    listed = agentic("endpoints", "list", "--json").data
    assert [entry["url"] for entry in listed] == ["http://127.0.0.1:1/in", "https://receiver.example/"]
    assert "run.failed" in agentic("endpoints", "list").output
    assert "enabled" in agentic("endpoints", "update", name, "--all-workflows", "-e", "run.succeeded").output
    shown = agentic("endpoints", "show", name, "--json").data
    assert (shown["events"], shown["workflows"], shown["description"]) == (["run.succeeded"], None, "The desk.")
    assert "whsec_" in agentic("endpoints", "rotate", name).output
    delivery = agentic("endpoints", "test", name, "--json").data["delivery_id"]
    assert delivery in agentic("endpoints", "deliveries", name).output
    assert "again" in agentic("endpoints", "redeliver", name, delivery).output
    assert "disabled: by hand" in agentic("endpoints", "disable", name).output
    agentic("endpoints", "test", name, expect=Exit.CONFLICT)
    assert "disabled: by hand" in agentic("endpoints", "show", name).output
    assert "enabled" in agentic("endpoints", "enable", name).output
    agentic("endpoints", "delete", name)
    agentic("endpoints", "show", name, expect=Exit.NOT_FOUND)


def test_hooks_from_their_making_to_their_end(agentic, tmp_path):
    import httpx2

    started(agentic, "note.yaml")
    (tmp_path / "inputs.json").write_text('{"text": "${{ body.say }}"}')
    made = agentic("hooks", "create", "push", "note", "--verify", "none", "-i", "@inputs.json", "-l", "from=shop", "--json").data
    name = made["hook_id"]
    answer = httpx2.post(made["url"], json={"say": "hi"}, timeout=30)
    assert answer.status_code == 202
    run = agentic("runs", "show", answer.json()["run_id"], "--json").data
    assert (run["inputs"], run["labels"]) == ({"text": "hi"}, {"from": "shop"})
    assert [entry["name"] for entry in agentic("hooks", "list", "--json").data] == ["push"]
    assert "push" in agentic("hooks", "list").output
    assert "note" in agentic("hooks", "show", name).output
    rotated = agentic("hooks", "rotate", name)
    assert made["url"] not in rotated.output
    assert "/hooks/hk_" in rotated.output
    signed = agentic("hooks", "create", "signed", "note").output
    assert "whsec_" in signed
    agentic("hooks", "delete", name)
    agentic("hooks", "show", name, expect=Exit.NOT_FOUND)
