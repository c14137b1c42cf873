import pytest

from runtime.definition.render import compile_spec, spec_for
from runtime.definition.validation import parse


def test_an_agent_gets_every_field_and_always_text():
    spec = compile_spec("agent", {"agent": {"prompt": "${{ item }}", "instructions": "on ${{ inputs.topic }}", "tools": ["a"]}})
    rendered = spec.render({"item": {"a": 1}, "inputs.topic": "T"})
    assert (rendered["prompt"], rendered["instructions"], rendered["tools"], rendered["model"]) == ('{"a":1}', "on T", ["a"], None)
    assert rendered["limits"] == {"turns": 50, "tool_calls": 200, "tokens": None, "limiter_wait": "1h"}
    assert spec.names == {"item", "inputs.topic"}
    assert spec.each


def test_http_headers_are_text_and_the_body_keeps_its_types():
    http = {
        "url": "https://example.org/${{ inputs.n }}",
        "headers": {"X-N": "${{ inputs.n }}"},
        "query": {"q": "${{ inputs.n }}"},
        "body": {"n": ["${{ inputs.n }}"]},
    }
    rendered = compile_spec("http", {"http": http}).render({"inputs.n": 3})
    assert rendered["url"] == "https://example.org/3"
    assert (rendered["headers"], rendered["query"], rendered["body"]) == ({"X-N": "3"}, {"q": 3}, {"n": [3]})
    assert (rendered["method"], rendered["max_response"]) == ("GET", 10 * 2**20)


def test_only_the_fields_meant_for_it_are_templates():
    rendered = compile_spec("agent", {"agent": {"prompt": "a", "model": "${{ inputs.x }}", "output": {"const": "${{ inputs.y }}"}}}).render({})
    assert (rendered["model"], rendered["output"]) == ("${{ inputs.x }}", {"const": "${{ inputs.y }}"})


def test_a_program_is_no_template_but_its_inputs_are():
    spec = compile_spec("code", {"code": {"source": "return '${{ inputs.x }}' + a", "inputs": {"a": "${{ item }}", "b": ["${{ inputs.n }}"]}}})
    rendered = spec.render({"item": {"k": 1}, "inputs.n": 3})
    assert rendered == {"source": "return '${{ inputs.x }}' + a", "inputs": {"a": {"k": 1}, "b": [3]}, "memory": 64 * 2**20}
    assert spec.names == {"item", "inputs.n"}


def test_the_plans_spec_is_what_the_executor_takes():
    loaded = parse("name: a\nsteps: {x: {python: {function: 'a:b', args: {k: '${{ run.id }}'}}}}")
    step = loaded.plan.steps["x"]
    compiled = spec_for(loaded.hash, "x", step.kind, step.spec)
    assert compiled.render({"run.id": "r"}) == {"function": "a:b", "args": {"k": "r"}}
    assert not compiled.each
    assert spec_for(loaded.hash, "x", step.kind, {"not": "read again"}) is compiled
    assert spec_for("another", "x", step.kind, step.spec) is not compiled


def test_kinds_the_engine_does_itself_have_no_executor():
    with pytest.raises(ValueError, match="a set step has no executor"):
        compile_spec("set", {"set": {"a": 1}})
