"""Free ports on this machine. What a person looks for gets its usual port when nobody has it; everything else gets one drawn at random.

Drawn, not counted up: two platforms that start in the same minute would otherwise choose the same ones before either of them listens.
"""

import secrets
import socket

from actors.environment import REPLICA_PORTS, Ports

LOWEST, HIGHEST = 20_000, 32_000
"""Below the range the system takes for outgoing connections."""
TRIES = 1_000


def is_free(port: int, *, at_once: bool = False) -> bool:
    """Whether nothing listens on this port, on any interface.

    `at_once`: also nobody did a minute ago. Ray's servers, unlike HAProxy, cannot bind while old connections linger.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0 if at_once else 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def draw(count: int = 1) -> int:
    """The first of `count` free ports in a row. Raises OSError when none were found."""
    for _ in range(TRIES):
        first = LOWEST + secrets.randbelow(HIGHEST - LOWEST - count)
        if all(is_free(first + offset, at_once=True) for offset in range(count)):
            return first
    raise OSError(f"no {count} free ports in a row between {LOWEST} and {HIGHEST}")


def choose_ports() -> Ports:
    """Ports for one more cluster on this machine."""
    return Ports(
        gcs=draw(),
        dashboard=8265 if is_free(8265, at_once=True) else draw(),
        agent=draw(),
        client=draw(),
        haproxy_metrics=draw(),
        haproxy_stats=draw(),
        fallback=draw(),
        fallback_grpc=draw(),
        replicas=draw(REPLICA_PORTS),
        replicas_grpc=draw(REPLICA_PORTS),
    )
