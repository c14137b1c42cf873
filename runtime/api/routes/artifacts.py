"""Artifacts: list and download. A browser never renders what a workflow wrote."""

import re
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from runtime.api import answers
from runtime.api.documented import documented
from runtime.api.keys import READ
from runtime.api.paging import PageSize, PageToken, decode, page
from runtime.api.problems import RangeInvalid
from runtime.api.responses import json
from runtime.api.services import caller, gateway
from runtime.gateway import views
from runtime.store.catalog_protocol import ArtifactRow

router = APIRouter(tags=["artifacts"])

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_MEDIA_TYPE = re.compile(r"[a-zA-Z0-9!#$&^_.+-]{1,100}/[a-zA-Z0-9!#$&^_.+-]{1,100}(;\s*charset=[a-zA-Z0-9-]{1,30})?")
_BYTES = "application/octet-stream"
_ANY = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_SAFE = {"Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'", "Accept-Ranges": "bytes"}


@router.get("/v1/runs/{run_id}/artifacts", **documented({200: answers.Artifacts}, 404))
async def artifacts(request: Request, run_id: str, page_size: PageSize = 50, page_token: PageToken = None) -> Response:
    """The run's named artifacts."""
    rows = await gateway(request).artifact_list(caller(request, READ).tenant, run_id, after=decode(page_token), limit=page_size)
    cursor = rows[-1].name if rows else None
    return json(page("artifacts", [views.artifact(row) for row in rows], full=len(rows) == page_size, cursor=cursor))


@router.get("/v1/runs/{run_id}/artifacts/{name:path}", **documented({200: _ANY, 206: _ANY, 304: None}, 404, 410, 416, headers=("Range",)))
async def artifact(request: Request, run_id: str, name: str) -> Response:
    """One artifact as a download, whole or one range of it."""
    service = gateway(request)
    row = await service.artifact(caller(request, READ).tenant, run_id, name)
    tag = f'"{row.digest}"'
    headers = {**_SAFE, "ETag": tag, "Content-Disposition": disposition(row.name), "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    await service.present(row.digest)
    wanted = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
    start, end = span(wanted, row.size)
    headers["Content-Length"] = str(end - start)
    if wanted is not None and _RANGE.fullmatch(wanted):
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{row.size}"
        return StreamingResponse(service.content(row.digest, start=start, end=end), 206, headers, _media_type(row))
    return StreamingResponse(service.content(row.digest), 200, headers, _media_type(row))


def span(header: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last; the whole for anything but one range of bytes. Raises RangeInvalid."""
    match = _RANGE.fullmatch(header or "")
    if not match:
        return 0, size
    first, last = match.groups()
    if first == "":
        start, end = max(size - int(last or 0), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise RangeInvalid(f"the artifact has {size} bytes")
    return start, end


def disposition(name: str) -> str:
    """Download under this name (RFC 6266), never open in the page."""
    leaf = name.rpartition("/")[2] or "artifact"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", leaf)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(leaf, safe='')}"


def _media_type(row: ArtifactRow) -> str:
    return row.media_type if _MEDIA_TYPE.fullmatch(row.media_type) else _BYTES
