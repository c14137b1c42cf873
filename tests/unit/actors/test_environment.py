"""Which process may hold which secret in its environment: what docs/security.md says, and no more."""

from pathlib import Path

import pytest

from actors.environment import Files, Ports, cluster_environment
from runtime.settings import Settings
from runtime.steps.context import StepServices
from runtime.steps.process import ProcessKind
from tests.canaries import Canaries

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
PLAIN = ("OPENAI_API_KEY", "OPENAI_COMPATIBLE_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", "SECRET_KEY")
ADDRESSES = ("OPENAI_BASE_URL", "OPENAI_COMPATIBLE_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
OURS = (*PLAIN, *ADDRESSES, "DATABASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS")
OF_LIBRARIES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
OF_TOOLS = ("TOOL_KEY", "MCP_TOKEN", "PROGRAM_KEY")


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    """Every variable that may hold a secret holds one."""
    planted = Canaries()
    for name in (*OURS, *OF_LIBRARIES, *OF_TOOLS):
        secret = planted.new(name, awkward=False)
        monkeypatch.setenv(name, f"http://me:{secret}@host/v1" if name in ADDRESSES or name.endswith("ENDPOINT") else secret)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{planted.planted['DATABASE_URL']}@host/db")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x={planted.planted['OTEL_EXPORTER_OTLP_HEADERS']}")
    return planted


def settings(home: Path) -> Settings:
    servers = {"a": {"url": "https://mcp.example", "token": {"env": "MCP_TOKEN"}}, "b": {"command": ["x"], "env": {"KEY": {"env": "PROGRAM_KEY"}}}}
    apis = {"c": {"document": "https://api.example/o.json", "base_url": "https://api.example", "credential": {"env": "TOOL_KEY"}}}
    return Settings(home=home, mcp_servers=servers, apis=apis)


def secrets_in(canaries: Canaries, environment: dict[str, str]) -> set[str]:
    return {leak.secret for name, value in environment.items() for leak in canaries.in_text(value, name)}


def test_a_cluster_inherits_what_libraries_and_tools_look_for_there_and_nothing_else(tmp_path: Path, canaries: Canaries):
    files = Files("id", tmp_path / "settings.yaml", tmp_path / "token", tmp_path)
    environment = cluster_environment(settings(tmp_path), files, Ports(*range(10)))
    assert secrets_in(canaries, environment) == {*OF_LIBRARIES, *OF_TOOLS}


async def test_a_process_of_a_step_has_the_keys_of_the_artifact_store_and_nothing_else(tmp_path: Path, canaries: Canaries, monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, str] = {}

    async def start(*_: object, env: dict[str, str], **__: object) -> None:
        seen.update(env)

    monkeypatch.setattr("asyncio.create_subprocess_exec", start)
    given = settings(tmp_path)
    kind = ProcessKind(StepServices(given, artifacts=None))  # type: ignore[arg-type]  # nothing is stored here
    await kind._start(0)
    assert secrets_in(canaries, seen) == set(OF_LIBRARIES)
    assert secrets_in(canaries, {"settings": repr(kind._settings.model_dump())}) == set()


def test_the_page_names_every_variable_that_may_be_there():
    table = PAGE.split("## In memory, and in the environment")[1].split("\n## ")[0]
    for name in OF_LIBRARIES:
        assert f"`{name}`" in table
    assert "`env`" in table
