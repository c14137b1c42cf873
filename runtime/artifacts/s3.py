"""Artifacts in an S3 bucket, keyed like the folder: `ab/cd/<sha256>`. Written once, never overwritten, checked by the server."""

import asyncio
import base64
import hashlib
import tempfile
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runtime.artifacts.aside import DIGEST, LOOKS, SetAside, Stored, parse_aside
from runtime.artifacts.local import CHUNK, check_limit
from runtime.artifacts.protocol import ArtifactStore
from runtime.errors import ArtifactMissing, StoreUnavailable
from runtime.failpoints import reach

THREADS = 16
SPOOL_BYTES = 8 * 2**20
"""A stream up to this size is gathered in memory before it is sent, a longer one in a temporary file: its hash is its key."""

ASIDE = "removed/"
"""Below it lies what was set aside. Comes after every hash in the bucket's order."""

T = TypeVar("T")


class S3Artifacts(ArtifactStore):
    """A bucket of AWS or of anything that speaks its protocol. Credentials come from the usual places of the AWS SDK."""

    def __init__(self, bucket: str, *, endpoint: str | None = None) -> None:
        self._bucket = bucket
        # Presigned URLs and newer regions want s3v4; the pool has a connection for each thread.
        config = Config(
            signature_version="s3v4", max_pool_connections=THREADS, connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4}
        )
        self._client = boto3.client("s3", endpoint_url=endpoint, config=config)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    async def put(self, data: bytes | AsyncIterable[bytes], *, limit: int | None = None) -> tuple[str, int]:
        if isinstance(data, bytes):
            check_limit(len(data), limit)
            digest = await self._in_thread(_sha256, data)
            await self._in_thread(self._put, digest, data)
            return digest, len(data)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            hasher, size = hashlib.sha256(), 0
            async for chunk in data:
                size += len(chunk)
                check_limit(size, limit)
                hasher.update(chunk)
                await self._in_thread(spool.write, chunk)
            spool.seek(0)
            await self._in_thread(self._put, hasher.hexdigest(), spool)
        return hasher.hexdigest(), size

    async def get(self, digest: str) -> bytes:
        data = await self._in_thread(self._read, digest)
        if await self._in_thread(_sha256, data) != digest:
            raise ArtifactMissing(f"artifact {digest} cannot be read: its content has changed in the bucket")
        return data

    async def stream(self, digest: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        size = await self.size(digest)
        if size is None:
            raise ArtifactMissing(f"artifact {digest[:64]} is not there")
        stop = size if end is None else min(end, size)
        if start >= stop:
            return
        body = (await self._in_thread(partial(self._find, self._client.get_object, digest, Range=f"bytes={start}-{stop - 1}")))["Body"]
        hasher = hashlib.sha256() if stop - start == size else None
        try:
            while chunk := await self._in_thread(body.read, CHUNK):
                if hasher:
                    hasher.update(chunk)
                yield chunk
        finally:
            body.close()
        if hasher and hasher.hexdigest() != digest:
            raise ArtifactMissing(f"artifact {digest} cannot be read: its content has changed in the bucket")

    async def size(self, digest: str) -> int | None:
        try:
            found: int = (await self._in_thread(self._find, self._client.head_object, digest))["ContentLength"]
        except ArtifactMissing:
            return None
        return found

    async def stored(self, after: str = "", limit: int = 1000) -> list[Stored]:
        return await self._in_thread(self._list, "", _key(after) if after else "", "g", limit, _stored)

    async def set_aside(self, digest: str, at: int) -> None:
        await self._in_thread(self._move, _key(digest), ASIDE + SetAside(digest, at).name)

    async def aside(self, after: SetAside | None = None, limit: int = 1000) -> list[SetAside]:
        return await self._in_thread(self._list, ASIDE, ASIDE + after.name if after else "", "s", limit, _aside)

    async def put_back(self, item: SetAside) -> None:
        await self._in_thread(self._move, ASIDE + item.name, _key(item.digest))

    async def erase(self, item: SetAside) -> None:
        await self._in_thread(lambda: self._client.delete_object(Bucket=self._bucket, Key=ASIDE + item.name))

    def close(self) -> None:
        """Let the threads end; what they are sending is finished first."""
        self._threads.shutdown(wait=True)
        self._client.close()

    def _read(self, digest: str) -> bytes:
        data: bytes = self._find(self._client.get_object, digest)["Body"].read()
        return data

    def _find(self, ask: Callable[..., Any], digest: str, **more: Any) -> Any:
        """What `ask` says of the content in its place, or where it was set aside. Raises ArtifactMissing."""
        for key in self._places(digest):
            try:
                return ask(Bucket=self._bucket, Key=key, **more)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
        raise ArtifactMissing(f"artifact {digest[:64]} is not there")

    def _places(self, digest: str) -> Iterator[str]:
        """In its place, or set aside; several times, because it may be moved between two looks."""
        for _ in range(LOOKS):
            yield _key(digest)
            listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{ASIDE}{_key(digest)}.")
            yield from (entry["Key"] for entry in listed.get("Contents", ()))

    def _move(self, source: str, target: str) -> None:
        """Copy, then delete: at every moment there is one or the other. Nothing when the source is not there."""
        try:
            self._client.copy_object(Bucket=self._bucket, Key=target, CopySource={"Bucket": self._bucket, "Key": source})
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return
            raise
        self._client.delete_object(Bucket=self._bucket, Key=source)

    def _list(self, prefix: str, after: str, end: str, limit: int, read: Callable[[Any], T | None]) -> list[T]:
        """Up to `limit` of our objects after the key `after` and before `end`; what others keep in the bucket is left out."""
        found: list[T] = []
        while len(found) < limit:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after, MaxKeys=min(1000, limit)).get("Contents", [])
            found += [item for item in map(read, page) if item is not None]
            if not page or page[-1]["Key"] >= end:
                break
            after = page[-1]["Key"]
        return found[:limit]

    def _put(self, digest: str, body: bytes | IO[bytes]) -> None:
        for pause in (0.1, 0.2, 0.4, 0.8, None):
            if self._put_once(digest, body):
                reach("artifact.after_put")
                return
            if pause is None:
                raise StoreUnavailable("another writer keeps storing the same artifact", retry_after=5)
            time.sleep(pause)  # in a thread of our own
            if not isinstance(body, bytes):
                body.seek(0)

    def _put_once(self, digest: str, body: bytes | IO[bytes]) -> bool:
        """False when another writer is storing the same content at this moment: it may still fail, so ask again."""
        checksum = base64.b64encode(bytes.fromhex(digest)).decode()
        try:
            self._client.put_object(Bucket=self._bucket, Key=_key(digest), Body=body, IfNoneMatch="*", ChecksumSHA256=checksum)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status not in (409, 412):
                raise
            return status == 412  # it is there already
        return True

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        with _translated():
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args))


def _key(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ArtifactMissing("this is not the name of an artifact")
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


def _stored(entry: Any) -> Stored | None:
    digest = entry["Key"].rpartition("/")[2]
    if not DIGEST.fullmatch(digest) or entry["Key"] != _key(digest):
        return None
    return Stored(digest, entry["Size"], round(entry["LastModified"].timestamp() * 1000))


def _aside(entry: Any) -> SetAside | None:
    return parse_aside(entry["Key"])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise ArtifactMissing("the artifact is not there") from error
        raise StoreUnavailable(f"the artifact store answered {status}", retry_after=5) from error
    except (BotoCoreError, OSError) as error:
        raise StoreUnavailable("the artifact store does not answer", retry_after=5) from error
