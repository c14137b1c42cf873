"""Every artifact store the product has, each under the same suite."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from runtime.artifacts.local import LocalArtifacts
from runtime.artifacts.protocol import ArtifactStore
from runtime.artifacts.s3 import S3Artifacts


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of a moto server of our own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _until_it_answers(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def _until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        assert process.poll() is None, "moto ended"
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)  # polling another process
        else:
            return
    raise AssertionError("moto does not answer")


@pytest.fixture(params=["local", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ArtifactStore, Callable[[str, bytes], None]]]:
    """A store, and a way to damage what it holds behind its back."""
    if request.param == "local":
        local = LocalArtifacts(tmp_path / "artifacts")
        yield local, lambda digest, data: (tmp_path / "artifacts" / digest[:2] / digest[2:4] / digest).write_bytes(data)
        local.close()
        return
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    url = request.getfixturevalue("s3_server")
    client = boto3.client("s3", endpoint_url=url)
    bucket = f"bucket-{abs(hash(request.node.name))}"
    client.create_bucket(Bucket=bucket)
    store = S3Artifacts(bucket, endpoint=url)
    yield store, lambda digest, data: client.put_object(Bucket=bucket, Key=f"{digest[:2]}/{digest[2:4]}/{digest}", Body=data)
    store.close()
    client.close()


@pytest.fixture
def store(opened: tuple[ArtifactStore, Callable[[str, bytes], None]]) -> ArtifactStore:
    return opened[0]


@pytest.fixture
def damage(opened: tuple[ArtifactStore, Callable[[str, bytes], None]]) -> Callable[[str, bytes], None]:
    return opened[1]
