"""docs/streaming.md, as it stands there: the definition is published, and the commands are run by a shell."""

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml

from runtime.agents.loop import warm
from runtime.agents.providers import Providers
from runtime.api.answers import Delta, Said
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.support.openai_server import Streamed, Text
from tests.support.served import served
from tests.support.wires import Given, wires

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "streaming.md").read_text()
STORY = "Once upon a time there was a pump that leaked."


def block(language: str) -> str:
    """The one block of this language."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    (found,) = [text for name, text in blocks if name == language]
    return found


async def test_the_commands_show_what_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await warm()
    (tmp_path / "story.yaml").write_text(block("yaml"))
    (tmp_path / ".agentic").mkdir()
    async with wires("openai") as (wire,):
        monkeypatch.setattr("runtime.steps.agent.Providers", lambda settings, *_rest: Providers(settings, Given({"openai": wire.credential()})))
        gate = asyncio.Event()
        wire.server.say(Streamed(Text(STORY), gate=gate))
        async with LocalPlatform(Settings(home=tmp_path / "home", drain_ms=100)) as platform, served(platform) as client:
            (tmp_path / ".agentic" / "api-key").write_text(client.headers["authorization"].removeprefix("Bearer "))
            commands = block("sh").replace("localhost:8000", f"{client.base_url.host}:{client.base_url.port}")
            shell = await asyncio.create_subprocess_exec("sh", "-eu", "-c", commands, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
            assert shell.stdout is not None
            told = b""
            async with asyncio.timeout(50):
                while b"event: step.delta\n" not in told:
                    told += await shell.stdout.read(4096)
                gate.set()
                told += await shell.stdout.read()
            assert await shell.wait() == 0
    messages = [json.loads(line.removeprefix(b"data: ")) for line in told.splitlines() if line.startswith(b"data: ")]
    assert "".join(message["body"]["text"] for message in messages if message["event"] == "step.delta") == STORY
    assert messages[-1]["event"] == "run.succeeded"
    assert messages[-1]["body"]["output"] == {"story": STORY}


def test_the_messages_shown_are_messages() -> None:
    shown = [json.loads(line.removeprefix("data: ")) for line in block("").splitlines() if line.startswith("data: ")]
    assert len(shown) == 2
    first, second = [Delta.model_validate(message) for message in shown]
    assert isinstance(first.body, Said)
    assert isinstance(second.body, Said)
    assert second.body.offset == (first.body.offset or 0) + len(first.body.text or "")


def test_the_definition_says_what_the_page_says() -> None:
    assert yaml.safe_load(block("yaml"))["steps"]["tell"]["agent"]["stream"] is True
