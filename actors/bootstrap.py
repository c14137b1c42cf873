"""`python -m actors.bootstrap up|down`: the part of starting and stopping the platform that needs Ray, in a process of its own.

Ray and Serve read their environment when they are imported, so the command line starts this with the environment of its cluster.
"""

import logging
import os
import sys

import ray
from ray import serve

from actors.names import NAMESPACE, SUPERVISOR, handle
from actors.process import settings
from actors.supervisor import ensure_supervisor
from runtime.settings import Settings

APPLICATION = "agentic"
SUPERVISOR_SECONDS = 60


def up(wanted: Settings) -> None:
    """Start the Supervisor, its pools and the API. Returns when all of them have answered once."""
    from actors.ingress import NO_PATHS

    ready = ensure_supervisor().ready.remote()
    serve.start(proxy_location="HeadOnly", http_options={"host": wanted.api_host, "port": wanted.api_port}, logging_config=NO_PATHS)
    from serve_app import app

    serve.run(app, name=APPLICATION, route_prefix="/")
    ray.get(ready, timeout=SUPERVISOR_SECONDS)


def down(wanted: Settings) -> None:
    """Drain: first nothing comes in any more, then owners hand their runs over, then the rest ends."""
    serve.shutdown()
    try:
        supervisor = handle(SUPERVISOR)
    except ValueError:
        return  # it never came up
    ray.get(supervisor.drain.remote(), timeout=wanted.drain_ms / 1000 * 2 + SUPERVISOR_SECONDS)


def main(command: str) -> None:
    """`up` or `down`, on the cluster named by RAY_ADDRESS."""
    ray.init(address=os.environ["RAY_ADDRESS"], namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
    {"up": up, "down": down}[command](settings())
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
