"""The OpenAPI document, and the API measured against it."""

from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from runtime.api import answers
from runtime.api.documented import BEHIND_KEY
from tests.api.fuzz import fuzz, target, wait
from tests.api.test_door import OPEN, PUBLIC


async def test_the_document_names_every_route(client: httpx2.AsyncClient, app: FastAPI) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    described = {(path, method.upper()) for path, operations in document["paths"].items() for method in operations}
    routed = {(route.path.replace(":path", ""), method) for route in app.router.routes for method in route.methods}
    assert described == routed - {("/openapi.json", "GET"), ("/docs", "GET")}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"]
            statuses = set(map(int, operation["responses"]))
            assert 503 in statuses
            if path in {*PUBLIC, OPEN}:
                assert operation["security"] == []
            else:
                assert set(BEHIND_KEY) <= statuses
                assert operation["security"] == [{"key": []}]
            if "requestBody" in operation:
                assert {413, 415} <= statuses


async def test_every_reference_leads_somewhere(client: httpx2.AsyncClient) -> None:
    text = (await client.get("/openapi.json")).text
    document = (await client.get("/openapi.json")).json()
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(document["components"]["schemas"])
    assert {"Run", "Problem", "StartBody"} <= named
    assert answers.Run.__doc__ in text


async def test_the_page_for_people_needs_no_script(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/workflows/{name}/runs" in page.text
    assert "<script" not in page.text
    assert "style-src 'sha256-" in page.headers["content-security-policy"]


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with target(tmp_path) as found:
        wait(found)
        assert fuzz(found, examples=8) > 100
