"""Secrets at rest: encrypted with a key of their own, which is encrypted with a key derived from SECRET_KEY (envelope encryption).

An envelope is base64url text: version byte, key id, wrapped data key, nonce, ciphertext. Whose it is, what it is for and which row
holds it are authenticated with it, so that an envelope moved to another row, tenant or use does not open. Changing SECRET_KEY means
putting the new key before the old one, rewrapping (only the data keys change), and then taking the old one away.
"""

import base64
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from runtime.errors import SecretUnreadable
from runtime.private_file import write_private
from runtime.redaction import redact
from runtime.settings import Settings

VERSION = 1
MAX_SECRET = 64 * 1024
"""Bytes of one secret."""

_ID, _NONCE, _KEY, _TAG = 8, 12, 32, 16
_WRAPPED = _NONCE + _KEY + _TAG
_HEAD = 1 + _ID + _WRAPPED


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret belongs. It opens nowhere else."""

    tenant: str
    purpose: str
    row: str

    @property
    def bound(self) -> bytes:
        """The associated data; lengths keep `a|b` and `c` apart from `a` and `b|c`."""
        return "".join(f"{len(part)}:{part}|" for part in (self.tenant, self.purpose, self.row)).encode()


class _MasterKey:
    """One SECRET_KEY: its id, and the key that wraps data keys."""

    def __init__(self, secret: str) -> None:
        self.id = _derived(secret, b"agentic-workflows key id", _ID)
        self.wrap = AESGCM(_derived(secret, b"agentic-workflows key " + self.id, _KEY))


class SecretBox:
    """Encrypts with the first key, decrypts with any of them."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [_MasterKey(key) for key in keys]

    def __repr__(self) -> str:
        return f"SecretBox({len(self._keys)} keys)"

    def seal(self, secret: bytes, place: Place) -> str:
        """The envelope of `secret`, at most 64 KiB, for the row that will hold it."""
        if len(secret) > MAX_SECRET:
            raise ValueError(f"a secret has at most {MAX_SECRET} bytes")
        key, nonce = os.urandom(_KEY), os.urandom(_NONCE)
        sealed = AESGCM(key).encrypt(nonce, secret, place.bound)
        return _text(self._head(key, place) + nonce + sealed)

    def open(self, envelope: str, place: Place) -> bytes:
        """The secret. Raises SecretUnreadable."""
        data = _bytes(envelope)
        key, body = self._data_key(data, place), data[_HEAD:]
        return _decrypt(AESGCM(key), body[:_NONCE], body[_NONCE:], place)

    def rewrap(self, envelope: str, place: Place) -> str:
        """The same secret under the first key; the very same envelope when it is already so. Raises SecretUnreadable."""
        data = _bytes(envelope)
        if data[1 : 1 + _ID] == self._keys[0].id:
            return envelope
        return _text(self._head(self._data_key(data, place), place) + data[_HEAD:])

    def _head(self, key: bytes, place: Place) -> bytes:
        master, nonce = self._keys[0], os.urandom(_NONCE)
        return bytes([VERSION]) + master.id + nonce + master.wrap.encrypt(nonce, key, place.bound)

    def _data_key(self, data: bytes, place: Place) -> bytes:
        if len(data) < _HEAD + _NONCE + _TAG or data[0] != VERSION:
            raise SecretUnreadable("a stored secret is not in a form this version knows")
        wanted, wrapped = data[1 : 1 + _ID], data[1 + _ID : _HEAD]
        master = next((key for key in self._keys if key.id == wanted), None)
        if master is None:
            raise SecretUnreadable(f"a stored secret was encrypted with another SECRET_KEY (key id {wanted.hex()}); put that key into the list again")
        return _decrypt(master.wrap, wrapped[:_NONCE], wrapped[_NONCE:], place)


def open_box(settings: Settings) -> SecretBox:
    """The box of these settings: SECRET_KEY, or else the key in `<home>/secret-key` (mode 0600), made when it is first asked for."""
    if settings.secret_key is not None:
        return SecretBox(settings.secret_key.get_secret_value().split(","))
    return SecretBox([_local_key(settings.home.absolute() / "secret-key")])


def _local_key(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32), replace=False)
    key = path.read_text().strip()
    if len(key) < 32:
        # Never replaced: what it once encrypted would be lost for good.
        raise SecretUnreadable(f"{path.name} in the home folder holds no key of at least 32 characters; bring the right file back, or set SECRET_KEY")
    redact.know(key)
    return key


def _decrypt(key: AESGCM, nonce: bytes, data: bytes, place: Place) -> bytes:
    try:
        return key.decrypt(nonce, data, place.bound)
    except InvalidTag:
        raise SecretUnreadable("a stored secret was changed, or belongs to another row") from None


def _derived(secret: str, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=info).derive(secret.encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise SecretUnreadable("a stored secret is not in a form this version knows") from None
