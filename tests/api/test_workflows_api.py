"""Workflows over HTTP."""

import json

import httpx2
import pytest

from tests.api.world import DOCUMENT, FLOW, World

YAML = {"content-type": "application/yaml"}


async def test_create_read_and_list(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/workflows", content=FLOW, headers=YAML)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/workflows/demo"
    body = made.json()
    assert (body["name"], body["number"], body["description"]) == ("demo", 1, "Asks a person.")
    assert made.headers["etag"] == f'"{body["version"]}"'
    assert (await client.get("/v1/workflows/demo")).json() == body
    assert (await client.get("/v1/workflows/demo", params={"version": body["version"]})).json() == body
    assert (await client.get("/v1/workflows")).json()["workflows"] == [{key: value for key, value in body.items() if key != "definition"}]


async def test_json_and_yaml_are_the_same_version(client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1/workflows", content=FLOW, headers=YAML)).json()
    again = await client.put("/v1/workflows/demo", json=DOCUMENT)
    assert again.status_code == 200
    assert again.json() == made
    assert (await client.post("/v1/workflows", json=DOCUMENT)).status_code == 409


async def test_versions_and_if_match(client: httpx2.AsyncClient) -> None:
    first = (await client.put("/v1/workflows/demo", json=DOCUMENT)).json()
    changed = {**DOCUMENT, "description": "Another."}
    stale = await client.put("/v1/workflows/demo", json=changed, headers={"if-match": '"' + "0" * 64 + '"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_changed")
    second = (await client.put("/v1/workflows/demo", json=changed, headers={"if-match": f'"{first["version"]}"'})).json()
    assert second["number"] == 2
    page = (await client.get("/v1/workflows/demo/versions", params={"page_size": 1})).json()
    assert [each["number"] for each in page["workflows"]] == [2]
    rest = (await client.get("/v1/workflows/demo/versions", params={"page_token": page["next_page_token"]})).json()
    assert [each["number"] for each in rest["workflows"]] == [1]
    assert rest["next_page_token"] is None
    assert (await client.put("/v1/workflows/demo", json=changed, headers={"if-match": "W/x"})).status_code == 422


async def test_lists_go_on_where_the_page_ended(client: httpx2.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        assert (await client.put(f"/v1/workflows/{name}", json={**DOCUMENT, "name": name})).status_code == 200
    names, token = [], None
    while True:
        page = (await client.get("/v1/workflows", params={"page_size": 2} | ({"page_token": token} if token else {}))).json()
        names += [each["name"] for each in page["workflows"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert names == ["a", "b", "c"]


async def test_problems_have_pointer_line_and_column(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/v1/workflows:validate", content="name: demo\nsteps:\n  one:\n    set: {a: 1}\n    nedds: []\n", headers=YAML)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    problem = refused.json()
    assert (problem["code"], problem["status"], problem["instance"]) == ("definition_invalid", 422, "/v1/workflows:validate")
    assert {"pointer": "/steps/one/nedds", "line": 5}.items() <= problem["errors"][0].items()
    assert "needs" in problem["errors"][0]["detail"]


async def test_validate_stores_nothing(client: httpx2.AsyncClient) -> None:
    found = await client.post("/v1/workflows:validate", json=DOCUMENT)
    assert found.status_code == 200
    assert found.json()["name"] == "demo"
    assert set(found.json()["steps"]) == set(DOCUMENT["steps"])
    assert (await client.get("/v1/workflows/demo")).status_code == 404


async def test_the_name_in_the_url_counts(client: httpx2.AsyncClient) -> None:
    refused = await client.put("/v1/workflows/other", json=DOCUMENT)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/name")


async def test_delete(client: httpx2.AsyncClient, world: World) -> None:
    run = await world.run()
    assert (await client.delete("/v1/workflows/demo")).status_code == 204
    assert (await client.delete("/v1/workflows/demo")).status_code == 404
    assert (await client.get("/v1/workflows/demo")).status_code == 404
    assert (await client.post("/v1/workflows/demo/runs", json={"inputs": {"topic": "x"}})).status_code == 404
    assert (await client.get(f"/v1/runs/{run.run_id}/steps")).status_code == 200


@pytest.mark.parametrize("name", ["nothing", "%00", "a%20b", "..", "A", "x" * 200, "%ff", "a%2fb"])
async def test_unknown_names(client: httpx2.AsyncClient, name: str) -> None:
    for answer in (await client.get(f"/v1/workflows/{name}"), await client.get(f"/v1/workflows/{name}/versions"), await client.delete(f"/v1/workflows/{name}")):
        assert answer.status_code in (404, 405, 200) if name == ".." else 404


async def test_other_types_of_body(client: httpx2.AsyncClient) -> None:
    text = json.dumps(DOCUMENT)
    for kind in ("text/plain", "application/x-yaml", "application/json; charset=utf-16", "multipart/form-data", ""):
        assert (await client.post("/v1/workflows", content=text, headers={"content-type": kind})).status_code == 415, kind
    assert (await client.post("/v1/workflows", content=text, headers={"content-type": "application/json", "content-encoding": "gzip"})).status_code == 415
    assert (await client.post("/v1/workflows", content=text, headers={"content-type": "Application/JSON; charset=UTF-8"})).status_code == 201


async def test_size_limit(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/workflows", content=b" " * (2**20 + 1), headers=YAML)).status_code == 413


async def test_the_schema_is_published(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/v1/schema/definition")).json()
    assert schema["$schema"].endswith("2020-12/schema")
