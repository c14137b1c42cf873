"""Free ports on this machine: the usual one when nobody has it, any other when somebody does."""

import socket

from actors.environment import REPLICA_PORTS, Ports


def is_free(port: int) -> bool:
    """Whether nothing listens on this port, on any interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def choose(usual: int) -> int:
    """`usual` if it is free, else one the system picks."""
    if is_free(usual):
        return usual
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port


def choose_range(usual: int) -> int:
    """The first of REPLICA_PORTS ports of which at least the first ten are free: `usual`, or one a few hundred above."""
    for start in range(usual, usual + 5_000, REPLICA_PORTS + 1):
        if all(is_free(start + offset) for offset in range(10)):
            return start
    return usual


def choose_ports() -> Ports:
    """Ports for one more cluster on this machine."""
    return Ports(
        gcs=choose(6379),
        dashboard=choose(8265),
        agent=choose(52365),
        client=choose(10001),
        haproxy_metrics=choose(9101),
        haproxy_stats=choose(8404),
        fallback=choose(8500),
        fallback_grpc=choose(9500),
        replicas=choose_range(30000),
        replicas_grpc=choose_range(40000),
    )
