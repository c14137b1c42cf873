"""Models, tools, http steps and functions say what a script says, and nothing else."""

import pytest

from runtime.simulation.answers import Answers
from runtime.simulation.script import Script, ScriptStage
from tests.unit.simulation.plays import FUNCTIONS, Play, play

AGENT = f"""\
name: asks
inputs: {{items: {{type: array, default: [1, 2, 3]}}}}
steps:
  think:
    agent: {{prompt: "What is it?", tools: ["{FUNCTIONS}:double"]}}
outputs: {{answer: steps.think.output}}
"""
EACH = """\
name: each
steps:
  think:
    agent: {prompt: "${{ item }}", output: {type: integer}}
    map: {over: "[1, 2, 3]", max_failures: 100%}
outputs: {answers: steps.think.output}
"""
CALL = """\
name: calls
steps:
  get: {http: {url: "https://nowhere.invalid/x"}, retry: {max_attempts: 3, initial: 1h}}
outputs: {body: steps.get.output.body, status: steps.get.output.status}
"""
FOREIGN = """\
name: foreign
steps:
  think: {agent: {prompt: Go, tools: [{mcp: numbers}]}}
outputs: {answer: steps.think.output}
"""


def stage(**parts):
    return ScriptStage(Script(**{part: {name: Answers.of(value) for name, value in given.items()} for part, given in parts.items()}))


async def test_a_scripted_model_calls_real_tools():
    script = stage(models={"think": [{"tool": "double", "args": {"number": 21}}, "It is 42."]})
    played = await play(Play((AGENT,), stage=script))
    assert played.row.result == {"answer": "It is 42."}
    calls = [event.body for event in played.events if event.kind == "call.finished"]
    assert [call["name"] for call in calls] == ["model", "tool:double", "model"]
    assert calls[1]["result"] == {"value": 42}
    assert all(call["asked"] for call in calls)


async def test_scripted_tools_answer_in_place_of_the_real_ones():
    script = stage(
        models={"think": [{"tools": [{"tool": "double", "args": {"number": 1}}, {"tool": "double", "args": {"number": 2}}]}, "done"]},
        tools={"double": [{"returns": 100}, {"fail": "the tool is tired"}]},
    )
    played = await play(Play((AGENT,), stage=script))
    results = [event.body["result"] for event in played.events if event.kind == "call.finished" and event.body["name"] == "tool:double"]
    assert sorted(results, key=str) == [{"failed": "the tool is tired"}, {"value": 100}]


async def test_tools_of_the_network_are_known_by_name():
    script = stage(models={"think": [{"tool": "numbers_add", "args": {"a": 1}}, "three"]}, tools={"numbers_add": [3]})
    played = await play(Play((FOREIGN,), stage=script))
    assert played.row.result == {"answer": "three"}


async def test_each_item_has_its_own_answers():
    script = stage(models={"think": {"each": [{"output": 7}], "1": [{"output": "no number"}, {"output": 8}]}})
    played = await play(Play((EACH,), stage=script))
    assert played.row.result == {"answers": [7, 8, 7]}


async def test_what_has_no_answers_is_simulated_as_ever():
    script = stage(models={"think": {"1": [{"output": 8}]}})
    played = await play(Play((EACH,), stage=script))
    answers = played.row.result["answers"]
    assert answers[1] == 8
    assert all(isinstance(answer, int) for answer in answers)


async def test_a_script_that_is_over_fails_the_step():
    played = await play(Play((AGENT,), stage=stage(models={"think": [{"tool": "double", "args": {"number": 1}}]})))
    assert played.row.error["code"] == "script_over"
    assert "1 answers for the model of step think" in played.row.error["message"]


async def test_a_model_that_fails_as_the_script_says():
    played = await play(Play((AGENT,), stage=stage(models={"think": [{"fail": "quota_exceeded", "message": "empty", "retryable": False}]})))
    assert (played.row.error["code"], played.row.error["message"]) == ("quota_exceeded", "empty")


async def test_http_answers_are_judged_like_real_ones():
    script = stage(http={"get": [{"status": 503, "headers": {"Retry-After": "7200"}}, {"fail": "http_unreachable"}, {"body": {"ok": True}}]})
    played = await play(Play((CALL,), stage=script))
    assert played.row.result == {"body": {"ok": True}, "status": 200}
    first, second, third = played.at("step.started", "get")
    assert first == 0
    assert second >= 7_200_000
    assert third > second


async def test_http_without_a_script_has_the_stand_in_answer():
    played = await play(Play((CALL,)))
    assert played.row.result["body"]["simulated"] is True


async def test_functions_can_have_a_script():
    source = f'name: calls\nsteps:\n  f: {{python: {{function: "{FUNCTIONS}:double", args: {{number: 1}}}}}}\noutputs: {{n: steps.f.output}}\n'
    assert (await play(Play((source,), stage=stage(functions={"f": [{"returns": 9}]})))).row.result == {"n": 9}
    assert (await play(Play((source,)))).row.result == {"n": 2}


def test_answers_that_are_left_are_counted():
    answers = Answers.of({"each": [1, 2], "3": [5]})
    assert [answers.take(0, "x"), answers.take(3, "x"), answers.take(1, "x")] == [1, 5, 1]
    assert answers.left() == 2
    assert answers.fresh().left() == 1, "what was never asked is known only where it is named"
    assert Answers.of([1, 2]).left() == 2


@pytest.mark.parametrize("value", ["text", {}, {"some": [1]}, {"each": 1}])
def test_what_are_no_answers(value):
    with pytest.raises(ValueError, match="write"):
        Answers.of(value)
