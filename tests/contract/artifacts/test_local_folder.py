"""What only a folder can suffer: crashes in the middle, full disks, read-only disks, damage."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.artifacts import local
from runtime.artifacts.local import ABANDONED_SECONDS, LocalArtifacts
from runtime.artifacts.open import open_artifacts
from runtime.errors import ArtifactMissing, ArtifactStoreFull, RequestInvalid, StoreUnavailable
from runtime.settings import Settings

# Stops itself by SIGKILL at the point the test names.
WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from runtime.artifacts import local
point = sys.argv[2]
def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "write":
    async def data():
        yield b"x" * 300_000
        killed()
    content = data()
else:
    content = b"x" * 300_000
    if point == "folder":
        local._sync_folder = killed
    else:
        setattr(os, point, killed)
asyncio.run(local.LocalArtifacts(Path(sys.argv[1])).put(content))
"""


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False, capture_output=True, text=True, timeout=50)


def shell(*words: object) -> int:
    return subprocess.run([str(word) for word in words], check=False, capture_output=True).returncode


def contents(root: Path) -> list[Path]:
    """The visible artifacts."""
    return [path for path in root.rglob("*") if path.is_file() and path.parent.name != "incoming"]


@pytest.mark.parametrize("point", ["write", "fsync", "replace"])
async def test_writer_killed_before_the_end_leaves_nothing_visible(tmp_path, point):
    killed = run_python(WRITER, tmp_path, point)
    assert killed.returncode == -signal.SIGKILL
    assert contents(tmp_path) == []
    assert len(list((tmp_path / "incoming").iterdir())) == 1
    store = LocalArtifacts(tmp_path)
    digest, _ = await store.put(b"x" * 300_000)
    assert await store.get(digest) == b"x" * 300_000
    store.close()


async def test_writer_killed_after_the_rename_leaves_a_whole_file(tmp_path):
    (tmp_path / "incoming").mkdir()
    digest = hashlib.sha256(b"x" * 300_000).hexdigest()
    (tmp_path / digest[:2] / digest[2:4]).mkdir(parents=True)
    killed = run_python(WRITER, tmp_path, "folder")
    assert killed.returncode == -signal.SIGKILL
    store = LocalArtifacts(tmp_path)
    assert await store.get(digest) == b"x" * 300_000
    store.close()


async def test_content_is_on_disk_before_its_name_and_the_name_before_the_answer(tmp_path, monkeypatch):
    order = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle):
        order.append(("sync", "folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file"))
        real_fsync(handle)

    def replace(source, target):
        order.append(("rename", Path(target).name))
        real_replace(source, target)

    monkeypatch.setattr(local.os, "fsync", fsync)
    monkeypatch.setattr(local.os, "replace", replace)
    store = LocalArtifacts(tmp_path)
    digest, _ = await store.put(b"data")
    renamed = order.index(("rename", digest))
    assert order[0] == ("sync", "file")
    assert order.index(("sync", "file")) < renamed
    assert order[-1] == ("sync", "folder")
    order.clear()
    await store.put(b"data")
    assert order == [("sync", "folder")]  # another process may have renamed it a moment ago
    store.close()


FILLER = """
import asyncio, resource, sys
from pathlib import Path
from runtime.artifacts.local import LocalArtifacts
from runtime.errors import ArtifactStoreFull
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
async def pieces():
    for _ in range(30):
        yield b"x" * 10_000
async def main():
    store = LocalArtifacts(Path(sys.argv[1]))
    await store.put(b"small")
    for data in (b"x" * 300_000, pieces()):
        try:
            await store.put(data)
        except ArtifactStoreFull as error:
            assert str(error).startswith("artifact_store_full"), error
            assert sys.argv[1] not in str(error)
        else:
            raise SystemExit("stored all the same")
    await store.put(b"small again")
asyncio.run(main())
"""


async def test_disk_that_takes_no_more_is_said_so_and_leaves_no_half_file(tmp_path):
    done = run_python(FILLER, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert sorted(path.stat().st_size for path in contents(tmp_path)) == [5, 11]
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_full_file_system(tmp_path):
    if shell("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path):
        pytest.skip("this machine does not let us mount")
    try:
        store = LocalArtifacts(tmp_path)
        kept, _ = await store.put(b"k" * 50_000)
        with pytest.raises(ArtifactStoreFull):
            await store.put(b"x" * 300_000)
        assert await store.get(kept) == b"k" * 50_000
        assert list((tmp_path / "incoming").iterdir()) == []
        await store.put(b"y" * 50_000)  # there is room again
        assert shell("mount", "-o", "remount,ro", tmp_path) == 0
        with pytest.raises(ArtifactStoreFull):
            await store.put(b"z")
        assert await store.get(kept) == b"k" * 50_000
        store.close()
    finally:
        assert shell("umount", "-l", tmp_path) == 0


async def test_damaged_file_is_put_aside_and_healed_by_the_next_put(tmp_path):
    store = LocalArtifacts(tmp_path)
    digest, _ = await store.put(b"precious")
    path = tmp_path / digest[:2] / digest[2:4] / digest
    path.write_bytes(b"precioux")
    with pytest.raises(ArtifactMissing):
        await store.get(digest)
    assert path.with_suffix(".corrupt").read_bytes() == b"precioux"
    await store.put(b"precious")
    assert await store.get(digest) == b"precious"
    path.write_bytes(b"prec")  # cut off: noticed by its length when it is stored again
    await store.put(b"precious")
    assert await store.get(digest) == b"precious"
    store.close()


def test_leftovers_of_dead_writers_are_swept_and_those_of_living_ones_are_not(tmp_path):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "old").write_bytes(b"x")
    (incoming / "new").write_bytes(b"x")
    long_ago = (incoming / "new").stat().st_mtime - ABANDONED_SECONDS - 60
    os.utime(incoming / "old", (long_ago, long_ago))
    LocalArtifacts(tmp_path).close()
    assert [path.name for path in incoming.iterdir()] == ["new"]


async def test_folder_that_was_removed_is_made_again(tmp_path):
    store = LocalArtifacts(tmp_path / "artifacts")
    (tmp_path / "artifacts" / "incoming").rmdir()
    (tmp_path / "artifacts").rmdir()
    digest, _ = await store.put(b"data")
    assert await store.get(digest) == b"data"
    store.close()


def test_store_is_chosen_by_the_settings(tmp_path):
    store = open_artifacts(Settings(home=tmp_path))
    assert isinstance(store, LocalArtifacts)
    store.close()
    with pytest.raises(RequestInvalid, match="S3_BUCKET"):
        open_artifacts(Settings(home=tmp_path, artifacts_storage="s3"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        open_artifacts(Settings(home=tmp_path, artifacts_path=tmp_path / "file" / "below"))
