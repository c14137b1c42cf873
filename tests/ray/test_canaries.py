"""Secrets planted in a platform on Ray come out nowhere: not in logs of Ray and Serve, not in its session folder, not in the environment or the arguments of
any of its processes. A platform of its own, because secrets are planted before anything starts.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from actors.cluster import processes
from actors.lifecycle import platform_files, start_platform, stop_platform
from runtime.settings import Settings
from tests.canaries import Canaries
from tests.ray.conftest import free_port, until
from tests.support.openai_server import OpenAIServer, Refuse

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
MODULE = "tests.ray.functions_canaries"
SETTINGS = {
    "openai_api_key": "OPENAI_API_KEY",
    "anthropic_api_key": "ANTHROPIC_API_KEY",
    "google_api_key": "GOOGLE_API_KEY",
    "bedrock_api_key": "AWS_BEARER_TOKEN_BEDROCK",
    "openai_compatible_api_key": "OPENAI_COMPATIBLE_API_KEY",
    "secret_key": "SECRET_KEY",
    "otel_headers": "OTEL_EXPORTER_OTLP_HEADERS",
}


def call(api: str, key: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(api + path, data, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}), timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def flow() -> dict[str, Any]:
    """Every secret setting told by every kind of process, a provider that repeats its key, and a crash."""
    once: dict[str, Any] = {"retry": {"max_attempts": 1}, "on_error": "continue"}
    isolated = {"resources": {"num_cpus": 0.1}}
    steps: dict[str, Any] = {"ask": {"agent": {"model": "openai:m", "prompt": "go"}, **once}}
    for name in SETTINGS:
        for function in ("tell", "tell_in_thread"):
            steps[f"{function}_{name}"] = {"python": {"function": f"{MODULE}:{function}", "args": {"name": name}}, **once}
        alone = {"python": {"function": f"{MODULE}:tell", "args": {"name": name}}, **once, **isolated}
        steps[f"alone_{name}"] = alone
    steps["die"] = {"python": {"function": f"{MODULE}:die"}, **once, **isolated, "on_crash": "fail"}
    return {"name": "canaries", "steps": steps}


def test_no_secret_comes_out_of_a_cluster(tmp_path: Path, model: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    canaries = Canaries()
    for name, variable in SETTINGS.items():
        secret = canaries.new(variable, awkward=False)
        monkeypatch.setenv(variable, f"x-key={secret}" if name == "otel_headers" else secret)
    model.default = lambda request: Refuse(400, str(request.headers))
    wanted = Settings(
        home=tmp_path,
        api_port=free_port(),
        run_mode="live",
        python_modules=["tests"],
        openai_base_url=model.url,
        outbound_allow=["127.0.0.1"],
        log_level="DEBUG",
        drain_ms=2000,
    )
    urls = start_platform(wanted, cores=2)
    files = platform_files(wanted)
    try:
        key = canaries.plant("the API key", (tmp_path / "api-key").read_text().strip())
        canaries.plant("the token of Ray", files.token.read_text().strip())
        call(urls.api, key, "/v1/workflows", flow())
        run = call(urls.api, key, "/v1/workflows/canaries/runs", {"mode": "live"})["run_id"]
        until(lambda: call(urls.api, key, f"/v1/runs/{run}")["status"] in {"succeeded", "failed"}, 300)
        for path in ("", "/events?page_size=1000", "/steps"):
            assert canaries.in_text(json.dumps(call(urls.api, key, f"/v1/runs/{run}{path}")), path) == []
        found = processes(files)
        assert len(found) > 5
        assert canaries.in_processes(process.pid for process in found if process.pid != os.getpid()) == []
        held = {tmp_path / name for name in ("api-key", "secret-key")} | {files.token, files.config}
        assert canaries.in_folder(files.folder) == []
        assert canaries.in_folder(tmp_path, but=held) == []
        assert asyncio.run(canaries.in_database(wanted.database)) == []
    finally:
        stop_platform(wanted)
    assert canaries.in_folder(tmp_path, but=held) == []
