"""The HTTP ingress on Ray Serve: many stateless replicas of one FastAPI application, built inside each of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from ray import serve

from actors.deltas import AgentPeer
from actors.directory import Directory, Pulse, Report
from actors.runner import RayRunner
from actors.supervisor import ensure_supervisor
from runtime.api.services import Services, over
from runtime.artifacts.open import open_artifacts
from runtime.clock import SystemClock
from runtime.deltas.links import Links
from runtime.gateway import Gateway
from runtime.ids import uuid7
from runtime.settings import Settings
from runtime.store.open import open_store
from runtime.store.sealed import checked_box
from runtime.tracing.open import close_tracer, open_tracer

MAX_ONGOING = 10_000
"""Requests per replica at once. A stream of events holds its place for as long as it is open; Serve's own default is 5."""
NO_PATHS = {"enable_access_log": False}
"""For Serve's logs: the path of a hook is a secret, and must not lie about in files."""


@asynccontextmanager
async def replica_services(settings: Settings) -> AsyncIterator[Services]:
    """What one replica needs: the store, the gateway, and the way to the WorkflowActors. Raises SecretUnreadable."""
    store = await open_store(settings.database, durability=settings.durability)
    try:
        await checked_box(store, settings, SystemClock().now())  # with a wrong SECRET_KEY nothing is started
        ensure_supervisor()
        runner, name = RayRunner(store.journal), f"api-{uuid7()}"
        links, tracer = Links(name, AgentPeer), open_tracer(settings, name)

        def learn(directory: Directory) -> None:
            runner.update(directory)
            links.update(directory.agents)

        pulse = Pulse(lambda: Report(name, "api"), learn)
        await pulse.once()
        pulse.start()
        gateway = Gateway(store.journal, store.catalog, open_artifacts(settings), runner, settings)
        try:
            yield over(store, gateway, settings, links, tracer)
        finally:
            await pulse.stop()
            await links.close()
            await close_tracer(tracer)
    finally:
        await store.close()


def api_deployment(build: Callable[[], FastAPI], settings: Settings) -> Any:
    """The bound Serve application. `build` runs in each replica, so that no engine, lock or socket is ever pickled.

    A replica takes no CPU of Ray's accounts: it waits for I/O, and the processors belong to isolated steps.
    """
    deployment = serve.deployment(
        serve.ingress(build)(),
        name="Api",
        num_replicas=settings.api_replicas,
        max_ongoing_requests=MAX_ONGOING,
        graceful_shutdown_timeout_s=settings.drain_ms / 1000,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": 0},
        logging_config=NO_PATHS,
    )
    return deployment.bind()
