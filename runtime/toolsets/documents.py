"""OpenAPI documents: from files and URLs, bounded in size and time, read once for each content."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from pydantic_core import from_json, to_json

from runtime.agents.tools import ToolRefused
from runtime.definition.foreign import Refused
from runtime.definition.jsonvalue import check_json
from runtime.definition.openapi import Operation, check_document, operations_of
from runtime.definition.yaml import read
from runtime.errors import DefinitionInvalid, StepFailed
from runtime.lru import Lru
from runtime.toolsets.network import TIMEOUTS, Network

MAX_DOCUMENT = 4 * 2**20
"""Bytes; of YAML, which takes longer to read, 1 MiB."""
FETCH_SECONDS = 20.0
FRESH_SECONDS = 60.0
"""A document is looked at anew when it was fetched longer ago than this."""
MAX_KEPT = 64


@dataclass(frozen=True, slots=True)
class Document:
    """A document, by the hash of its content."""

    digest: str
    content: dict[str, Any]


class Documents:
    """The documents of one process."""

    def __init__(self) -> None:
        self._fetched: Lru[str, tuple[float, Document]] = Lru(MAX_KEPT)
        self._loading: dict[str, asyncio.Task[Document]] = {}
        self._read: Lru[str, Document] = Lru(MAX_KEPT)
        self._operations: Lru[tuple[Any, ...], list[Operation]] = Lru(MAX_KEPT)

    def given(self, content: dict[str, Any]) -> Document:
        """A document that stands in a definition."""
        return Document(hashlib.sha256(to_json(content)).hexdigest(), content)

    async def at(self, location: str, network: Network, *, files: bool) -> Document:
        """The document at a URL, or in a file if `files`. Raises StepFailed `tool_unavailable`, `tool_invalid`, `url_invalid`, `outbound_refused`."""
        known = self._fetched.get(location)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        remote = location.startswith(("https://", "http://"))
        if not remote and not files:
            raise StepFailed("tool_not_found", f"there is no API '{location[:100]}'", retryable=False)
        loading = self._loading.get(location)
        if loading is None:  # all items of a map ask at once
            loading = self._loading[location] = asyncio.create_task(self._load(location, network if remote else None))
            loading.add_done_callback(partial(self._loaded, location))
        return await asyncio.shield(loading)

    async def _load(self, location: str, network: Network | None) -> Document:
        data = await asyncio.to_thread(_file, Path(location)) if network is None else await _fetched(location, network)
        digest = hashlib.sha256(data).hexdigest()
        document = self._read.get(digest) or Document(digest, await asyncio.to_thread(_parsed, data))
        self._read.put(digest, document)
        self._fetched.put(location, (time.monotonic() + FRESH_SECONDS, document))
        return document

    def _loaded(self, location: str, loading: asyncio.Task[Document]) -> None:
        del self._loading[location]
        if not loading.cancelled():
            loading.exception()  # whoever waited for it may have been canceled

    async def operations(self, document: Document, wanted: Sequence[str], allowed: Sequence[str], without: frozenset[str]) -> list[Operation]:
        """The operations of a document, built once. Raises StepFailed `tool_invalid`."""
        key = (document.digest, tuple(wanted), tuple(allowed), without)
        if (known := self._operations.get(key)) is not None:
            return known
        try:
            built = await asyncio.to_thread(operations_of, document.content, wanted, allowed=allowed, without=without)
        except Refused as reason:
            raise StepFailed("tool_invalid", str(reason), retryable=False) from reason
        self._operations.put(key, built)
        return built


async def _fetched(url: str, network: Network) -> bytes:
    headers = {"user-agent": "agentic-workflows", "accept": "application/json, application/yaml, */*;q=0.5"}
    request = httpx2.Request("GET", network.checked(url), headers=headers, extensions={"timeout": TIMEOUTS})
    host = request.url.host
    try:
        answer = await network.exchange(request, limit=MAX_DOCUMENT, seconds=FETCH_SECONDS)
    except ToolRefused as reason:
        raise StepFailed("tool_invalid", f"the document at {host}: {reason}", retryable=False) from reason
    if answer.status != 200:
        again = answer.status >= 500 or answer.status in (408, 425, 429)
        raise StepFailed("tool_unavailable", f"{host} answered {answer.status} instead of an OpenAPI document", retryable=again)
    return answer.content


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise StepFailed("tool_unavailable", f"the OpenAPI document {path.name} cannot be read: {type(error).__name__}", retryable=False) from error
    if len(data) > MAX_DOCUMENT:
        raise StepFailed("tool_invalid", f"the OpenAPI document {path.name} has more than {MAX_DOCUMENT} bytes", retryable=False)
    return data


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found: Any = from_json(data, allow_inf_nan=False) if data.lstrip()[:1] == b"{" else read(data)[0]
        if problems := check_json(found):
            raise Refused(problems[0].detail)
        check_document(found)
    except (ValueError, DefinitionInvalid) as error:
        raise StepFailed("tool_invalid", f"the OpenAPI document cannot be read: {error}"[:500], retryable=False) from error
    document: dict[str, Any] = found
    return document
