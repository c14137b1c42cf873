"""The environment of a local cluster's processes: settings as a private file, Ray on the loopback device, Serve behind HAProxy."""

import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, SecretStr

from runtime import failpoints
from runtime.settings import Settings

MARK = "AGENTIC_PLATFORM_ID"
"""Every process of one platform carries its id under this name in its environment: so it can be found, and no other one is touched."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of one cluster, all free when they were chosen."""

    gcs: int
    dashboard: int
    agent: int
    client: int
    haproxy_metrics: int
    haproxy_stats: int
    fallback: int
    fallback_grpc: int
    replicas: int
    """The first of a range for the replicas' own HTTP servers."""
    replicas_grpc: int


REPLICA_PORTS = 20
"""More replicas than one machine has use for."""


@dataclass(frozen=True, slots=True)
class Files:
    """What a platform's processes share: its id, the settings file, the token file, and the folder of sockets and logs."""

    platform: str
    config: Path
    token: Path
    folder: Path


def settings_document(settings: Settings) -> dict[str, Any]:
    """All settings as a YAML document that `AGENTIC_CONFIG` can name; paths are absolute, secrets in the clear."""
    document: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json")
        if isinstance(value, dict):
            value = {key: part.model_dump(mode="json", exclude_defaults=True) if isinstance(part, BaseModel) else part for key, part in value.items()}
        document[name] = str(value.absolute()) if isinstance(value, Path) else value
    return {name: value for name, value in document.items() if value is not None}


def write_private(path: Path, text: str) -> None:
    """Replace the file; only its owner can read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what names settings or another cluster: the settings file says it all."""
    names = Settings.variables()
    return {
        name: value
        for name, value in environment.items()
        if name not in names
        and (name == failpoints.VARIABLE or not name.startswith("AGENTIC_"))
        and name not in {"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"}
    }


def cluster_environment(settings: Settings, files: Files, ports: Ports) -> dict[str, str]:
    """What every process of this cluster sees. Values the caller has set (draining period, log level) win."""
    here = os.pathsep.join(part for part in (os.getcwd(), os.environ.get("PYTHONPATH")) if part)
    haproxy = files.folder / "h"
    serve = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Each client that follows a run holds a connection; two threads are plenty on loopback.
        "RAY_SERVE_HAPROXY_MAXCONN": str(_connections()),
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.replicas),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports.replicas + REPLICA_PORTS - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports.replicas_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ports.replicas_grpc + REPLICA_PORTS - 1),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        # Five seconds, Serve's own patience, are not enough for a process to start while the machine does other things: `up` then failed.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
        # Three looks have to fail before a dead HAProxy is replaced: at ten seconds each nobody got through for half a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.2",
        # The default today, and it must stay: whatever has reached a replica is never sent again, or a start without a key would happen twice.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure",
        "RAY_SERVE_LOG_ENCODING": "JSON" if settings.log_format == "json" else "TEXT",
    }
    ray = {
        "RAY_ADDRESS": f"127.0.0.1:{ports.gcs}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(files.token),
        # Named after other systems, but what it does is this: every Ray process binds to 127.0.0.1 instead of all interfaces.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        # Ray starts workers at nice 15: whatever else runs on the machine would starve the owners until their leases run out.
        "RAY_worker_niceness": "0",
    }
    base = inherited(os.environ)
    # Entrypoints of jobs say `python`: it has to be the one that can import this.
    path = os.pathsep.join((str(Path(sys.executable).parent), base.get("PATH", os.defpath)))
    defaults = {name: base.get(name, value) for name, value in serve.items()}
    return {**base, **defaults, **ray, MARK: files.platform, "AGENTIC_CONFIG": str(files.config), "PYTHONPATH": here, "PATH": path}


def _connections() -> int:
    """Connections HAProxy may have open: it needs more than two file descriptors for each, and refuses to start without them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 10**6 if most == resource.RLIM_INFINITY else most
    return max(500, min(20_000, (files - 1000) // 3))


def settings_file(settings: Settings, path: Path) -> None:
    """Write the settings for the cluster's processes."""
    write_private(path, yaml.safe_dump(settings_document(settings)))
