"""Artifacts a model is shown beside its prompt: found, checked, and read where the step is carried out. The journal holds their hashes only."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.errors import StepFailed
from runtime.references import REFERENCE

MAX_ATTACHMENTS = 20
MAX_ATTACHMENT_BYTES = 10 * 2**20
MAX_TOTAL_BYTES = 20 * 2**20
"""Of all attachments of one step: the largest request the providers take."""
MAX_TEXT_BYTES = 2**20
"""Of all texts among them."""

_MARKS: Mapping[str, tuple[bytes, ...]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
    "application/pdf": (b"%PDF-",),
}
"""What content of these types begins with: a provider answers a lie with an error that nobody understands."""
_TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "application/javascript"})

Load = Callable[[str], Awaitable[bytes]]
"""The content of an artifact, by its hash. Raises ArtifactMissing, StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One artifact as a model is shown it. `text` is set for texts, `data` for all others."""

    name: str
    media_type: str
    data: bytes
    text: str | None = None

    @property
    def told(self) -> dict[str, str]:
        """What later messages say of it."""
        return {"name": self.name, "media_type": self.media_type}


async def attachments_of(value: Any, known: Mapping[str, dict[str, Any]], load: Load) -> list[Attachment]:
    """The attachments `value` names: null, an artifact, a list of them, or an object of them by name.

    An artifact is `{name?, sha256, …}` or `{$artifact: {sha256, …}}`; `known` holds, by hash, those the step may see: who can guess a hash
    must not read what is not theirs, so type and size are taken from there too. Raises StepFailed `attachment_invalid`, never retryable.
    """
    wanted = [_known(one, known) for one in _listed(value)]
    if len(wanted) > MAX_ATTACHMENTS:
        raise _invalid(f"there are {len(wanted)} attachments; at most {MAX_ATTACHMENTS} are shown to a model")
    for one in wanted:
        if one["size"] > MAX_ATTACHMENT_BYTES:
            raise _invalid(f"'{one['name']}' has {one['size']} bytes; at most {MAX_ATTACHMENT_BYTES} are shown to a model")
    if sum(one["size"] for one in wanted) > MAX_TOTAL_BYTES:
        raise _invalid(f"the attachments have more than {MAX_TOTAL_BYTES} bytes together")
    for one in wanted:
        _check_type(one["name"], one["media_type"])
    found = [_checked(one["name"], one["media_type"].partition(";")[0].strip().lower(), await load(one["sha256"])) for one in wanted]
    if sum(len(one.data) for one in found if one.text is not None) > MAX_TEXT_BYTES:
        raise _invalid(f"the texts among the attachments have more than {MAX_TEXT_BYTES} bytes together")
    return found


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list):
        return [one for part in value for one in _listed(part)]
    if isinstance(value, dict) and "sha256" not in value and REFERENCE not in value:
        return list(value.values())
    return [value]


def _known(one: Any, known: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    inner = one.get(REFERENCE, one) if isinstance(one, dict) else None
    digest = inner.get("sha256") if isinstance(inner, dict) else None
    if not isinstance(digest, str):
        raise _invalid("an attachment is an artifact, {name, sha256, size, media_type}, as steps.<id>.artifacts and context.save_artifact give it")
    found = known.get(digest)
    if found is None:
        raise _invalid(f"none of the steps this one reads has saved an artifact {digest[:12]}…")
    return found


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in _TEXTS or media_type.endswith(("+json", "+xml"))


def _check_type(name: str, media_type: str) -> None:
    plain = media_type.partition(";")[0].strip().lower()
    if plain not in _MARKS and not _is_text(plain):
        raise _invalid(f"'{name}' is {plain[:100]}; models are shown text, {', '.join(sorted(_MARKS))}")


def _checked(name: str, media_type: str, data: bytes) -> Attachment:
    if _is_text(media_type):
        try:
            return Attachment(name, media_type, data, data.decode())
        except UnicodeDecodeError as error:
            raise _invalid(f"'{name}' says it is {media_type} but is no UTF-8 text") from error
    if not data.startswith(_MARKS[media_type]) or (media_type == "image/webp" and data[8:12] != b"WEBP"):
        raise _invalid(f"'{name}' says it is {media_type} but is not")
    return Attachment(name, media_type, data)


def _invalid(why: str) -> StepFailed:
    return StepFailed("attachment_invalid", why, retryable=False)
