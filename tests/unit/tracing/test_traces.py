"""One trace per run, from the client's request to the last tool call, whoever carries the parts out; and none where nobody wants one."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.gateway import StartRequest
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.protocol import RunQuery, RunRow
from runtime.tracing.ids import attempt_span_id, run_span_id
from tests.support.api_server import ApiServer, api_server
from tests.support.collector import Collector, collecting
from tests.support.openai_server import OpenAIServer, Refuse, Text, ToolCalls, openai_server

TENANT = "default"
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET_WORDS = "the prompt nobody else reads"
FLOW = f"""
name: traced
steps:
  ask:
    agent: {{model: "openai:gpt-5-mini", prompt: "{SECRET_WORDS}", tools: [{{openapi: pets, operations: [listPets]}}]}}
    retry: {{max_attempts: 2, initial: 10ms}}
  fetch:
    http: {{url: "URL/v1/pets"}}
    needs: [ask]
  below:
    workflow: {{name: child}}
    needs: [fetch]
"""
CHILD = """
name: child
steps:
  each:
    python: {function: "tests.unit.tracing.functions:where", args: {value: "${{ item }}"}}
    map: {over: "[1, 2]"}
outputs: {each: steps.each.output}
"""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as running:
        yield running


@pytest.fixture
async def model() -> AsyncIterator[OpenAIServer]:
    async with openai_server() as running:
        yield running


@pytest.fixture
async def pets() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        yield running


@asynccontextmanager
async def platform(home: Path, **settings: Any) -> AsyncIterator[LocalPlatform]:
    usual = {"home": home, "run_mode": "live", "python_modules": ["tests"], "outbound_allow": ["127.0.0.1"], "drain_ms": 2000}
    async with LocalPlatform(Settings(**usual | settings)) as opened:
        yield opened


async def ended(opened: LocalPlatform, text: str, **request: Any) -> RunRow:
    published = await opened.gateway.publish(TENANT, text)
    run = (await opened.gateway.start(TENANT, StartRequest(published.workflow, **request))).run
    return await opened.gateway.wait(TENANT, run.run_id, 50)


def sources(model: OpenAIServer, pets: ApiServer) -> dict[str, Any]:
    return {"openai_base_url": model.url, "openai_api_key": "sk-for-tests", "apis": {"pets": {"document": f"{pets.url}/openapi.json"}}}


async def test_a_run_is_one_trace(tmp_path: Path, collector: Collector, model: OpenAIServer, pets: ApiServer):
    model.say(Refuse(503), ToolCalls(("pets_listPets", {})), Text("two pets"))
    async with platform(tmp_path, otel_endpoint=collector.url, **sources(model, pets)) as opened:
        await opened.gateway.publish(TENANT, CHILD)
        run = await ended(opened, FLOW.replace("URL", pets.url), traceparent=CLIENT)
        assert run.status == "succeeded", run.error
        (child,) = await opened.gateway.runs(TENANT, RunQuery(TENANT, parent_run=run.run_id))
    spans = await collector.until(11)
    assert len(spans) == 11
    assert {span.trace_id for span in spans} == {CLIENT[3:35]}
    above = {span.span_id: span for span in spans}
    assert len(above) == 11

    def parent(name: str) -> str:
        (of,) = {above[span.parent_id].name for span in spans if span.name == name}
        return of

    whole = collector.named("invoke_workflow traced")
    assert (whole.parent_id, whole.span_id) == (CLIENT[36:52], run_span_id(run.run_id))
    assert {parent(name) for name in ("invoke_agent ask", "step fetch", "invoke_workflow child")} == {"invoke_workflow traced"}
    assert {parent("chat gpt-5-mini"), parent("execute_tool pets_listPets")} == {"invoke_agent ask"}
    assert parent("step each") == "invoke_workflow child"
    first, second = sorted((span for span in spans if span.name == "invoke_agent ask"), key=lambda span: span.begun)
    assert (first.failed, first.attributes["error.type"], first.attributes["agentic.attempt"]) == (True, "provider_unavailable", 1)
    assert (second.failed, second.attributes["agentic.attempt"], second.attributes["gen_ai.usage.input_tokens"]) == (False, 2, 200)
    assert second.span_id == attempt_span_id(run.run_id, "ask", None, 2)
    chats = sorted((span for span in spans if span.name == "chat gpt-5-mini"), key=lambda span: span.begun)
    assert [span.parent_id for span in chats] == [first.span_id, second.span_id, second.span_id]
    told = chats[-1].attributes
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"], told["gen_ai.request.model"]) == ("chat", "openai", "gpt-5-mini")
    assert (told["gen_ai.response.model"], told["gen_ai.usage.output_tokens"], told["gen_ai.response.finish_reasons"]) == ("gpt-5-mini", 10, ["stop"])
    assert chats[-1].kind == "client"
    assert whole.begun <= second.begun <= second.ended <= whole.ended + 1_000_000
    assert collector.named("invoke_workflow child").span_id == run_span_id(child.run_id)
    # What went out carries the place it went out from.
    tool, step = collector.named("execute_tool pets_listPets"), collector.named("step fetch")
    by_tool, by_step = (asked.headers["traceparent"] for asked in pets.calls)
    assert by_tool == f"00-{CLIENT[3:35]}-{tool.span_id}-01"
    assert by_step == f"00-{CLIENT[3:35]}-{step.span_id}-01"
    places = child.result["each"]
    assert sorted(places) == sorted(f"00-{CLIENT[3:35]}-{span.span_id}-01" for span in spans if span.name == "step each")
    assert not any(SECRET_WORDS.encode() in body or b"two pets" in body for body in collector.bodies)


async def test_an_answer_that_was_kept_is_no_request(tmp_path: Path, collector: Collector, model: OpenAIServer):
    model.say(Text("once"))
    text = 'name: kept\nsteps:\n  ask:\n    agent: {model: "openai:gpt-5-mini", prompt: Why?, cache: {ttl: 1h}}\n'
    settings = {"openai_base_url": model.url, "openai_api_key": "sk-for-tests"}
    async with platform(tmp_path, otel_endpoint=collector.url, **settings) as opened:
        for _ in range(2):
            assert (await ended(opened, text)).status == "succeeded"
    names = [span.name for span in await collector.until(5)]
    assert (names.count("invoke_agent ask"), names.count("chat gpt-5-mini")) == (2, 1)


async def test_content_is_in_spans_when_the_operator_wants_it(tmp_path: Path, collector: Collector, model: OpenAIServer, pets: ApiServer):
    model.say(ToolCalls(("pets_listPets", {})), Text("two pets, and the key is sk-for-tests"))
    async with platform(tmp_path, otel_endpoint=collector.url, otel_capture_content=True, **sources(model, pets)) as opened:
        run = await ended(opened, FLOW.partition("  fetch:")[0].replace(SECRET_WORDS, SECRET_WORDS + "!" * 9000))
        assert run.status == "succeeded", run.error
    chats = sorted((span for span in await collector.until(5) if span.name.startswith("chat ")), key=lambda span: span.begun)
    asked, answered = chats[-1].attributes["gen_ai.input.messages"], chats[-1].attributes["gen_ai.output.messages"]
    assert SECRET_WORDS in asked
    assert len(asked) == 4096
    assert "two pets" in answered
    assert "sk-for-tests" not in answered
    assert "/v1/pets" in collector.named("execute_tool pets_listPets").attributes["gen_ai.tool.call.result"]


async def test_a_client_that_wants_no_trace_has_none(tmp_path: Path, collector: Collector):
    async with platform(tmp_path, otel_endpoint=collector.url) as opened:
        await ended(opened, CHILD, traceparent=CLIENT[:-2] + "00")
        run = await ended(opened, CHILD)
    spans = await collector.until(3)
    assert {span.attributes["agentic.run_id"] for span in spans} == {run.run_id}
    assert collector.named("invoke_workflow child").parent_id == ""


async def test_a_run_that_another_process_goes_on_with_stays_one_trace(tmp_path: Path, collector: Collector):
    text = CHILD.replace("steps:\n", "steps:\n  stop: {signal: {name: go}}\n").replace("outputs", "  last: {set: {x: 1}, needs: [stop, each]}\noutputs")
    async with platform(tmp_path, otel_endpoint=collector.url) as opened:
        published = await opened.gateway.publish(TENANT, text)
        run = (await opened.gateway.start(TENANT, StartRequest(published.workflow))).run
        await collector.until(2)
    async with platform(tmp_path, otel_endpoint=collector.url) as opened:
        await opened.gateway.signal(TENANT, run.run_id, "go", None)
        assert (await opened.gateway.wait(TENANT, run.run_id, 50)).status == "succeeded"
    spans = await collector.until(3)
    assert len({span.trace_id for span in spans}) == 1
    whole = collector.named("invoke_workflow child")
    assert {span.parent_id for span in spans if span.name == "step each"} == {whole.span_id}


async def test_a_failed_run_says_so_without_its_message(tmp_path: Path, collector: Collector):
    async with platform(tmp_path, otel_endpoint=collector.url) as opened:
        await ended(opened, CHILD.replace(":where", ":fail"))
    await collector.until(3)
    whole = collector.named("invoke_workflow child")
    assert whole.failed
    assert whole.attributes["agentic.run_status"] == "failed"
    assert not any(b"a sentence with content" in body for body in collector.bodies)


@pytest.mark.parametrize("how", ["refuses", "hangs", "is not there"])
async def test_a_collector_in_trouble_harms_no_run(tmp_path: Path, collector: Collector, how: str):
    if how == "refuses":
        collector.status = 500
    elif how == "hangs":
        collector.hang = asyncio.Event()
    endpoint = "http://127.0.0.1:9" if how == "is not there" else collector.url
    async with platform(tmp_path, otel_endpoint=endpoint) as opened:
        for _ in range(3):
            assert (await ended(opened, CHILD)).status == "succeeded"
        if how != "is not there":
            await collector.asked()
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 15


async def test_without_an_endpoint_nothing_is_imported(tmp_path: Path):
    code = "import sys; import runtime.local, runtime.tracing.open; sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
    async with platform(tmp_path) as opened:
        assert opened.tracer is None


async def test_nothing_that_happens_on_a_stage_is_traced(tmp_path: Path):
    class Nowhere:
        async def answer(self, kind: str, spec: dict[str, Any], work: Any) -> None:
            return None

        def context(self, context: Any, spec: dict[str, Any], work: Any) -> Any:
            return context

    async with LocalPlatform(Settings(home=tmp_path, otel_endpoint="http://127.0.0.1:9"), stage=Nowhere()) as opened:
        assert opened.tracer is None
