"""What an agent may write as its tools, what becomes of strangers' schemas, and which operations a document has."""

import jsonschema_rs
import pytest

from runtime.definition.builder import Flow
from runtime.definition.foreign import MAX_BYTES, Refused, parameters_of, readable, unique_names
from runtime.definition.openapi import operation_ids, operations_of, server_of
from runtime.definition.schema import json_schema
from runtime.definition.schemas import check_value
from runtime.definition.validation import parse
from runtime.errors import DefinitionInvalid
from tests.support.api_server import DOCUMENT

FORMS = "write the name of a function, or {function: <name>}, {workflow: <name>}, {openapi: <name, URL or document>} or {mcp: <server>}"
INLINE = DOCUMENT | {"servers": [{"url": "https://pets.example/v1"}]}


def definition(*tools):
    return {"name": "a", "steps": {"x": {"agent": {"prompt": "p", "tools": list(tools)}}}}


GOOD = [
    "module:function",
    {"openapi": "pets"},
    {"openapi": "https://pets.example/openapi.json", "operations": ["listPets"]},
    {"openapi": INLINE, "operations": ["listPets", "DELETE /pets/{id}"]},
    {"mcp": "files"},
    {"mcp": "files", "tools": ["read ${{ not a template }}"]},
    {"mcp": "files", "approve": "always"},
    {"openapi": "pets", "approve": "has(args.body) && args.body.price > 3"},
    {"function": "module:function"},
    {"function": "refund", "approve": "args.amount > 100", "expires": "2d"},
    {"function": "refund", "approve": "never"},
    {"workflow": "widen-search"},
    {"workflow": "widen-search", "version": "0" * 64, "description": "Search again.", "approve": "true"},
]


@pytest.mark.parametrize("entry", GOOD, ids=str)
def test_entries(entry):
    document = definition(entry)
    assert parse(document).document == document
    assert jsonschema_rs.Draft202012Validator(json_schema()).is_valid(document)


@pytest.mark.parametrize(
    ("entry", "pointer", "detail"),
    [
        ({"command": "touch /tmp/x"}, "", FORMS),
        ({"mcp": "files", "command": ["sh", "-c", "id"]}, "/command", "there is no field 'command' here"),
        ({"mcp": "files", "url": "https://evil.example/mcp"}, "/url", "there is no field 'url' here"),
        ({"mcp": "https://evil.example/mcp"}, "/mcp", "'https://evil.example/mcp' does not have the form ^[a-z][a-z0-9_-]{0,31}$"),
        ({"mcp": "files", "tools": [1]}, "/tools/0", "must be text; write it in quotes"),
        ({"openapi": 3}, "/openapi", "write the name of an API, the URL of an OpenAPI document, or the document itself"),
        ({"openapi": "file:///etc/passwd"}, "/openapi", "write the name of an API ([a-z][a-z0-9_-]{0,31}), or the URL of a document"),
        ({"openapi": "pets", "operation": ["x"]}, "/operation", "there is no field 'operation' here; did you mean 'operations'?"),
        ({"openapi": {"swagger": "2.0"}}, "", "this is no OpenAPI document of version 3.0 or 3.1"),
        (
            {"openapi": INLINE, "operations": ["lsitPets"]},
            "",
            "there is no operation 'lsitPets'; there are DELETE /pets/{id}, addPet, getPet, listPets, upload",
        ),
        ({"openapi": INLINE, "operations": ["upload"]}, "", "operation 'upload' cannot be used: its body is multipart/form-data; "),
        ({"openapi": DOCUMENT}, "/openapi", "the document names no server"),
        (3, "", FORMS),
        ({"function": 3}, "/function", "must be text; write it in quotes"),
        ({"function": "a", "args": {}}, "/args", "there is no field 'args' here"),
        ({"workflow": "Widen Search"}, "/workflow", "a workflow's name is lower case letters"),
        ({"workflow": "widen", "inputs": {}}, "/inputs", "there is no field 'inputs' here"),
        ({"workflow": "widen", "version": "1"}, "/version", "'1' does not have the form"),
        ({"function": "a", "approve": True}, "/approve", "must be text; write it in quotes"),
        (
            {"function": "a", "approve": "allways"},
            "/approve",
            "write always, never, or a condition over args, such as args.amount > 100; did you mean 'always'?",
        ),
        ({"mcp": "files", "approve": "args"}, "/approve", "write always, never, or a condition over args"),
        ({"mcp": "files", "approve": "size(args.to)"}, "/approve", "a condition must be true or false, but this is a whole number"),
        ({"openapi": "pets", "approve": "inputs.careful"}, "/approve", "only args can be read here: the arguments of the call"),
        ({"openapi": "pets", "approve": "args.price >"}, "/approve", "Syntax error"),
        ({"workflow": "widen", "approve": "${{ args.n }}"}, "/approve", "write the expression alone here"),
        ({"function": "a", "expires": "2h"}, "/expires", "expires means nothing without approve"),
    ],
    ids=str,
)
def test_problems(entry, pointer, detail):
    with pytest.raises(DefinitionInvalid) as caught:
        parse(definition("a:b", entry))
    [problem] = caught.value.problems
    assert problem.pointer == f"/steps/x/agent/tools/1{pointer}"
    assert problem.detail.startswith(detail)


def test_problems_have_their_line():
    with pytest.raises(DefinitionInvalid) as caught:
        parse("name: a\nsteps:\n  x:\n    agent:\n      prompt: p\n      tools:\n        - mcp: files\n          command: [sh]\n")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (8, 11)
    with pytest.raises(DefinitionInvalid) as caught:
        parse("name: a\nsteps:\n  x:\n    agent:\n      prompt: p\n      tools:\n        - function: pay\n          approve: args.n > item\n")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (8, 29)


def test_only_tools_see_arguments():
    with pytest.raises(DefinitionInvalid) as caught:
        parse({"name": "a", "steps": {"x": {"agent": {"prompt": "${{ args.n }}"}}}})
    assert caught.value.problems[0].detail == "only `approve` of an agent's tool has `args`"


def test_the_builder_takes_them_too():
    flow = Flow("a")
    flow.agent("x", prompt="p", tools=["a:b", {"mcp": "files", "tools": ("read",)}])
    assert flow.build().document["steps"]["x"]["agent"]["tools"] == ["a:b", {"mcp": "files", "tools": ["read"]}]


# --- operations ------------------------------------------------------------------------------------------------------


def test_operations_of_a_document():
    found = {operation.id: operation for operation in operations_of(DOCUMENT, [])}
    assert set(found) == {"listPets", "addPet", "getPet", "DELETE /pets/{id}"}  # the upload cannot be sent
    assert operation_ids(DOCUMENT)[-1] == "upload"
    listed = found["listPets"]
    assert listed.description == "List pets."
    assert set(listed.parameters["properties"]) == {"tag", "filter_age_", "X-Trace"}
    assert check_value(listed.parameters, {"filter_age_": -1})
    assert listed.route["places"][1] == {"arg": "filter_age_", "name": "filter[age]", "in": "query", "style": "form", "explode": True}
    assert found["DELETE /pets/{id}"].name == "DELETE__pets__id_"
    assert found["DELETE /pets/{id}"].parameters["required"] == ["id"]


def test_bodies_are_self_contained_finite_and_without_what_only_answers_have():
    [add] = operations_of(DOCUMENT, ["addPet"])
    assert add.parameters["properties"] == {"body": {"$ref": "#/$defs/Pet"}}
    pet = add.parameters["$defs"]["Pet"]
    # No id, no pattern that cannot be matched in linear time, and no end of parents.
    assert pet == {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "parent": {}}}
    assert check_value(add.parameters, {"body": {}})
    assert check_value(add.parameters, {"body": {"name": "a", "parent": {"parent": 1}}}) == []


def test_what_the_operator_keeps_back():
    assert [operation.id for operation in operations_of(DOCUMENT, [], allowed=["getPet"])] == ["getPet"]
    with pytest.raises(Refused, match="there is no operation 'listPets'; there are getPet"):
        operations_of(DOCUMENT, ["listPets"], allowed=["getPet"])
    [listed] = operations_of(DOCUMENT, ["listPets"], without={"x-trace"})
    assert "X-Trace" not in listed.parameters["properties"]


def test_version_3_0():
    document = {
        "openapi": "3.0.3",
        "servers": [{"url": "https://{region}.example/v1/", "variables": {"region": {"default": "eu"}}}],
        "paths": {
            "/a": {
                "get": {
                    "operationId": "a",
                    "parameters": [{"$ref": "#/components/parameters/n"}, {"name": "Authorization", "in": "header", "schema": {"type": "string"}}],
                }
            }
        },
        "components": {
            "parameters": {"n": {"name": "n", "in": "query", "schema": {"type": "number", "nullable": True, "minimum": 1, "exclusiveMinimum": True}}}
        },
    }
    [operation] = operations_of(document, [])
    assert operation.parameters["properties"] == {"n": {"type": ["number", "null"], "exclusiveMinimum": 1}}
    assert server_of(document) == "https://eu.example/v1"


@pytest.mark.parametrize(
    ("location", "server", "expected"),
    [
        ("https://a.example/docs/openapi.json", "/v1", "https://a.example/v1"),
        ("https://a.example/docs/openapi.json", "..", "https://a.example"),
        (None, "/v1", None),
        (None, "file:///etc", None),
        ("https://a.example/x", "https://b.example", "https://b.example"),
    ],
)
def test_where_a_document_says_its_api_is(location, server, expected):
    assert server_of({"servers": [{"url": server}]}, location) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": {"/a/{b}": {"get": {}}}}, "the document has no operation"),
        ({"paths": {"/a": {"$ref": "https://evil.example/x"}}}, "references lead to places within the same document"),
        ({"paths": {"/a": {"$ref": "#/paths/~1a"}}}, "lead in a circle"),
        ({"paths": {f"/a{at}": {"get": {}} for at in range(65)}}, "65 operations, more than 64"),
        ({"paths": []}, "has no paths"),
        ({"openapi": "4.0"}, "no OpenAPI document"),
    ],
    ids=str,
)
def test_documents_that_cannot_be_used(change, message):
    with pytest.raises(Refused, match=message):
        operations_of(DOCUMENT | change, [])


# --- schemas of strangers --------------------------------------------------------------------------------------------

BOMB = {
    "type": "object",
    "properties": {"x": {"$ref": "#/$defs/a0"}},
    "$defs": {f"a{at}": {"anyOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(20)} | {"a20": {}},
}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (BOMB, "unfold to more than 5000 schemas"),
        ({"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1/x"}}}, "references lead to places within the same document"),
        ({"type": "object", "properties": {"x": {"$ref": "file:///etc/passwd"}}}, "references lead"),
        ({"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}}, "which is not there"),
        ({"type": "object", "properties": {"x": {"enum": ["y" * MAX_BYTES]}}}, "more than 32768"),
        ({"type": "array"}, "are no object"),
        ({"type": "object", "properties": {"x": {"type": "nothing"}}}, "are no JSON Schema"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_schemas_that_are_refused(schema, message):
    with pytest.raises(Refused, match=message):
        parameters_of(schema)


def test_deep_schemas_are_refused():
    schema = {"type": "object"}
    for _ in range(60):
        schema = {"type": "object", "properties": {"x": schema}}
    with pytest.raises(Refused, match="deeper"):
        parameters_of(schema)


def test_what_is_left_of_a_schema():
    schema = {
        "$id": "https://evil.example/s",
        "$schema": "http://json-schema.org/draft-07/schema#",
        "x-hidden": "read this",
        "properties": {
            "$ref": {"type": "string"},
            "a": {"pattern": "^(a+)+$", "type": "string", "description": "plain\u200b\U000e0041 text"},
            "b": {"items": [{"type": "integer"}]},
            "me": {"$ref": "#"},
        },
    }
    assert parameters_of(schema) == {
        "type": "object",
        "properties": {
            "$ref": {"type": "string"},
            "a": {"pattern": "^(a+)+$", "type": "string", "description": "plain text"},  # harmless in an engine without backtracking
            "b": {"prefixItems": [{"type": "integer"}]},
            "me": {},
        },
    }


def test_names_and_texts():
    names = unique_names(["a b", "a.b", "plain", "x" * 70])
    assert len(set(names)) == 4
    assert names[2] == "plain"
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
    assert names == unique_names(["a b", "a.b", "plain", "x" * 70])
    assert readable("a\x1b[2Jb\nc\u202e", 100) == "a[2Jb\nc"
    assert readable("x" * 50, 10) == "x" * 9 + "…"
