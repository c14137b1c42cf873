"""What a run was told is kept, and told again: nothing else, and not to a run that asks for something else."""

import base64
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.agents.loop import warm
from runtime.errors import Conflict, DefinitionInvalid, NotFound
from runtime.gateway import StartRequest, views
from runtime.local import LocalPlatform
from runtime.redaction import MARK, MOST
from runtime.references import reference
from runtime.settings import Settings
from runtime.simulation.cassette import Cassette, as_text, read_cassette, write_cassette
from runtime.simulation.people import Decision, People, Sending
from runtime.simulation.recording import record
from runtime.simulation.redaction import Redaction, known_secrets
from runtime.simulation.replay import DIFFERS, ReplayStage, people_of
from runtime.values import load
from tests.support.api_server import api_server
from tests.support.openai_server import OpenAIServer, Output, Refuse, Text, ToolCalls, openai_server
from tests.unit.simulation.plays import FUNCTIONS, Play, Played, play

SECRET = "canary-secret-of-the-test"
ASKS = f"""\
name: asks
inputs: {{topic: {{type: string}}}}
defaults: {{model: "openai:test-model", retry: {{initial: 1ms, max_attempts: 3}}}}
steps:
  think: {{agent: {{prompt: "About ${{{{ inputs.topic }}}}", tools: ["{FUNCTIONS}:double"]}}}}
  each: {{agent: {{prompt: "${{{{ item }}}}", output: {{type: object, required: [n], properties: {{n: {{type: integer}}}}}}}}, map: {{over: "[1, 2]"}}}}
  twice: {{python: {{function: "{FUNCTIONS}:double", args: {{number: 4}}}}}}
  kid: {{workflow: {{name: kid, inputs: {{what: x}}}}}}
  review: {{approval: {{message: Well?, expires: 1h}}, needs: [think, each, twice, kid]}}
  hear: {{signal: {{name: go, expires: 1h}}, needs: [review]}}
outputs: {{think: steps.think.output, each: steps.each.output, by: steps.review.output.by, heard: steps.hear.output, kid: steps.kid.output}}
"""
KID = """\
name: kid
inputs: {what: {type: string}}
steps: {say: {agent: {prompt: "Kid ${{ inputs.what }}", model: "openai:test-model"}}}
outputs: {said: steps.say.output}
"""


class Origin:
    """Reads a local platform."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.gateway = platform.gateway

    async def run(self, run_id: str) -> dict[str, Any]:
        row = await self.gateway.run("default", run_id)
        return views.run_detail(row, inputs=None, output=row.result)

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        return [views.event(event) for event in await self.gateway.events("default", run_id, limit=5000)]

    async def kinds(self, run_id: str) -> dict[str, str]:
        plan = (await self.gateway.state("default", run_id)).plan
        return {name: step.kind.value for name, step in plan.steps.items()}

    async def value(self, run_id: str, sha256: str) -> Any:
        return await load(reference(sha256, await self.gateway.value("default", run_id, sha256)), self.gateway.artifacts)

    async def artifact(self, run_id: str, name: str) -> bytes:
        return await self.gateway.artifacts.get((await self.gateway.artifact("default", run_id, name)).digest)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


def answer(request: Any) -> Any:
    """By what is asked, because items and steps come in any order."""
    prompt = request.texts("user")[-1]
    if prompt in ("1", "2"):
        return Output({"n": int(prompt) * 10})
    if prompt.startswith("Kid"):
        return Text(f"the kid says Bearer {SECRET}")
    if request.texts("tool"):
        return Text("forty-two")
    return ToolCalls(("double", {"number": 21}))


@pytest.fixture
async def taped(server: OpenAIServer, tmp_path: Path) -> Cassette:
    """A live run: a model that is busy at first, a tool, a map, a child run, an answer and a signal."""
    await warm()
    busy = [Refuse(503)]

    def first_busy(request: Any) -> Any:
        found = answer(request)
        return busy.pop() if busy and isinstance(found, ToolCalls) else found  # always the same step: an item's retry is told in another way

    server.default = first_busy
    settings = Settings(home=tmp_path, python_modules=[FUNCTIONS], drain_ms=100, openai_base_url=server.url, openai_api_key=SECRET)
    async with LocalPlatform(settings) as platform:
        gateway = platform.gateway
        for source in (ASKS, KID):
            await gateway.publish("default", source)
        run = (await gateway.start("default", StartRequest("asks", {"topic": "pumps"}, mode="live"))).run
        async for batch in gateway.follow("default", run.run_id):
            for event in batch:
                if event.kind == "approval.requested":
                    await gateway.decide("default", event.body["approval_id"], approved=True, by="ida")
                if event.kind == "step.waiting" and event.step == "hear":
                    await gateway.signal("default", run.run_id, "go", {"key": SECRET})
        assert (await gateway.run("default", run.run_id)).status == "succeeded"
        return await record(Origin(platform), run.run_id, Redaction(known_secrets(settings)))


async def replayed(cassette: Cassette, *sources: str, inputs: dict[str, Any] | None = None, **options: Any) -> tuple[Played, ReplayStage]:
    stage = ReplayStage(cassette, **options)
    run = cassette.run
    what = Play(sources or (ASKS, KID), stage, people_of(cassette), inputs or cassette.inputs, run.mode, run.seed, cassette.created_at, run.id)
    return await play(what), stage


async def test_a_live_run_is_told_again_without_a_network(taped: Cassette, server: OpenAIServer, tmp_path: Path):
    path = tmp_path / "asks.yaml"
    write_cassette(path, taped)
    cassette = read_cassette(path)
    assert cassette == taped
    asked = server.calls
    played, stage = await replayed(cassette)
    assert played.row.status == "succeeded", played.row.error
    assert played.row.run_id == taped.run.id
    assert (stage.differences, list(stage.left())) == ([], [])
    assert Redaction([SECRET]).of(played.row.result) == taped.outputs
    assert server.calls == asked, "nobody was asked"
    assert sum(event.kind == "step.retrying" for event in played.events) == sum(entry.attempts[0].error is not None for entry in taped.steps)


async def test_a_cassette_holds_what_was_said_and_no_secret(taped: Cassette):
    paths = {(entry.step, entry.index) for entry in taped.steps}
    assert paths == {("think", None), ("each", 0), ("each", 1), ("twice", None), ("kid/say", None)}
    think = next(entry for entry in taped.steps if entry.step == "think")
    calls = [call for attempt in think.attempts for call in attempt.calls]
    assert [call.name for call in calls] == ["model", "tool:double", "model"]
    assert all(call.asked for call in calls)
    assert (taped.approvals[0].step, taped.approvals[0].by) == ("review", "ida")
    assert taped.signals[0].payload == {"key": MARK}
    assert SECRET not in as_text(taped)


async def test_a_prompt_that_has_changed_is_told_at_once(taped: Cassette):
    changed = ASKS.replace("About $", "All about $")
    played, stage = await replayed(taped, changed, KID)
    assert played.row.error["code"] == DIFFERS
    assert stage.differences[0] == "call 1 of model in step think asks something else than when this was recorded"


async def test_a_step_that_was_not_there_is_told(taped: Cassette):
    more = ASKS.replace("outputs:", "  more: {agent: {prompt: hello}}\noutputs:")
    _, stage = await replayed(taped, more, KID)
    assert "step more was not carried out at all when this was recorded" in stage.differences


async def test_what_is_not_asked_for_is_told(taped: Cassette):
    less = ASKS.replace('map: {over: "[1, 2]"}', 'map: {over: "[1]"}')
    _, stage = await replayed(taped, less, KID)
    assert list(stage.left()) == ["step each, item 1, was carried out 1 times more when this was recorded"]


async def test_functions_run_or_are_told(taped: Cassette):
    for entry in taped.steps:
        if entry.step == "twice":
            entry.attempts[0].output = 1_000
    really, _ = await replayed(taped)
    told, _ = await replayed(taped, recorded_python=True)
    assert really.state.steps["twice"].output == 8
    assert told.state.steps["twice"].output == 1_000


async def test_a_run_that_goes_on_cannot_be_recorded(tmp_path: Path):
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=100)) as platform:
        await platform.gateway.publish("default", "name: hear\nsteps: {go: {signal: {name: go}}}\n")
        run = (await platform.gateway.start("default", StartRequest("hear"))).run
        with pytest.raises(Conflict, match="only a run that has ended"):
            await record(Origin(platform), run.run_id, Redaction())


HTTP = """\
name: fetch
steps:
  get: {http: {url: "https://nowhere.invalid/x"}, retry: {max_attempts: 2, initial: 1h}}
  poll: {http: {url: "https://nowhere.invalid/y"}, loop: {until: output.body.done, max_iterations: 3}}
  words: {signal: {name: word}, loop: {until: output.last, max_iterations: 3}}
  review: {approval: {message: Well?}, needs: [words]}
outputs: {get: steps.get.output.body, poll: steps.poll.output.body, headers: steps.get.output.headers}
"""


async def test_answers_of_http_steps_attempt_by_attempt_and_pass_by_pass(tmp_path: Path):
    from runtime.simulation.answers import Answers
    from runtime.simulation.people import TENANT
    from runtime.simulation.platform import SimulatedPlatform
    from runtime.simulation.script import Script, ScriptStage
    from runtime.simulation.starting import request_of, run_id_of
    from tests.unit.simulation.plays import SETTINGS, START

    answers = {
        "get": [{"status": 500}, {"body": {"ok": 1}, "headers": {"Set-Cookie": "session=of-somebody"}}],
        "poll": [{"body": {"done": False}}, {"body": {"done": True}}],
    }
    people = People(
        {"review": deque([Decision(True, comment="fine", after=5_000)])},
        {"word": deque([Sending({"last": False}, after=60_000), Sending({"last": True}, after=1_000)])},
    )
    stage = ScriptStage(Script(http={name: Answers.of(value) for name, value in answers.items()}))
    async with SimulatedPlatform(SETTINGS, stage, start=START) as platform:
        await platform.gateway.publish(TENANT, HTTP)
        run = (await platform.gateway.start(TENANT, request_of("fetch", {}, mode="simulated", seed=1, run_id=run_id_of(START, "fetch", 1)))).run
        await platform.until_end(run.run_id, lambda: people.act(platform.gateway, platform.clock))
        cassette = await record(Origin(platform.local), run.run_id, Redaction())
    assert {entry.step: len(entry.attempts) for entry in cassette.steps} == {"get": 2, "poll#0": 1, "poll#1": 1}
    assert [one.after for one in cassette.signals] == [60_000, 1_000]
    assert "of-somebody" not in as_text(cassette), "neither in the answer nor in what was made of it"
    assert cassette.steps[0].attempts[1].output["headers"]["set-cookie"] == MARK
    played, replay = await replayed(cassette, HTTP)
    assert played.row.status == "succeeded", played.row.error
    assert (replay.differences, list(replay.left())) == ([], [])
    assert played.row.result["poll"] == {"done": True}
    assert played.at("run.succeeded") == [max(played.at("step.succeeded"))]


def test_texts_survive_the_file(tmp_path: Path):
    texts = [
        "",
        "null",
        "1",
        "1e5",
        "0x1F",
        "no",
        "- a",
        "a: b",
        " lead",
        "trail ",
        "two\nlines\n",
        "#x",
        "'q'",
        '"q"',
        "☃ 𝄞",
        "\t",
        "a\r\nb",
        "~",
        ".5",
        "&a *b",
        "2026-01-01",
        "{x}",
    ]
    run = {"id": "r", "mode": "live", "seed": 3, "created_at": "2026-01-01T00:00:00Z", "status": "succeeded"}
    same = [{"twice": texts}] * 2
    cassette = Cassette.model_validate({"cassette": 1, "workflow": "w", "version": "0" * 64, "run": run, "inputs": {"texts": texts, "same": same}, "steps": []})
    write_cassette(tmp_path / "c.yaml", cassette)
    assert read_cassette(tmp_path / "c.yaml") == cassette


@pytest.mark.parametrize(
    ("text", "place"),
    [("cassette: 2\n", None), ("[]\n", None), ("cassette: 1\nworkflow: w\nversion: x\nrun: {}\ninputs: {}\nsteps: []\n", (3, 10))],
)
def test_what_is_no_cassette(tmp_path: Path, text: str, place: tuple[int, int] | None):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(DefinitionInvalid) as caught:
        read_cassette(tmp_path / "c.yaml")
    assert place is None or (caught.value.problems[0].line, caught.value.problems[0].column) == place
    with pytest.raises(NotFound):
        read_cassette(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Bearer abcdefghijklmnop", "abcdefghijklmnop"),
        ("sk-" + "a1" * 20, "a1a1"),
        ("AKIA" + "A1" * 8, "A1A1"),
        ("ghp_" + "a1" * 18, "a1a1"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc", "eyJzdWIiOiIxMjM0In0"),
        ("postgresql://me:hunter22@db/x", "hunter22"),
        ("-----BEGIN " + "PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
        ("the-configured-one", "configured"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, secret: str):
    cleaned = Redaction(["the-configured-one"]).of({"a": [f"before {text} after"], text: 1})
    assert MARK in cleaned["a"][0]
    assert secret not in str(cleaned)
    assert cleaned["a"][0].startswith("before ")
    assert cleaned["a"][0].endswith("after")


def test_a_cassette_forgets_no_secret_and_knows_how_it_may_be_written():
    redaction = Redaction(f"secret-number-{number:04}" for number in range(MOST + 1))
    assert redaction.of("secret-number-0000!") == f"{MARK}!"
    assert redaction.of(base64.b64encode(b"secret-number-0000").decode()).startswith(MARK)


def test_a_cookie_is_taken_out_of_what_comes_after():
    redaction = Redaction()
    assert redaction.of("cookie-of-a-server") == "cookie-of-a-server"
    assert redaction.of_answer({"headers": {"Set-Cookie": "cookie-of-a-server"}}) == {"headers": {"Set-Cookie": MARK}}
    assert redaction.of({"said": ["cookie-of-a-server", 1]}) == {"said": [MARK, 1]}


def test_secrets_of_tools_are_known_where_they_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "token").write_text("token-of-a-server\n")
    monkeypatch.setenv("PETS_KEY", "key-of-the-pets")
    settings = Settings(
        openai_api_key=SECRET,
        secret_key="first-key-of-thirty-two-characters,second-key-of-thirty-two-characters",
        apis={"pets": {"document": "x.json", "base_url": "https://pets.example", "credential": {"env": "PETS_KEY"}}},
        mcp_servers={
            "a": {"url": "https://a.example", "token": {"file": tmp_path / "token"}},
            "b": {"command": ["x"], "env": {"K": {"env": "NOT_SET"}, "L": "plain"}},
        },
    )
    known = set(known_secrets(settings))
    assert {SECRET, "second-key-of-thirty-two-characters", "key-of-the-pets", "token-of-a-server"} <= known
    assert "plain" not in known


def test_ordinary_words_stay():
    text = "skip the task-list at https://example.com/a:b@c, risk-free; basic ideas, pk 7"
    assert Redaction(["short"]).of(text) == text


async def test_tools_of_others_are_known_from_the_cassette(server: OpenAIServer, tmp_path: Path):
    await warm()
    agent = '{prompt: go, model: "openai:m", tools: [{openapi: pets, operations: [addPet]}]}'
    source = f"name: pets\nsteps: {{ask: {{agent: {agent}}}}}\noutputs: {{said: steps.ask.output}}\n"
    server.say(ToolCalls(("pets_addPet", {"body": {"name": "rex"}})), Text("done"))
    async with api_server() as api:
        settings = Settings(
            home=tmp_path,
            drain_ms=100,
            openai_base_url=server.url,
            openai_api_key=SECRET,
            apis={"pets": {"document": f"{api.url}/openapi.json"}},
            outbound_allow=["127.0.0.1"],
        )
        async with LocalPlatform(settings) as platform:
            await platform.gateway.publish("default", source)
            run = (await platform.gateway.start("default", StartRequest("pets", mode="live"))).run
            assert (await platform.gateway.wait("default", run.run_id, 40)).status == "succeeded"
            cassette = await record(Origin(platform), run.run_id, Redaction())
    offers, *_ = cassette.steps[0].attempts[0].calls
    assert (offers.name, offers.result[0]["name"]) == ("tools", "pets_addPet")
    played, stage = await replayed(cassette, source)
    assert played.row.result == {"said": "done"}
    assert (stage.differences, list(stage.left())) == ([], [])


async def test_large_values_that_only_events_speak_of_can_be_read_by_their_run_alone(tmp_path: Path):
    async with LocalPlatform(Settings(home=tmp_path, drain_ms=100)) as platform:
        gateway = platform.gateway
        await gateway.publish("default", "name: hear\nsteps: {go: {signal: {name: go}}, on: {set: {x: 1}, needs: [go]}}\noutputs: {x: steps.on.output.x}\n")
        runs = [(await gateway.start("default", StartRequest("hear"))).run.run_id for _ in range(2)]
        for run_id, payload in zip(runs, (["x" * 100_000], ["small"]), strict=True):
            await gateway.signal("default", run_id, "go", payload)
            assert (await gateway.wait("default", run_id, 40)).status == "succeeded"
        (received,) = [event for event in await gateway.events("default", runs[0]) if event.kind == "signal.received"]
        kept = received.body["payload"]["$artifact"]
        assert await gateway.value("default", runs[0], kept["sha256"]) == kept["size"]
        with pytest.raises(NotFound):
            await gateway.value("default", runs[1], kept["sha256"])
        assert (await record(Origin(platform), runs[0], Redaction())).signals[0].payload == ["x" * 100_000]
