import json
import textwrap

import pytest

from runtime.definition.validation import content_hash, parse
from runtime.errors import DefinitionInvalid

BRIEF = """
name: research-brief
description: Read every source, then write one brief a person approves.
inputs:
  topic: {type: string}
  sources: {type: array, items: {type: string}, maxItems: 10000}
  enough: {type: integer, default: 3}
defaults: {model: "openai:gpt-5-mini", retry: {max_attempts: 4, backoff: exponential}, timeout: 2m}
budget: {usd: 5.00, on_exceeded: ask}
steps:
  notes:
    agent: {instructions: "Note what matters for ${{ inputs.topic }}.", prompt: "${{ item }}", tools: [fetch_page], output: {type: object}}
    map: {over: "inputs.sources", concurrency: 200, max_failures: 5%}
  rank:
    python: {function: "my_tools.ranking:rank", args: {notes: "${{ steps.notes.output }}"}}
    resources: {num_cpus: 2, memory: 2GiB}
  enough:
    switch: [{when: "size(steps.rank.output) >= inputs.enough", then: brief}, {else: widen}]
  brief: {agent: {prompt: "Write about ${{ steps.rank.output[0].title }}."}}
  widen: {workflow: {name: widen-search, inputs: {topic: "${{ inputs.topic }}"}}}
  poll: {http: {url: "https://example.org/${{ iteration }}"}, loop: {until: "output.status == 200", max_iterations: 5, delay: 1.5}}
  fallback: {set: {why: "${{ steps.poll.error }}"}}
  pause: {wait: {for: 90}, on_error: {goto: fallback}}
  review: {approval: {form: {type: object}, expires: 48h, on_expiry: reject}, needs: [brief]}
  go: {signal: {name: go, payload: {type: string}}}
finally:
  tell: {set: {text: "${{ run.status }} ${{ steps.notes.status }} ${{ run.error }}"}}
outputs: {brief: "steps.brief.output"}
"""


def test_the_example_is_valid_and_canonical():
    loaded = parse(BRIEF)
    assert loaded.document["steps"]["pause"]["wait"] == {"for": "1m30s"}
    assert loaded.document["steps"]["poll"]["loop"]["delay"] == "1s500ms"
    assert loaded.document["steps"]["rank"]["resources"] == {"num_cpus": 2.0, "memory": 2**31}
    assert loaded.document["defaults"]["retry"] == {"max_attempts": 4, "backoff": "exponential"}
    assert loaded.plan.hash == loaded.hash == content_hash(loaded.document)


def test_the_hash_is_stable_over_notation_order_and_repetition():
    loaded = parse(BRIEF)
    reordered = json.loads(json.dumps(loaded.document, sort_keys=True))
    for source in (BRIEF.encode(), loaded.document, reordered, json.dumps(loaded.document, indent=1)):
        assert parse(source).hash == loaded.hash
        assert parse(source).document == loaded.document
    assert parse(BRIEF.replace("48h", "2d")).hash == loaded.hash
    assert parse(BRIEF.replace("48h", "47h")).hash != loaded.hash


def test_the_hash_never_changes_between_releases():
    assert parse("name: a\nsteps: {x: {wait: {for: 1s}}}").hash == "0966aba4447d276e0713ae998d16c31cb33bc9ef7d856461e7955d331704899c"


STEP = "name: a\ninputs: {text: {type: string}, rows: {type: array}, n: {type: integer}, any: {}}\nsteps:\n"
"""What the documents below begin with: three lines, so that their own first line is line 4."""

PROBLEMS = {
    "not an object": ("[1]", [("", 1, 1, "a definition is an object with name and steps")]),
    "nothing there": ("{}", [("", 1, 1, "'name' is missing"), ("", 1, 1, "'steps' is missing")]),
    "no steps": ("name: a\nsteps: {}", [("/steps", 2, 8, "must have at least 1 item, not 0")]),
    "name": (
        "name: A b\nsteps: {x: {wait: {for: 1s}}}",
        [("/name", 1, 7, "a workflow's name is lower case letters, digits and single hyphens, at most 63 characters, such as research-brief")],
    ),
    "unknown key": ("name: a\ninput: {}\nsteps: {x: {wait: {for: 1s}}}", [("/input", 2, 1, "there is no field 'input' here; did you mean 'inputs'?")]),
    "step id": (
        STEP + "  my-step: {wait: {for: 1s}}",
        [("/steps/my-step", 4, 3, "a step's id starts with a letter or _ and has at most 64 letters, digits and _")],
    ),
    "word of CEL as id": (STEP + "  in: {wait: {for: 1s}}", [("/steps/in", 4, 3, "'in' is a word of the expression language; give the step another id")]),
    "no kind": (
        STEP + "  x: {when: 'true'}",
        [("/steps/x", 4, 3, "a step has exactly one of agent, http, python, code, set, switch, workflow, approval, wait, signal; this one has none")],
    ),
    "two kinds": (STEP + "  x: {set: {a: 1}, wait: {for: 1s}}", [("/steps/x/wait", 4, 20, "a step has exactly one kind; this one is 'set' already")]),
    "misspelled kind": (STEP + "  x: {agnet: {prompt: hi}}", [("/steps/x/agnet", 4, 7, "there is no field 'agnet' here; did you mean 'agent'?")]),
    "misspelled field, wrong type, unknown input, all at once": (
        STEP + "  x:\n    agent: {promt: a, prompt: '${{ inputs.txt }}', tools: x, max_tokens: 0}\n    retry: {max_attempts: '3'}",
        [
            ("/steps/x/agent/promt", 5, 13, "there is no field 'promt' here; did you mean 'prompt'?"),
            ("/steps/x/agent/prompt", 5, 36, "there is no input 'txt'; did you mean 'text'?"),
            ("/steps/x/agent/tools", 5, 59, "must be a list"),
            ("/steps/x/agent/max_tokens", 5, 74, "must be greater than 0"),
            ("/steps/x/retry/max_attempts", 6, 27, "must be a whole number"),
        ],
    ),
    "missing field": (
        STEP + "  x:\n    http: {method: FETCH}",
        [
            ("/steps/x/http", 5, 11, "'url' is missing"),
            ("/steps/x/http/method", 5, 20, "write 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE' or 'OPTIONS'; did you mean 'PATCH'?"),
        ],
    ),
    "label is a number": ("name: a\nlabels: {v: 1}\nsteps: {x: {wait: {for: 1s}}}", [("/labels/v", 2, 13, "must be text; write it in quotes")]),
    "duration": (
        STEP + "  x: {python: {function: 'a:b'}, timeout: 3 minutes}",
        [("/steps/x/timeout", 4, 43, "'3 minutes' is not a duration; write for example 250ms, 30s, 1m30s, 48h, 7d")],
    ),
    "too long a duration": (STEP + "  x: {python: {function: 'a:b'}, timeout: 400d}", [("/steps/x/timeout", 4, 43, "a duration is between 0 and 366 days")]),
    "size": (
        STEP + "  x: {python: {function: 'a:b'}, resources: {memory: lots}}",
        [("/steps/x/resources/memory", 4, 54, "'lots' is not a size; write for example 512MiB or 2GB, at most 1 PiB")],
    ),
    "threshold": (
        STEP + "  x: {python: {function: 'a:b'}, map: {over: inputs.rows, max_failures: 101%}}",
        [("/steps/x/map/max_failures", 4, 73, "write a count such as 3 or a share such as 5%")],
    ),
    "function": (
        STEP + "  x: {python: {function: os.system}}",
        [("/steps/x/python/function", 4, 26, r"'os.system' does not have the form ^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")],
    ),
    "on_error word": (STEP + "  x: {python: {function: 'a:b'}, on_error: goto}", [("/steps/x/on_error", 4, 44, "write fail, continue, or {goto: <step>}")]),
    "on_error field": (
        STEP + "  x: {python: {function: 'a:b'}, on_error: {gotoo: x}}",
        [("/steps/x/on_error", 4, 44, "'goto' is missing"), ("/steps/x/on_error/gotoo", 4, 45, "there is no field 'gotoo' here; did you mean 'goto'?")],
    ),
    "goto nowhere": (
        STEP + "  x: {python: {function: 'a:b'}, on_error: {goto: z}}\n  z1: {set: {a: 1}}",
        [("/steps/x/on_error/goto", 4, 51, "there is no step 'z'; did you mean 'z1'?")],
    ),
    "goto itself": (
        STEP + "  x: {python: {function: 'a:b'}, on_error: {goto: x}}",
        [("/steps/x/on_error/goto", 4, 51, "step 'x' cannot go to itself; use retry or loop")],
    ),
    "needs": (
        STEP + "  x: {set: {a: 1}, needs: [y, x, f]}\nfinally:\n  f: {set: {a: 1}, needs: [x]}\n  x: {set: {a: 1}}",
        [
            ("/steps/x/needs/0", 4, 28, "there is no step 'y'"),
            ("/steps/x/needs/1", 4, 31, "step 'x' cannot need itself"),
            ("/steps/x/needs/2", 4, 34, "step 'f' is in finally, which runs after all others"),
            ("/finally/x", 7, 3, "there is a step 'x' in steps already; ids are unique over both"),
        ],
    ),
    "finally needs main": (
        STEP + "  x: {set: {a: 1}}\nfinally:\n  f: {set: {a: 1}, needs: [x]}",
        [("/finally/f/needs/0", 6, 28, "steps in finally run after 'x' in any case; leave it out of needs")],
    ),
    "circle": (
        STEP + "  a: {set: {x: '${{ steps.c.output }}'}}\n  b: {set: {x: 1}, when: steps.a.output.x == 1}\n  c: {set: {x: 1}, needs: [b]}",
        [("/steps/b/when", 5, 26, "steps wait for each other in a circle: a → c → b → a")],
    ),
    "circle through a switch": (
        STEP + "  s: {switch: [{when: steps.b.output.x, then: b}]}\n  b: {set: {x: 1}}",
        [("/steps/s/switch/0/then", 4, 47, "steps wait for each other in a circle: s → b → s")],
    ),
    "reads itself": (
        STEP + "  a: {set: {x: '${{ steps.a.output }}'}}",
        [("/steps/a/set/x", 4, 16, "step 'a' reads itself; in a loop write previous or output")],
    ),
    "switch": (
        STEP + "  s: {switch: [{else: x}, {when: 'true'}, {then: x}, {when: 'true', else: x}, {}], map: {over: inputs.rows}}\n  x: {set: {a: 1}}",
        [
            ("/steps/s/switch/0", 4, 16, "else takes everything that is left, so it comes last"),
            ("/steps/s/switch/1", 4, 27, "a case is {when: <condition>, then: <step>} or {else: <step>}"),
            ("/steps/s/switch/2", 4, 43, "a case is {when: <condition>, then: <step>} or {else: <step>}"),
            ("/steps/s/switch/3", 4, 54, "a case is {when: <condition>, then: <step>} or {else: <step>}"),
            ("/steps/s/switch/4", 4, 79, "a case is {when: <condition>, then: <step>} or {else: <step>}"),
            ("/steps/s/map", 4, 84, "a switch chooses once; 'map' means nothing here"),
        ],
    ),
    "switch to nowhere": (STEP + "  s: {switch: [{else: zz}]}\n  x: {set: {a: 1}}", [("/steps/s/switch/0/else", 4, 23, "there is no step 'zz'")]),
    "programs": (
        STEP
        + """  x: {code: {source: "x = ${{ inputs.rows }}", inputs: {class: 1, a: steps.y.output}, memory: 1GiB}}
  y:
    code:
      source: |
        def f(:
            return 1
""",
        [
            ("/steps/x/code/source", 4, 27, "Got unexpected token $; a program is no template: give it values by name, as `inputs`"),
            ("/steps/x/code/inputs/class", 4, 57, "'class' is a word of Python; give the input another name"),
            (
                "/steps/x/code/inputs/a",
                4,
                70,
                "this is the text 'steps.y.output', not the value it names: write ${{ steps.y.output }} (or ${{ 'steps.y.output' }} for the text)",
            ),
            ("/steps/x/code/memory", 4, 95, "the memory of a program is between 8MiB and 512MiB; more belongs into a python step"),
            ("/steps/y/code/source", 8, 15, "Expected a parameter or the end of the parameter list"),
        ],
    ),
    "a model that stands twice": (
        "name: a\ndefaults: {model: ['a:b', 'a:b']}\nsteps: {x: {agent: {prompt: p, model: ['a:b', 'c:d', 'a:b']}}}",
        [
            ("/defaults/model/1", 2, 27, "'a:b' stands in the list already; whoever could not answer is not asked again"),
            ("/steps/x/agent/model/2", 3, 54, "'a:b' stands in the list already; whoever could not answer is not asked again"),
        ],
    ),
    "a list without models": (
        STEP + "  x: {agent: {prompt: p, model: []}}",
        [("/steps/x/agent/model", 4, 33, "write provider:model, or a list of 1 to 10 of them")],
    ),
    "messages nobody has": (
        STEP + "  a: {set: {x: 1}}\n  b: {agent: {prompt: p}, map: {over: inputs.rows}}\n"
        "  c: {agent: {prompt: p, history: '${{ steps.a.messages }}'}}\n  d: {agent: {prompt: p, history: ['${{ steps.b.messages[0] }}']}}",
        [
            ("/steps/c/agent/history", 6, 35, "step 'a' has no messages: it is no agent step"),
            ("/steps/d/agent/history/0", 7, 36, "step 'b' has no messages: each item of its map has a talk of its own"),
        ],
    ),
    "a conversation and a history": (
        STEP + "  x: {agent: {prompt: p, history: [], conversation: t}, map: {over: inputs.rows}}",
        [
            ("/steps/x/agent/conversation", 4, 39, "a step has either history or conversation: a conversation brings its own history"),
            (
                "/steps/x/agent/conversation",
                4,
                39,
                "the items of a map work side by side and cannot take turns in one conversation; put the step into a workflow of its own",
            ),
        ],
    ),
    "map and loop": (
        STEP + "  x: {python: {function: 'a:b'}, map: {over: inputs.rows}, loop: {}}",
        [("/steps/x/loop", 4, 60, "a step has either map or loop; put one of them into a workflow of its own")],
    ),
    "map of what waits": (
        STEP + "  x: {approval: {}, map: {over: inputs.rows}}\n  y: {wait: {for: 1s}, map: {over: inputs.rows}}",
        [
            ("/steps/x/map", 4, 21, "approval steps have no map; put the step into a workflow of its own and map over that"),
            ("/steps/y/map", 5, 24, "wait steps have no map; put the step into a workflow of its own and map over that"),
        ],
    ),
    "resources": (STEP + "  x: {set: {a: 1}, resources: {}}", [("/steps/x/resources", 4, 20, "only python steps have resources, not set steps")]),
    "attempts": (
        STEP + "  x: {approval: {}, retry: {}, timeout: 3s}",
        [
            ("/steps/x/retry", 4, 21, "approval steps make no attempts, so 'retry' means nothing here; write approval.expires"),
            ("/steps/x/timeout", 4, 32, "approval steps make no attempts, so 'timeout' means nothing here; write approval.expires"),
        ],
    ),
    "wait": (
        STEP
        + "  x: {wait: {}}\n  y: {wait: {for: 1s, until: '2027-01-01T00:00:00Z'}}\n  z: {wait: {until: tomorrow}}\n"
        + "  w: {wait: {until: '2027-01-01T00:00:00'}}\n  v: {wait: {for: soon}}",
        [
            ("/steps/x/wait", 4, 13, "a wait has exactly one of for and until"),
            ("/steps/y/wait", 5, 13, "a wait has exactly one of for and until"),
            ("/steps/z/wait/until", 6, 21, "'tomorrow' is not a time with its zone; write for example 2027-01-31T09:00:00Z"),
            ("/steps/w/wait/until", 7, 21, "'2027-01-01T00:00:00' is not a time with its zone; write for example 2027-01-31T09:00:00Z"),
            ("/steps/v/wait/for", 8, 19, "'soon' is not a duration; write for example 250ms, 30s, 1m30s, 48h, 7d"),
        ],
    ),
    "expiry": (STEP + "  x: {approval: {on_expiry: fail}}", [("/steps/x/approval/on_expiry", 4, 18, "on_expiry means nothing without expires")]),
    "condition is no condition": (
        STEP + "  x: {set: {a: 1}, when: inputs.text}",
        [("/steps/x/when", 4, 26, "a condition must be true or false, but this is text")],
    ),
    "condition in braces": (STEP + "  x: {set: {a: 1}, when: '${{ true }}'}", [("/steps/x/when", 4, 26, "write the expression alone here, without ${{ }}")]),
    "over no list": (
        STEP + "  x: {python: {function: 'a:b'}, map: {over: size(inputs.rows)}}",
        [("/steps/x/map/over", 4, 46, "map.over must be a list, but this is a whole number")],
    ),
    "syntax": (
        STEP + "  x:\n    set: {a: 1}\n    when: |\n      true &&\n        inputs.n ==\n",
        [("/steps/x/when", 9, 1, "Syntax error: mismatched input the end")],
    ),
    "types": (STEP + '  x: {set: {a: "n \\"is\\" ${{ inputs.n + \'a\' }}"}}', [("/steps/x/set/a", 4, 39, "'+' does not take int, string")]),
    "segment without end": (
        STEP + "  x: {set: {a: {b: [1, 'x ${{ inputs.n']}}}",
        [("/steps/x/set/a/b/1", 4, 27, "this ${{ has no }} that ends it; write $${{ for the characters themselves")],
    ),
    "names out of place": (
        STEP + "  x:\n    set: {a: '${{ item }} ${{ index }} ${{ iteration }} ${{ output }} ${{ run.status }}'}\noutputs: {o: steps.y.output, p: run.error}",
        [
            ("/steps/x/set/a", 5, 19, "only a step with `map` has `item`"),
            ("/steps/x/set/a", 5, 31, "only a step with `map` has `index`"),
            ("/steps/x/set/a", 5, 44, "only a step with `loop` has `iteration`"),
            ("/steps/x/set/a", 5, 61, "only `loop.until` has `output`; elsewhere write steps.<id>.output"),
            ("/steps/x/set/a", 5, 75, "run.status is known only in `finally`"),
            ("/outputs/o", 6, 14, "there is no step 'y' to refer to here"),
            ("/outputs/p", 6, 33, "run.error is known only in `finally`"),
        ],
    ),
    "item is not known before the map": (
        STEP + "  x: {python: {function: 'a:b'}, map: {over: inputs.rows}, when: item == 1}",
        [("/steps/x/when", 4, 66, "only a step with `map` has `item`")],
    ),
    "bare reference": (
        STEP + "  x: {python: {function: 'a:b', args: {a: inputs.text, b: [' steps.x.output '], c: the steps., d: item}}}",
        [
            (
                "/steps/x/python/args/a",
                4,
                43,
                "this is the text 'inputs.text', not the value it names: write ${{ inputs.text }} (or ${{ 'inputs.text' }} for the text)",
            ),
            (
                "/steps/x/python/args/b/0",
                4,
                61,
                "this is the text ' steps.x.output ', not the value it names: write ${{ steps.x.output }} (or ${{ 'steps.x.output' }} for the text)",
            ),
        ],
    ),
    "schemas": (
        (
            "name: a\ninputs:\n  a: {type: strng}\n  b: {$ref: 'http://127.0.0.1:9/x'}\n  c: {type: integer, default: x}\n  d: {pattern: '('}\nsteps:\n"
            "  x: {agent: {prompt: a, output: {required: 1}}}\n  y: {approval: {form: {$ref: 'file:///etc/passwd'}}}\n"
            "  z: {signal: {name: z, payload: {$ref: '#/x'}}}"
        ),
        [
            ("/inputs/a/type", 3, 13, 'this is no valid JSON Schema: "strng" is none of the forms allowed here'),
            ("/inputs/b", 4, 6, "this is no valid JSON Schema: remote references ($ref to another document) are not allowed"),
            ("/inputs/c/default", 5, 31, 'the default does not fit the schema: "x" is not of type "integer"'),
            ("/inputs/d/pattern", 6, 16, 'this is no valid JSON Schema: "(" is not a "regex"'),
            ("/steps/x/agent/output/required", 8, 45, 'this is no valid JSON Schema: 1 is not of type "array"'),
            ("/steps/y/approval/form", 9, 24, "this is no valid JSON Schema: remote references ($ref to another document) are not allowed"),
            ("/steps/z/signal/payload", 10, 34, "this is no valid JSON Schema: Pointer '/x' does not exist"),
        ],
    ),
    "result is no JSON": (
        STEP + "  x: {set: {a: 1}}\noutputs: {a: \"b'x'\", b: inputs.any.?x}",
        [
            ("/outputs/a", 5, 14, "the result is of type bytes, which is no JSON; use base64.encode(…)"),
            ("/outputs/b", 5, 25, "the result is of type optional_type<dyn>, which is no JSON; add .orValue(…)"),
        ],
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_every_problem_has_its_place(case):
    source, expected = PROBLEMS[case]
    with pytest.raises(DefinitionInvalid) as caught:
        parse(source)
    assert [(problem.pointer, problem.line, problem.column, problem.detail) for problem in caught.value.problems] == expected


def test_a_value_has_pointers_but_no_lines():
    with pytest.raises(DefinitionInvalid) as caught:
        parse({"name": "a", "steps": {"x": {"set": {"a": "${{ item }}"}, "when": "nope"}}})
    assert {(problem.pointer, problem.line) for problem in caught.value.problems} == {("/steps/x/set/a", None), ("/steps/x/when", None)}


def test_the_message_names_the_first_problem_and_the_number_of_others():
    with pytest.raises(DefinitionInvalid, match=r"^line 2: there is no field 'x' here \(and 1 more problems\)$"):
        parse("name: a\nx: 1\ny: 2\nsteps: {x: {wait: {for: 1s}}}")


VALID = {
    "a wait as long as an expression says": "x: {wait: {for: '${{ inputs.n }}'}}",
    "a text that only mentions a step": "x: {set: {a: 'see steps.x.output for more', b: item, c: inputs.}}",
    "a handler reads the step that sends to it": "x: {python: {function: 'a:b'}, on_error: {goto: y}}\ny: {set: {why: '${{ steps.x.error }}'}}",
    "a branch reads the switch that chose it": "x: {switch: [{else: y}]}\ny: {set: {a: '${{ steps.x.output }}'}}",
    "a loop that reads its past": "x: {python: {function: 'a:b', args: {p: '${{ previous }}', i: '${{ iteration }}'}}, loop: {until: output == previous}}",
    "an approval again and again": "x: {approval: {message: 'Now? ${{ iteration }}', show: ['${{ previous }}']}, loop: {until: output.approved}}",
    "whole inputs": "x: {set: {a: '${{ inputs }}', b: '${{ size(inputs) > 1 }}', c: '${{ has(inputs.any) }}'}}",
    "numbers may be compared with fractions": "x: {set: {a: 1}, when: inputs.any > 1.5 && inputs.any < 2}",
    "retry of a child": "x: {workflow: {name: other}, retry: {max_attempts: 2}}",
}


@pytest.mark.parametrize("case", VALID)
def test_valid(case):
    parse(STEP + textwrap.indent(VALID[case], "  "))


def test_the_outputs_may_read_every_step_the_last_one_included():
    loaded = parse(STEP + "  x: {set: {a: 1}}\n  y: {set: {b: 1}}\noutputs: {x: steps.x.output, y: steps.y.output}")
    assert loaded.plan.main == ("x", "y")


def test_a_thousand_steps():
    chain = {f"s{i}": {"python": {"function": "a:b", "args": {"x": f"${{{{ steps.s{i - 1}.output }}}}" if i else 1}}} for i in range(1000)}
    loaded = parse({"name": "chain", "steps": chain})
    assert loaded.plan.main == tuple(chain)
    assert loaded.plan.sinks == ("s999",)
