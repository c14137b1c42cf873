import pytest

from runtime.definition.builder import Flow, Ref, index, item, iteration, run_status
from runtime.definition.model import AgentLimits, Defaults, Loop, Map, Resources, Retry
from runtime.definition.validation import parse
from runtime.errors import DefinitionInvalid

WRITTEN = """
name: research-brief
description: Read every source.
defaults: {model: "openai:gpt-5-mini", retry: {max_attempts: 4}, timeout: 2m}
budget: {usd: 5.0, on_exceeded: ask}
labels: {team: docs}
retention: 7d
inputs: {topic: {type: string}, sources: {type: array, items: {type: string}}}
steps:
  notes:
    agent: {prompt: "${{ item }}", instructions: "Number ${{ index }} on ${{ inputs.topic }}.", output: {type: object}, limits: {turns: 5}}
    map: {over: inputs.sources, max_failures: 5%}
  rank:
    python: {function: "tools.rank:rank", args: {notes: "${{ steps.notes.output }}", first: "${{ steps.notes.output[0].title }}"}}
    resources: {num_cpus: 2, memory: 2GiB}
    on_error: {goto: excuse}
  best: {code: {source: "return notes[0]", inputs: {notes: "${{ steps.notes.output }}"}, memory: 128MiB}, timeout: 5s}
  excuse: {set: {why: "${{ steps.rank.error }}"}}
  enough: {switch: [{when: size(steps.rank.output) >= 3, then: widen}, {else: pause}]}
  widen: {workflow: {name: widen-search, inputs: {topic: "${{ inputs.topic }}"}}}
  pause: {wait: {for: 30s}}
  poll: {http: {url: "https://example.org/${{ iteration }}", expect: [404]}, loop: {until: output.status == 200}, when: "steps.notes.output != []"}
  review: {approval: {message: Well?, expires: 48h}, needs: [widen, pause], join: any}
  go: {signal: {name: go}}
finally: {tell: {set: {status: "${{ run.status }}"}}}
outputs: {ranked: steps.rank.output}
"""


def research() -> Flow:
    flow = Flow(
        "research-brief",
        description="Read every source.",
        defaults=Defaults(model="openai:gpt-5-mini", retry=Retry(max_attempts=4), timeout="2m"),
        budget={"usd": 5.0, "on_exceeded": "ask"},
        labels={"team": "docs"},
        retention="7d",
    )
    topic = flow.input("topic", {"type": "string"})
    sources = flow.input("sources", {"type": "array", "items": {"type": "string"}})
    notes = flow.agent(
        "notes",
        prompt=item,
        instructions=f"Number {index} on {topic}.",
        output={"type": "object"},
        limits=AgentLimits(turns=5),
        map=Map(over=sources.cel, max_failures="5%"),
    )
    excuse = flow.set("excuse", {"why": Ref("steps.rank.error")})
    rank = flow.python(
        "rank",
        function="tools.rank:rank",
        args={"notes": notes.output, "first": notes.output[0]["title"]},
        resources=Resources(num_cpus=2.0, memory="2GiB"),
        on_error=excuse,
    )
    flow.code("best", "return notes[0]", inputs={"notes": notes.output}, memory="128MiB", timeout="5s")
    widen = flow.workflow("widen", name="widen-search", inputs={"topic": topic})
    pause = flow.wait("pause", duration="30s")
    flow.switch("enough", [(f"size({rank.output.cel}) >= 3", widen)], otherwise=pause)
    flow.http("poll", url=f"https://example.org/{iteration}", expect=[404], loop=Loop(until="output.status == 200"), when=f"{notes.output.cel} != []")
    flow.approval("review", message="Well?", expires="48h", needs=[widen, "pause"], join="any")
    flow.signal("go", name="go")
    flow.set("tell", {"status": run_status}, final=True)
    flow.output("ranked", rank.output)
    return flow


def test_the_builder_makes_the_document_one_would_write():
    built, written = research().build(), parse(WRITTEN)
    assert built.document == written.document
    assert built.hash == written.hash


def test_documents_are_copies():
    flow = research()
    flow.document()["steps"].clear()
    assert flow.build().hash == parse(WRITTEN).hash


def test_references():
    assert str(Ref("item")["a"][0]["b c"]["it's"]) == "${{ item.a[0]['b c']['it\\'s'] }}"
    assert parse({"name": "a", "steps": {"x": {"set": {"k": str(Ref("run")["id"])}}}}).hash


def test_building_checks_everything():
    flow = Flow("a")
    flow.python("x", function="a:b", when="inputs.nope", args={"k": Ref("steps.y.output")})
    with pytest.raises(DefinitionInvalid) as caught:
        flow.build()
    assert {problem.pointer for problem in caught.value.problems} == {"/steps/x/when", "/steps/x/python/args/k"}


def test_an_id_is_taken_once():
    flow = Flow("a")
    flow.set("x", {})
    with pytest.raises(ValueError, match="there is a step 'x' already"):
        flow.wait("x", duration=1)


def test_agents_that_go_on():
    flow = Flow("chat", defaults={"model": ["openai:a", "anthropic:b"]})
    scan = flow.python("scan", function="m:f")
    draft = flow.agent("draft", prompt="Look.", model=("openai:a", "openai:c"), attachments=[scan.artifacts["page.png"]])
    flow.agent("revise", prompt="Shorter.", history=draft.messages)
    flow.agent("talk", prompt="Hello.", conversation=flow.input("thread", {"type": "string"}))
    written = """
name: chat
defaults: {model: ["openai:a", "anthropic:b"]}
inputs: {thread: {type: string}}
steps:
  scan: {python: {function: "m:f"}}
  draft: {agent: {prompt: Look., model: ["openai:a", "openai:c"], attachments: ["${{ steps.scan.artifacts['page.png'] }}"]}}
  revise: {agent: {prompt: Shorter., history: "${{ steps.draft.messages }}"}}
  talk: {agent: {prompt: Hello., conversation: "${{ inputs.thread }}"}}
"""
    assert flow.build().document == parse(written).document
