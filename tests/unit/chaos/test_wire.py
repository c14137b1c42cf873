"""The proxy knows a COMMIT when it sees one, however it is cut into packets."""

import pytest

from tests.chaos.tools.wire import STARTUP, Client, ends_commit, frames

SSL = (8).to_bytes(4) + (80877103).to_bytes(4)
HELLO = (13).to_bytes(4) + STARTUP.to_bytes(4) + b"user\0"


def message(kind: bytes, *texts: str) -> bytes:
    body = b"".join(text.encode() + b"\0" for text in texts)
    return kind + (len(body) + 4).to_bytes(4) + body


def commits(stream: bytes, size: int) -> list[bytes]:
    client, found, whole = Client(), [], b""
    for start in range(0, len(stream), size):
        for one, commit in client.feed(stream[start : start + size]):
            whole += one
            if commit:
                found.append(one)
    assert whole == stream, "nothing is added or lost"
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_simple_query(size: int):
    stream = SSL + HELLO + message(b"Q", "SELECT 'COMMIT;'") + message(b"Q", "BEGIN;") + message(b"Q", " commit;") + message(b"X")
    assert commits(stream, size) == [message(b"Q", " commit;")]


@pytest.mark.parametrize("size", [1, 1000])
def test_a_prepared_statement(size: int):
    stream = HELLO + message(b"P", "s1", "COMMIT") + message(b"P", "s2", "SELECT 1")
    stream += message(b"B", "p1", "s1") + message(b"B", "p2", "s2") + message(b"E", "p2") + message(b"E", "p1")
    assert commits(stream, size) == [message(b"E", "p1")]
    assert commits(stream + message(b"P", "s1", "SELECT 2") + message(b"B", "p1", "s1") + message(b"E", "p1"), size) == [message(b"E", "p1")]


def test_answers():
    buffer = bytearray(message(b"N", "a notice") + message(b"C", "COMMIT") + message(b"Z")[:3])
    assert [ends_commit(one) for one in frames(buffer)] == [False, True]
    assert buffer == message(b"Z")[:3]
    assert ends_commit(message(b"C", "ROLLBACK"))
    assert not ends_commit(message(b"C", "INSERT 0 1"))
