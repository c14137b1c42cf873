"""The composition root: settings → store, artifacts, actors → HTTP API. Run it with `serve run serve_app:app`, or `agentic up`.

Nothing is opened here: `build` runs in each replica, and what it opens lives in the application's lifespan. A configuration file
for Serve (configs/serve.yaml) names `serve_app:app`.
"""

from functools import partial

from fastapi import FastAPI

from actors.ingress import api_deployment, replica_services
from runtime.api.app import build_app
from runtime.logs import set_up_logs
from runtime.settings import Settings


def build() -> FastAPI:
    """The API of one replica. Settings come from the environment and the file it names, never through Ray."""
    settings = Settings()
    set_up_logs(settings)
    return build_app(partial(replica_services, settings), settings)


app = api_deployment(build, Settings())
