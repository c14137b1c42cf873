"""Just enough of PostgreSQL's wire protocol to know where one message ends and whether it carries a COMMIT.

Clients send COMMIT as a simple query (asyncpg and SQLAlchemy's dialect do) or as a prepared statement (parse, bind, execute); both are recognised.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

STARTUP = 196608
"""The protocol version in the message that begins a session; what comes before it (TLS, cancel) has another code and no type byte."""


def frames(buffer: bytearray, *, typed: bool = True) -> Iterator[bytes]:
    """Take whole messages off the front of `buffer`, each with its type byte and length. The rest of an unfinished one stays."""
    start = 1 if typed else 0
    while len(buffer) >= start + 4:
        end = start + int.from_bytes(buffer[start : start + 4])
        if len(buffer) < end:
            return
        message = bytes(buffer[:end])
        del buffer[:end]
        yield message


def text(message: bytes, place: int = 0) -> str:
    """The NUL-terminated text number `place` of a message's body."""
    return message[5:].split(b"\0")[place].decode("utf-8", "replace")


def is_commit(sql: str) -> bool:
    return sql.lstrip().upper().startswith(("COMMIT", "END"))


@dataclass
class Client:
    """What a client has sent so far, as far as commits are concerned."""

    buffer: bytearray = field(default_factory=bytearray)
    started: bool = False
    statements: set[str] = field(default_factory=set)
    portals: set[str] = field(default_factory=set)

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Whole messages, and whether each one is what makes the server commit."""
        self.buffer += data
        while not self.started:
            message = next(frames(self.buffer, typed=False), None)
            if message is None:
                return
            self.started = int.from_bytes(message[4:8]) == STARTUP
            yield message, False
        for message in frames(self.buffer):
            yield message, self._commits(message)

    def _commits(self, message: bytes) -> bool:
        kind = message[:1]
        if kind == b"Q":
            return is_commit(text(message))
        if kind == b"P":
            (self.statements.add if is_commit(text(message, 1)) else self.statements.discard)(text(message))
        elif kind == b"B":
            (self.portals.add if text(message, 1) in self.statements else self.portals.discard)(text(message))
        return kind == b"E" and text(message) in self.portals


def ends_commit(message: bytes) -> bool:
    """Whether a server's message is its answer to COMMIT: done (also by a rollback of a spoiled transaction), or refused."""
    return (message[:1] == b"C" and text(message) in {"COMMIT", "ROLLBACK"}) or message[:1] == b"E"
