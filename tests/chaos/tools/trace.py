"""Reads what strace has recorded of a server, and asks of every acknowledgement: was what it speaks of on disk when it was sent?

The database is SQLite in WAL mode. A commit is a series of writes to the WAL followed by fdatasync, all by one thread; so an answer is sound
when a write that holds its run's id came in after its request, and the same thread's next fdatasync was done before the answer's first byte.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SYSCALLS = ("pwrite64", "fdatasync", "fsync", "recvfrom", "read", "sendto", "sendmsg", "write", "writev")
WRITES = frozenset({"pwrite64"})
SYNCS = frozenset({"fdatasync", "fsync"})
RECEIVES = frozenset({"recvfrom", "read"})
SENDS = frozenset({"sendto", "sendmsg", "write", "writev"})

_LINE = re.compile(r"(\d+)\s+\d+\.\d+ (.*)")
_CALL = re.compile(r"(\w+)\(\d+<([A-Za-z0-9]+:\[.*?\]|[^>]*)>(?:, (.*))?", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>")
_RUN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_REQUEST = re.compile(r'"((?:GET|POST|PUT|DELETE|PATCH) [^ ]+) HTTP')
_STATUS = re.compile(r"HTTP/1\.1 (\d{3})")


@dataclass
class Call:
    """One system call. `entered` and `done` are places in the order of events; `done` is None when it never returned."""

    thread: str
    name: str
    target: str
    """The descriptor as strace names it: a path, or `TCP:[…]`."""
    text: str
    entered: int
    done: int | None = None


@dataclass
class Exchange:
    """One request on one connection, and its answer."""

    request: str
    asked: int
    status: int = 0
    answered: int = 0
    text: str = ""

    @property
    def acknowledges(self) -> bool:
        """Whether the answer says that something was accepted: a 2xx to what is no plain reading."""
        return 200 <= self.status < 300 and not self.request.startswith("GET")

    @property
    def run_id(self) -> str | None:
        """The run it speaks of."""
        found = _RUN.search(self.text) or _RUN.search(self.request)
        return found[0] if found else None


@dataclass
class Verdict:
    """What was looked at, and what was wrong."""

    acknowledgements: int = 0
    syncs: int = 0
    violations: list[str] = field(default_factory=list)


def calls(lines: Iterable[str]) -> list[Call]:
    """The system calls of a recording in the order they were entered."""
    found: list[Call] = []
    open_calls: dict[tuple[str, str], Call] = {}
    for place, line in enumerate(lines):
        match = _LINE.match(line)
        if match is None:
            continue
        thread, rest = match.groups()
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            call = open_calls.pop((thread, resumed[1]), None)
            if call is not None:
                call.done, call.text = place, call.text + rest[resumed.end() :]
            continue
        started = _CALL.match(rest)
        if started is None:
            continue
        call = Call(thread, started[1], started[2], started[3] or "", place)
        found.append(call)
        if rest.rstrip().endswith("<unfinished ...>"):
            open_calls[thread, call.name] = call
        else:
            call.done = place
    return found


def exchanges(recorded: Iterable[Call]) -> Iterator[Exchange]:
    """What was asked and answered on every TCP connection."""
    current: dict[str, Exchange] = {}
    for call in recorded:
        if not call.target.startswith("TCP"):
            continue
        if call.name in RECEIVES:
            asked = _REQUEST.search(call.text)
            if asked is not None and call.done is not None:
                if call.target in current:
                    yield current.pop(call.target)
                current[call.target] = Exchange(asked[1], call.done)
        elif call.name in SENDS and call.target in current:
            exchange, status = current[call.target], _STATUS.search(call.text)
            if status is not None and not exchange.status:
                exchange.status, exchange.answered = int(status[1]), call.entered
            exchange.text += call.text
    yield from current.values()


def judge(lines: Iterable[str], wal: str) -> Verdict:
    """Every acknowledgement of a recording. `wal`: how the path of the write-ahead log ends, such as `workflows.db-wal`."""
    recorded = calls(lines)
    writes: defaultdict[str, list[Call]] = defaultdict(list)
    syncs: defaultdict[str, list[Call]] = defaultdict(list)
    for call in recorded:
        if call.name in WRITES and call.target.endswith(wal):
            for found in set(_RUN.findall(call.text)):
                writes[found].append(call)
        elif call.name in SYNCS and call.target.endswith(wal):
            syncs[call.thread].append(call)
    verdict = Verdict(syncs=sum(map(len, syncs.values())))
    for exchange in exchanges(recorded):
        run_id = exchange.run_id
        if not exchange.acknowledges or run_id is None:
            continue
        verdict.acknowledgements += 1
        written = [call for call in writes[run_id] if exchange.asked < call.entered < exchange.answered]
        if not written:
            verdict.violations.append(f"{exchange.request}: {exchange.status} for run {run_id}, of which nothing had been written")
        elif not any(_synced(call, syncs[call.thread], exchange.answered) for call in written):
            verdict.violations.append(f"{exchange.request}: {exchange.status} for run {run_id} before its commit was synced")
    return verdict


def _synced(write: Call, syncs: list[Call], before: int) -> bool:
    """Whether the commit that this write belongs to was on disk by then. `syncs`: of the same thread, in order."""
    place = bisect_right(syncs, write.entered, key=lambda sync: sync.entered)
    if place == len(syncs):
        return False
    done = syncs[place].done
    return done is not None and done < before
