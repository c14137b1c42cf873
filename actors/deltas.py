"""Deltas over Ray: an API replica asks each AgentActor for what is said in the runs it follows, so that nobody stands in between."""

import pickle
from collections.abc import Sequence

from ray.exceptions import RayError

from actors.names import forget, handle
from runtime.deltas.links import PeerLostError
from runtime.deltas.subscriptions import Batch


class AgentPeer:
    """One AgentActor, as `runtime.deltas.links.Peer`."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def follow(self, subscriber: str, add: Sequence[str], drop: Sequence[str]) -> bool:
        """The runs this process wants to hear of from now on, and those it does not any more."""
        try:
            known: bool = await handle(self._name).follow_deltas.remote(subscriber, list(add), list(drop))
        except (RayError, ValueError) as failure:
            raise self._lost(failure) from failure
        return known

    async def poll(self, subscriber: str) -> Batch:
        """What has come since the last time, as soon as there is something."""
        try:
            return decode(await handle(self._name).deltas.remote(subscriber))
        except (RayError, ValueError) as failure:
            raise self._lost(failure) from failure

    def _lost(self, failure: Exception) -> PeerLostError:
        forget(self._name)
        return PeerLostError(type(failure).__name__)


def encode(batch: Batch) -> bytes:
    """A batch, for the other side; Ray's own pickler is slower."""
    return pickle.dumps(batch, protocol=5)


def decode(data: bytes) -> Batch:
    """The batch an AgentActor gave."""
    found: Batch = pickle.loads(data)  # noqa: S301 - from a process of this cluster, which runs our code anyway
    return found
