"""The script of docs/observability.md, run as it stands there."""

import asyncio
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.api.app import build_app
from runtime.api.keys import ensure_local_key
from runtime.api.services import over
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.api.conftest import serving
from tests.support.collector import collecting

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


async def test_a_run_from_all_three_sides(tmp_path: Path):
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    async with collecting() as collector:
        settings = Settings(home=tmp_path, otel_endpoint=collector.url)
        async with LocalPlatform(settings) as platform:
            key = await ensure_local_key(platform.store.catalog, tmp_path)

            @asynccontextmanager
            async def services():
                yield over(platform.store, platform.gateway, settings, tracer=platform.tracer)

            app = build_app(services, settings)
            async with app.router.lifespan_context(app), serving(app, key) as client:
                environment = {**os.environ, "AGENTIC_URL": str(client.base_url).rstrip("/"), "AGENTIC_API_KEY": key}
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, env=environment)
                said = (await process.communicate())[0].decode().splitlines()
        spans = await collector.until(3)
    assert said[0] == "succeeded"
    assert said[2] == 'workflow_runs_total{run_mode="simulated",status="succeeded",workflow_id="observed"} 1.0'
    request, whole, step = (collector.named(name) for name in ("POST /v1/workflows/{name}/runs", "invoke_workflow observed", "invoke_agent think"))
    assert {f"trace {span.trace_id}" for span in spans} == {said[1]}
    assert (whole.parent_id, step.parent_id, request.kind) == (request.span_id, whole.span_id, "server")
    assert request.parent_id
    assert request.attributes["http.response.status_code"] == 202
