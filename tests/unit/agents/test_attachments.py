"""Which artifacts a model may be shown."""

import hashlib
from typing import Any

import pytest

from runtime.agents import attachments
from runtime.agents.attachments import attachments_of
from runtime.errors import StepFailed

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
PDF = b"%PDF-1.7 x"


class Shelf:
    """Artifacts of earlier steps."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.content: dict[str, bytes] = {}
        self.read: list[str] = []

    def put(self, name: str, data: bytes, media_type: str, *, size: int | None = None) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        self.known[digest] = {"name": name, "sha256": digest, "size": len(data) if size is None else size, "media_type": media_type}
        return self.known[digest]

    async def load(self, digest: str) -> bytes:
        self.read.append(digest)
        return self.content[digest]

    async def shown(self, value: Any) -> list[tuple[str, str, str | None]]:
        return [(one.name, one.media_type, one.text) for one in await attachments_of(value, self.known, self.load)]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def test_one_a_list_and_all_of_a_step(shelf):
    image, text = shelf.put("a.png", PNG, "image/png"), shelf.put("b.csv", b"x,y", "text/csv; charset=utf-8")
    assert await shelf.shown(None) == []
    assert await shelf.shown(image) == [("a.png", "image/png", None)]
    assert await shelf.shown([image, [text]]) == [("a.png", "image/png", None), ("b.csv", "text/csv", "x,y")]
    assert await shelf.shown({"a.png": image, "b.csv": text}) == await shelf.shown([image, text])
    assert await shelf.shown({"$artifact": {"sha256": image["sha256"]}}) == [("a.png", "image/png", None)]


async def test_only_what_the_journal_knows_counts(shelf):
    """Somebody who knows a hash, and lies about what is behind it."""
    image = shelf.put("a.png", PNG, "image/png")
    assert await shelf.shown({**image, "name": "b.txt", "media_type": "text/plain", "size": 1}) == [("a.png", "image/png", None)]
    secret = hashlib.sha256(b"of another tenant").hexdigest()
    shelf.content[secret] = b"of another tenant"
    with pytest.raises(StepFailed) as caught:
        await shelf.shown({"name": "x.txt", "sha256": secret, "size": 17, "media_type": "text/plain"})
    assert caught.value.error_code == "attachment_invalid"
    assert secret not in shelf.read


@pytest.mark.parametrize("value", ["a.png", 1, {"sha256": 5}, [None, "x"], {"$artifact": "x"}], ids=str)
async def test_what_is_no_artifact(shelf, value):
    with pytest.raises(StepFailed, match="an attachment is an artifact"):
        await shelf.shown(value)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"GIF89a....", "image/png"),
        (b"RIFF....WAVE", "image/webp"),
        (PNG, "application/pdf"),
        (b"\xff\xfe", "text/plain"),
        (b"MZ", "application/x-msdownload"),
        (b"<svg/>", "image/svg"),
        (b"x", "video/mp4"),
    ],
)
async def test_types_are_checked(shelf, data, media_type):
    with pytest.raises(StepFailed) as caught:
        await shelf.shown(shelf.put("a", data, media_type))
    assert (caught.value.error_code, caught.value.retryable) == ("attachment_invalid", False)


@pytest.mark.parametrize("data", [PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBP", PDF], ids=["png", "jpeg", "gif", "webp", "pdf"])
async def test_types_that_are_shown(shelf, data):
    types = {PNG: "image/png", b"\xff\xd8\xff\xe0": "image/jpeg", b"GIF89a": "image/gif", b"RIFF\0\0\0\0WEBP": "IMAGE/WebP", PDF: "application/pdf"}
    assert len(await shelf.shown(shelf.put("a", data, types[data]))) == 1


async def test_sizes_are_bounded_before_anything_is_read(shelf, monkeypatch):
    with pytest.raises(StepFailed, match="10485760"):
        await shelf.shown(shelf.put("a.png", PNG, "image/png", size=10 * 2**20 + 1))
    three = [shelf.put(f"{n}.png", PNG + bytes([n]), "image/png", size=9 * 2**20) for n in range(3)]
    with pytest.raises(StepFailed, match="together"):
        await shelf.shown(three)
    with pytest.raises(StepFailed, match="at most 20"):
        await shelf.shown([three[0]] * 21)
    assert shelf.read == []
    monkeypatch.setattr(attachments, "MAX_TEXT_BYTES", 5)
    with pytest.raises(StepFailed, match="texts"):
        await shelf.shown(shelf.put("a.txt", b"123456", "text/plain"))
