import httpx2
import pytest

from actors.cli.client import Api, problem_line
from actors.cli.connection import Connection, connect
from actors.cli.exits import CommandError, Exit

KEY = "ak_1_secret"


def answering(handler, url="http://127.0.0.1:1"):
    return Api(Connection(url, KEY), transport=httpx2.MockTransport(handler))


def test_a_list_follows_its_cursor_up_to_the_limit():
    seen = []

    def handler(request):
        seen.append(dict(request.url.params))
        first = int(request.url.params.get("page_token", 0))
        return httpx2.Response(200, json={"runs": [{"n": n} for n in range(first, first + 100)], "next_page_token": str(first + 100)})

    assert [entry["n"] for entry in answering(handler).pages("/v1/runs", 150, workflow=None, status=["failed"])] == list(range(150))
    assert seen == [{"status": "failed", "page_size": "100"}, {"status": "failed", "page_size": "50", "page_token": "100"}]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, {"code": "not_found", "detail": "there is no run x"}, Exit.NOT_FOUND),
        (
            422,
            {"code": "definition_invalid", "detail": "1 problem", "errors": [{"pointer": "/steps/a", "detail": "no such step", "line": 3, "column": 5}]},
            Exit.USAGE,
        ),
        (401, {"code": "unauthorized", "detail": "a key is needed"}, Exit.REFUSED),
        (409, {"code": "already_decided", "detail": "already decided"}, Exit.CONFLICT),
        (429, {"code": "overloaded", "detail": "too many"}, Exit.LIMIT),
        (503, {"code": "store_unavailable", "detail": "the database is away"}, Exit.UNREACHABLE),
        (500, {"code": "internal"}, Exit.FAILED),
        (502, None, Exit.UNREACHABLE),
        (418, None, Exit.FAILED),
    ],
)
def test_problems_become_sentences_and_exit_codes(status, body, code):
    def handler(_):
        return httpx2.Response(status, json=body) if body else httpx2.Response(status, text="<html>not ours</html>")

    with pytest.raises(CommandError) as caught:
        answering(handler).call("GET", "/v1/runs/x")
    assert caught.value.exit_code is code
    assert ((body or {}).get("detail") or str(status)) in str(caught.value)
    assert list(caught.value.details) == (["3:5 /steps/a: no such step"] if body and body.get("errors") else [])


def test_a_problem_without_a_place_is_its_sentence():
    assert problem_line({"detail": "too long"}) == "too long"


def test_a_platform_that_is_not_there_is_told_as_such():
    def handler(request):
        raise httpx2.ConnectError("refused", request=request)

    with pytest.raises(CommandError, match="agentic up") as caught:
        answering(handler).call("GET", "/readyz")
    assert caught.value.exit_code is Exit.UNREACHABLE
    with pytest.raises(CommandError, match="AGENTIC_URL"):
        answering(handler, "https://platform.example").call("GET", "/readyz")


# --- where the key goes ----------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTIC_HOME", str(tmp_path))
    monkeypatch.delenv("AGENTIC_URL", raising=False)
    monkeypatch.delenv("AGENTIC_API_KEY", raising=False)
    (tmp_path / "api-key").write_text("ak_local\n")
    return tmp_path


def test_the_local_key_goes_to_this_machine(home):
    assert connect() == Connection("http://127.0.0.1:8000", "ak_local")
    (home / "platform.json").write_text('{"api": "http://127.0.0.1:8123"}')
    assert connect() == Connection("http://127.0.0.1:8123", "ak_local")


@pytest.mark.parametrize("url", ["https://platform.example", "http://127.0.0.1.example", "http://127.0.0.1@platform.example"])
def test_the_local_key_goes_nowhere_else(home, monkeypatch, url):
    monkeypatch.setenv("AGENTIC_URL", url)
    assert connect().key is None


def test_a_key_of_the_environment_goes_where_the_environment_says(home, monkeypatch):
    monkeypatch.setenv("AGENTIC_URL", "https://platform.example/")
    monkeypatch.setenv("AGENTIC_API_KEY", "ak_remote")
    assert connect() == Connection("https://platform.example", "ak_remote")
    assert "ak_remote" not in repr(connect())


@pytest.mark.parametrize("url", ["ftp://x", "platform.example", "http://"])
def test_an_address_that_is_none_is_refused(home, monkeypatch, url):
    monkeypatch.setenv("AGENTIC_URL", url)
    with pytest.raises(CommandError, match="AGENTIC_URL"):
        connect()


def test_a_damaged_state_file_is_told(home):
    (home / "platform.json").write_text("{")
    with pytest.raises(CommandError, match="damaged"):
        connect()
