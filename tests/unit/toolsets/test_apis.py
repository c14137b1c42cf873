"""Operations of an HTTP API, called for real: what is sent, what comes back, and what an API or its document cannot do."""

import asyncio
import json
import ssl

import pytest

from runtime.agents.tools import ToolRefused
from runtime.errors import StepFailed
from runtime.settings import Settings
from runtime.toolsets.requests import build
from tests.support.api_server import DOCUMENT, Reply

SECRET = "s3cret/with+odd=signs"


def registered(api, **more):
    return {"pets": {"document": f"{api.url}/openapi.json", **more}}


@pytest.fixture
def secret_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    return file


async def test_arguments_go_where_they_belong(api, tools):
    found = await tools([{"openapi": "pets"}], apis=registered(api))
    assert set(found) == {"pets_listPets", "pets_addPet", "pets_getPet", "pets_DELETE__pets__id_"}
    answer = await found["pets_listPets"].invoke({"tag": ["a", "b&c"], "filter_age_": 3, "X-Trace": "t"}, "m")
    assert answer["path"] == "/v1/pets"
    assert answer["query"] == [["tag", "a"], ["tag", "b&c"], ["filter[age]", "3"]]
    assert answer["headers"]["x-trace"] == "t"
    assert answer["headers"]["traceparent"] == "00-trace-parent-01"
    assert "idempotency-key" not in answer["headers"]
    answer = await found["pets_addPet"].invoke({"body": {"name": "rex"}}, "m")
    assert (answer["body"], answer["headers"]["content-type"]) == ('{"name":"rex"}', "application/json")
    answer = await found["pets_getPet"].invoke({"id": "a/../b?c#d"}, "m")
    assert answer["path"] == "/v1/pets/a%2F..%2Fb%3Fc%23d"


@pytest.mark.parametrize("value", ["..", ".", ""])
async def test_no_argument_leads_out_of_its_place(api, tools, value):
    found = await tools([{"openapi": "pets"}], apis=registered(api))
    with pytest.raises(ToolRefused, match="stands in a path"):
        await found["pets_getPet"].invoke({"id": value}, "m")
    with pytest.raises(ToolRefused, match="stands in a header"):
        await found["pets_listPets"].invoke({"X-Trace": "a\r\nhost: evil.example"}, "m")
    assert api.calls == []


async def test_the_key_is_that_of_the_call_in_every_attempt(api, tools):
    async def key(step, mark, name):
        found = await tools([{"openapi": "pets"}], key=step, apis=registered(api))
        return (await found["pets_addPet"].invoke({"body": {"name": name}}, mark))["headers"]["idempotency-key"]

    first = await key("step", "call 1", "rex")
    assert first == await key("step", "call 1", "rex")
    assert len({first, await key("other", "call 1", "rex"), await key("step", "call 2", "rex"), await key("step", "call 1", "tom")}) == 4


async def test_a_credential_goes_to_its_address_and_comes_back_to_nobody(api, tools, secret_file):
    settings = registered(api, base_url=f"{api.url}/v2", credential={"file": str(secret_file), "name": "X-Trace", "scheme": "Token"})
    found = await tools([{"openapi": "pets"}], apis=settings)
    assert "X-Trace" not in found["pets_listPets"].parameters["properties"]
    answer = await found["pets_listPets"].invoke({}, "m")
    assert api.calls[-1].headers["x-trace"] == f"Token {SECRET}"
    assert answer["path"] == "/v2/pets"  # where the operator says, not where the document says
    assert answer["headers"]["x-trace"] == "Token ***"
    assert SECRET not in json.dumps(answer)
    assert SECRET not in str(api.asked[0])  # the document needs none


async def test_a_credential_in_the_query(api, tools, monkeypatch):
    monkeypatch.setenv("PETS_KEY", SECRET)
    settings = registered(api, base_url=api.url, credential={"env": "PETS_KEY", "place": "query", "name": "key"})
    found = await tools([{"openapi": "pets"}], apis=settings)
    await found["pets_listPets"].invoke({"tag": ["x"]}, "m")
    assert api.calls[-1].query == [("tag", "x"), ("key", SECRET)]


async def test_a_missing_credential_sends_nothing(api, tools, tmp_path):
    settings = registered(api, base_url=api.url, credential={"file": str(tmp_path / "nowhere")})
    found = await tools([{"openapi": "pets"}], apis=settings)
    with pytest.raises(StepFailed, match="credential") as caught:
        await found["pets_listPets"].invoke({}, "m")
    assert (caught.value.error_code, caught.value.retryable, str(tmp_path) in str(caught.value)) == ("tool_unavailable", False, False)
    assert api.calls == []


def test_a_credential_needs_an_address():
    with pytest.raises(ValueError, match="needs base_url"):
        Settings(apis={"a": {"document": "x", "credential": {"env": "A"}}})
    with pytest.raises(ValueError, match="exactly one of file and env"):
        Settings(apis={"a": {"document": "x", "base_url": "https://a.example", "credential": {}}})


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(404, b"no such pet"), "the server answered 404: no such pet"),
        (Reply(503), "the server answered 503: {}"),
        (Reply(302, b"", ((b"location", b"http://169.254.169.254/latest"),)), "the server answered 302"),
        (Reply(307, b"", ((b"location", b"http://127.0.0.1:1/"),)), "the server answered 307"),
        (Reply(200, b"x" * (2**20 + 1)), "more than 1048576 bytes"),
        (Reply(200, b"{"), "says it is JSON but is not"),
        (Reply(200, b"\x00\x01", ((b"content-type", b"image/png"),)), "the answer is image/png, neither JSON nor text"),
        (Reply(200, b"\x1f\x8b", ((b"content-encoding", b"gzip"),)), "packed"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_the_model_is_told_what_the_server_says(api, tools, reply, message):
    found = await tools([{"openapi": "pets"}], apis=registered(api))
    api.answers["/v1/pets"] = reply
    with pytest.raises(ToolRefused, match=message):
        await found["pets_listPets"].invoke({}, "m")
    assert len(api.calls) == 1


async def test_text_and_nothing(api, tools):
    found = await tools([{"openapi": "pets"}], apis=registered(api))
    api.answers["/v1/pets"] = Reply(200, "größe".encode(), ((b"content-type", b"text/plain"),))
    assert await found["pets_listPets"].invoke({}, "m") == "größe"
    api.answers["/v1/pets"] = Reply(204, b"", ())
    assert await found["pets_listPets"].invoke({}, "m") is None


async def test_nobody_answers(api, tools):
    found = await tools(
        [{"openapi": "pets"}], apis=registered(api, base_url="http://127.0.0.1:1", timeout=0.2) | {"slow": {**registered(api)["pets"], "timeout": 0.2}}
    )
    with pytest.raises(StepFailed) as caught:
        await found["pets_listPets"].invoke({}, "m")
    assert (caught.value.error_code, caught.value.retryable) == ("tool_unavailable", True)
    slow = await tools([{"openapi": "slow"}], apis={"slow": {**registered(api)["pets"], "timeout": 0.2}})
    api.release = asyncio.Event()
    with pytest.raises(StepFailed) as caught:
        await slow["slow_listPets"].invoke({}, "m")
    assert (caught.value.error_code, caught.value.retryable) == ("timeout", True)


async def test_what_the_operator_takes_back_cannot_be_called(api, tools, open_toolsets):
    before = open_toolsets(apis=registered(api))
    offers = {offer["operation"]: offer for offer in await before.load(await before.offers([{"openapi": "pets"}]))}
    after = open_toolsets(apis=registered(api, operations=["getPet"]))
    await after.tool(offers["getPet"]).invoke({"id": "1"}, "m")
    with pytest.raises(StepFailed, match="no longer offers pets: addPet"):
        await after.tool(offers["addPet"]).invoke({"body": {"name": "x"}}, "m")


# --- documents -------------------------------------------------------------------------------------------------------


async def test_documents_in_files_and_in_definitions(api, tools, tmp_path):
    import yaml

    file = tmp_path / "pets.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(DOCUMENT))))
    found = await tools([{"openapi": "pets", "operations": ["getPet"]}], apis={"pets": {"document": str(file), "base_url": api.url}})
    assert (await found["pets_getPet"].invoke({"id": "7"}, "m"))["path"] == "/pets/7"
    inline = DOCUMENT | {"servers": [{"url": f"{api.url}/inline"}]}
    found = await tools([{"openapi": inline, "operations": ["getPet"]}])
    assert (await found["getPet"].invoke({"id": "7"}, "m"))["path"] == "/inline/pets/7"
    found = await tools([{"openapi": f"{api.url}/openapi.json", "operations": ["getPet"]}])
    assert (await found["getPet"].invoke({"id": "7"}, "m"))["path"] == "/v1/pets/7"


async def test_a_document_is_fetched_once(api, tools, open_toolsets):
    toolsets = open_toolsets(apis=registered(api))
    await asyncio.gather(*(tools([{"openapi": "pets"}], toolsets=toolsets) for _ in range(3)))
    await tools([{"openapi": "pets", "operations": ["getPet"]}], toolsets=toolsets)
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        (b"x" * (4 * 2**20 + 1), "tool_invalid", "more than 4194304 bytes"),
        (b"[" * 100_000, "tool_invalid", "cannot be read"),
        (b'{"openapi": "3.1.0", "paths": {"/a": ' + b'{"get":' * 300 + b"1" + b"}" * 302, "tool_invalid", "cannot be read"),
        (b"a: &a [*a, *a]", "tool_invalid", "cannot be read"),
        (b"<html>", "tool_invalid", "no OpenAPI document"),
        (
            {"openapi": "3.1.0", "paths": {"/a": {"get": {"operationId": "a"}}}, "servers": [{"url": "http://10.1.2.3/"}]},
            "url_invalid",
            "10.1.2.3: tools are reached",
        ),
        ({"openapi": "3.1.0", "paths": {"/a": {"get": {"operationId": "a"}}}, "servers": [{"url": "ftp://a.example"}]}, "tool_invalid", "names no server"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_hostile_documents(api, tools, document, code, message):
    api.document = document
    with pytest.raises(StepFailed, match=message) as caught:
        await tools([{"openapi": f"{api.url}/openapi.json"}])
    assert (caught.value.error_code, caught.value.retryable) == (code, False)


async def test_documents_are_not_fetched_from_the_inside(api, tools):
    for url in (f"http://127.0.0.1:{api.port}/openapi.json", f"http://localhost:{api.port}/openapi.json"):
        with pytest.raises(StepFailed, match="https") as caught:
            await tools([{"openapi": url}], outbound_allow=[])
        assert caught.value.error_code == "url_invalid"
    with pytest.raises(StepFailed) as caught:
        await tools([{"openapi": f"https://127.0.0.1:{api.port}/openapi.json"}], outbound_allow=[])
    assert caught.value.error_code == "outbound_refused"
    inline = DOCUMENT | {"servers": [{"url": f"https://127.0.0.1:{api.port}"}]}
    found = await tools([{"openapi": inline}], outbound_allow=[])
    with pytest.raises(StepFailed) as caught:
        await found["listPets"].invoke({}, "m")
    assert caught.value.error_code == "outbound_refused"
    assert api.asked == []


async def test_a_document_that_redirects_or_is_not_there(api, tools):
    api.answers["/openapi.json"] = Reply(302, b"", ((b"location", b"http://127.0.0.1:1/"),))
    with pytest.raises(StepFailed, match="answered 302") as caught:
        await tools([{"openapi": f"{api.url}/openapi.json"}])
    assert not caught.value.retryable
    api.answers["/openapi.json"] = Reply(503)
    with pytest.raises(StepFailed, match="answered 503") as caught:
        await tools([{"openapi": f"{api.url}/openapi.json"}])
    assert caught.value.retryable


async def test_a_name_nobody_has_registered_is_no_file(tools, tmp_path):
    with pytest.raises(StepFailed, match="there is no API"):
        await tools([{"openapi": "passwd"}])


def test_a_path_that_would_lead_to_another_host():
    route = {"method": "GET", "path": "/x", "places": [], "body": None}
    with pytest.raises(StepFailed, match="another host"):
        build("https://a.example", route | {"path": "@evil.example/x"}, {}, headers={}, query={})
    assert str(build("https://a.example/v1?fixed=1", route | {"path": ""}, {}, headers={}, query={"k": "v"}).url) == "https://a.example/v1?fixed=1&k=v"


def test_styles_of_parameters():
    def place(name, where, style, *, explode):
        return {"arg": name, "name": name, "in": where, "style": style, "explode": explode}

    places = [
        place("p", "path", "simple", explode=False),
        place("a", "query", "form", explode=False),
        place("b", "query", "pipeDelimited", explode=False),
        place("c", "query", "deepObject", explode=True),
        place("d", "query", "form", explode=True),
        place("h", "header", "simple", explode=False),
    ]
    route = {"method": "POST", "path": "/x/{p}", "places": places, "body": {"arg": "body", "type": "application/x-www-form-urlencoded"}}
    args = {"p": [1, 2], "a": ["x", "y"], "b": ["x", "y"], "c": {"k": True}, "d": {"e": None}, "h": [1, 2], "body": {"l": [1, 2], "m": "ü"}}
    request = build("https://a.example", route, args, headers={}, query={})
    assert str(request.url) == "https://a.example/x/1,2?a=x%2Cy&b=x%7Cy&c%5Bk%5D=true&e="
    assert request.headers["h"] == "1,2"
    assert request.content == b"l=1&l=2&m=%C3%BC"


def test_tls_is_verified_as_everywhere():
    from runtime.steps.addresses import AllowList
    from runtime.steps.agent import network

    context = network(AllowList()).transport._pool._ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
