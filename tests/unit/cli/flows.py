"""Workflows that the tests of the command start, and how they do it."""

FUNCTIONS = "tests.unit.cli.functions"
NOTE = f"""\
name: note
description: Saves a note.
inputs:
  text: {{type: string, default: hello}}
steps:
  save:
    python: {{function: "{FUNCTIONS}:save", args: {{text: "${{{{ inputs.text }}}}"}}}}
  loud:
    set: {{text: "${{{{ steps.save.output }}}}!"}}
outputs: {{text: steps.loud.output.text}}
"""
ASK = """\
name: ask
steps:
  review:
    approval:
      message: Publish it?
      form: {type: object, properties: {stars: {type: integer}}}
outputs: {stars: steps.review.output.form}
"""
PLAIN_ASK = "name: plain-ask\nsteps:\n  review: {approval: {message: 'Go on?'}}\n"
PAY = f"""\
name: pay
steps:
  work: {{agent: {{prompt: "Pay. amount: 7", tools: [{{function: "{FUNCTIONS}:pay", approve: args.amount > 5}}]}}}}
outputs: {{reply: steps.work.output}}
"""
LISTEN = "name: listen\nsteps:\n  wait: {signal: {name: ping, payload: {type: object, required: [count]}}}\noutputs: {count: steps.wait.output.count}\n"
REPAIR = f"""\
name: repair
inputs:
  flag: {{type: string}}
steps:
  first: {{python: {{function: "{FUNCTIONS}:save", args: {{text: once}}}}}}
  second:
    python: {{function: "{FUNCTIONS}:broken_until", args: {{flag: "${{{{ inputs.flag }}}}"}}}}
    needs: [first]
    retry: {{max_attempts: 1}}
outputs: {{state: steps.second.output}}
"""
FLOWS = {"note": NOTE, "ask": ASK, "plain-ask": PLAIN_ASK, "listen": LISTEN, "repair": REPAIR, "pay": PAY}
"""Name of a file → what it says."""


def ready(url):
    """Wait until the platform has started."""
    import httpx2

    assert httpx2.get(f"{url}/readyz", timeout=30).status_code == 200


def started(agentic, *args):
    return agentic("run", *args, "--json").data["run_id"]


def waiting_approval(agentic, run_id, workflow):
    """The approval a run asks, once it has asked: the watcher stops at the question because nobody answers it here."""
    import httpx2

    from actors.cli.connection import connect

    connection = connect()
    headers = {"Authorization": f"Bearer {connection.key}", "Accept": "text/event-stream"}
    with httpx2.stream("GET", f"{connection.url}/v1/runs/{run_id}/events", headers=headers, timeout=30) as response:
        for line in response.iter_lines():
            if line == "event: run.waiting":
                break
    (entry,) = agentic("approvals", "list", "--run", run_id, "--json").data
    assert entry["workflow"] == workflow
    return entry["approval_id"]
