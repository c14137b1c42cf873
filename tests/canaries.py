"""Canaries: secrets that are planted everywhere a secret may be, and a scanner that finds them in whatever form they come out.

canaries = Canaries()
key = canaries.new("the operator's OpenAI key")
…
leaks = canaries.in_bytes(data, "the log") + canaries.in_folder(home) + canaries.in_processes(pids)
assert not leaks, leaks

What is searched for: the secret itself, its halves, reversed, base64 (of both alphabets, at each of the three places it may begin at), hex, URL-encoded,
JSON- and HTML-escaped. What is searched: bytes, files (unpacked when they are compressed), folders, all rows of a database, environments and
arguments of processes. A canary has characters that are written in other ways in URLs, JSON and HTML, as far as its place allows them.
"""

import base64
import gzip
import html
import json
import os
import secrets
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import asyncpg

LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
AWKWARD = '"<&%\\/+='
"""Printable ASCII that JSON, HTML and URLs write in other ways."""
LEAST = 10
"""Bytes of a form: what is shorter might be there by chance."""


@dataclass(frozen=True)
class Leak:
    """A secret that was found: which one, in which form, where."""

    secret: str
    form: str
    place: str
    around: bytes = field(default=b"", compare=False)
    """What stands before and after it: canaries are nobody's, and whoever finds one wants to know how it came there."""

    def __repr__(self) -> str:
        return f"{self.secret} ({self.form}) in {self.place}: {self.around!r}"


class Canaries:
    """The planted secrets."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._forms: dict[bytes, tuple[str, str]] = {}

    def new(self, name: str, *, prefix: str = "", awkward: bool = True, length: int = 40) -> str:
        """Make a secret and plant it under this name. `awkward`: with characters that have to be escaped."""
        body = "".join(secrets.choice(LETTERS) for _ in range(length))
        middle = length // 2
        return self.plant(name, prefix + (f"{body[:middle]}{AWKWARD}{body[middle:]}" if awkward else body))

    def plant(self, name: str, secret: str) -> str:
        """A secret that somebody else has made."""
        assert len(secret) >= 2 * LEAST, name
        self._names[name] = secret
        for form, written in forms(secret):
            if len(written) >= LEAST:
                self._forms.setdefault(written, (name, form))
        return secret

    @property
    def planted(self) -> dict[str, str]:
        """By name."""
        return dict(self._names)

    def in_bytes(self, data: bytes, place: str) -> list[Leak]:
        """What `data` gives away."""
        return [Leak(*found, place, _around(data, written)) for written, found in self._forms.items() if written in data]

    def in_text(self, text: str, place: str) -> list[Leak]:
        """Likewise."""
        return self.in_bytes(text.encode("utf-8", "surrogatepass"), place)

    def in_file(self, path: Path) -> list[Leak]:
        """The file as it is, and unpacked when it is packed."""
        try:
            data = path.read_bytes()
        except (FileNotFoundError, OSError):
            return []  # a socket, or gone by now
        return self.in_bytes(data, str(path)) + [leak for unpacked in _unpacked(data) for leak in self.in_bytes(unpacked, f"{path} (unpacked)")]

    def in_folder(self, folder: Path, *, but: Collection[Path] = ()) -> list[Leak]:
        """All files below, but for those that are there to hold a secret; their names too."""
        found = []
        for path in sorted(folder.rglob("*")):
            found += self.in_text(str(path.relative_to(folder)), f"the name {path}")
            if path.is_file() and not path.is_symlink() and path not in but:
                found += self.in_file(path)
        return found

    def in_process(self, pid: int) -> list[Leak]:
        """What anybody of the same user can read of a process: its environment and its arguments."""
        found = []
        for what in ("environ", "cmdline"):
            try:
                data = Path(f"/proc/{pid}/{what}").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += self.in_bytes(data, f"{what} of process {pid}")
        return found

    def in_processes(self, pids: Iterable[int]) -> list[Leak]:
        """Likewise, of many."""
        return [leak for pid in pids for leak in self.in_process(pid)]

    async def in_database(self, url: str) -> list[Leak]:
        """All rows of all tables, each value as it is; of SQLite also its files, where deleted rows lie about."""
        if url.startswith("sqlite:///"):
            path = Path(url.removeprefix("sqlite:///"))
            return _sqlite(self, path) + [leak for part in path.parent.glob(f"{path.name}*") for leak in self.in_file(part)]
        return await _postgres(self, url)


def forms(secret: str) -> Iterator[tuple[str, bytes]]:
    """(what it is called, how it is written) of every form a secret is searched in."""
    data = secret.encode()
    yield "plain", data
    yield "first half", data[: len(data) // 2]
    yield "second half", data[len(data) // 2 :]
    yield "reversed", data[::-1]
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    for name, written in (("URL", quote(secret, safe="")), ("URL", quote_plus(secret)), ("HTML", html.escape(secret)), ("repr", repr(secret)[1:-1])):
        yield name, written.encode()
    yield "JSON", json.dumps(secret)[1:-1].encode()
    yield "JSON twice", json.dumps(json.dumps(secret)[1:-1])[1:-1].encode()
    yield "JSON with escaped slashes", json.dumps(secret)[1:-1].replace("/", "\\/").encode()
    for offset in range(3):
        core = _core(data, offset)
        yield f"base64 at {offset}", core
        yield f"base64url at {offset}", core.replace(b"+", b"-").replace(b"/", b"_")
        yield f"base64 at {offset} in JSON", core.replace(b"/", b"\\/")


def _around(data: bytes, written: bytes) -> bytes:
    at = data.index(written)
    return data[max(0, at - 100) : at + len(written) + 40]


def _core(data: bytes, offset: int) -> bytes:
    """What of the base64 of any text that holds `data` at such an offset does not depend on what stands around it."""
    return base64.b64encode(bytes(offset) + data)[(0, 2, 3)[offset] : (offset + len(data)) * 8 // 6]


def _unpacked(data: bytes) -> Iterator[bytes]:
    try:
        if data[:2] == b"\x1f\x8b":
            yield gzip.decompress(data)
        elif data[:1] == b"\x78":
            yield zlib.decompress(data)
    except (OSError, EOFError, zlib.error):
        return  # it only looked like it


def _sqlite(canaries: Canaries, path: Path) -> list[Leak]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [leak for table in tables for row in connection.execute(f'SELECT * FROM "{table}"') for leak in _in_row(canaries, table, row)]
    finally:
        connection.close()


async def _postgres(canaries: Canaries, url: str) -> list[Leak]:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://"))
    try:
        tables = [row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return [leak for table in tables for row in await connection.fetch(f'SELECT * FROM "{table}"') for leak in _in_row(canaries, table, tuple(row))]
    finally:
        await connection.close()


def _in_row(canaries: Canaries, table: str, row: Sequence[object]) -> list[Leak]:
    return [leak for value in row for leak in canaries.in_bytes(value if isinstance(value, bytes) else str(value).encode(), f"table {table}")]


def children(pid: int | None = None) -> list[int]:
    """Processes that this one has started, and those they have started."""
    import psutil

    return [child.pid for child in psutil.Process(os.getpid() if pid is None else pid).children(recursive=True)]
