"""A key and the address it is for, as one secret: neither can be exchanged without the other. Its limits lie beside them."""

import hashlib
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr
from pydantic_core import from_json, to_json

from runtime.errors import SecretUnreadable
from runtime.limit_settings import NO_LIMITS, ProviderLimits
from runtime.redaction import redact, secrets_in
from runtime.secrets import SecretBox
from runtime.store.key_protocol import ProviderKeyRow

LONG_ENOUGH = 16
"""Characters from which a key's end and fingerprint are shown: they would tell too much of a shorter one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What stands in the envelope of a provider key. `key` is None where a server asks for none, `base_url` for the provider's own address."""

    key: SecretStr | None
    base_url: str | None
    limits: ProviderLimits = NO_LIMITS

    def sealed(self, box: SecretBox, row: ProviderKeyRow) -> str:
        """The envelope for this row."""
        key = None if self.key is None else self.key.get_secret_value()
        limits = {"limits": self.limits.model_dump(exclude_none=True)} if self.limits.some else {}
        return box.seal(to_json({"key": key, "base_url": self.base_url, **limits}), row.place)

    @classmethod
    def of(cls, row: ProviderKeyRow, box: SecretBox) -> Self:
        """What the row holds. Raises SecretUnreadable."""
        found = from_json(box.open(row.envelope, row.place))
        if not isinstance(found, dict) or found.keys() - {"limits"} != {"key", "base_url"}:
            raise SecretUnreadable("a stored provider key is not in a form this version knows")
        redact.know(found["key"], *secrets_in(found["base_url"] or ""))
        limits = ProviderLimits.model_validate(found.get("limits", {}))
        return cls(None if found["key"] is None else SecretStr(found["key"]), found["base_url"], limits)

    @property
    def last_four(self) -> str | None:
        """The end of the key, to recognise it by."""
        return None if self._telling is None else self._telling[-4:]

    @property
    def fingerprint(self) -> str | None:
        """`sha256:` and the first 16 digits of the key's hash, to compare it with one at hand."""
        return None if self._telling is None else f"sha256:{hashlib.sha256(self._telling.encode()).hexdigest()[:16]}"

    @property
    def _telling(self) -> str | None:
        key = "" if self.key is None else self.key.get_secret_value()
        return key if len(key) >= LONG_ENOUGH else None
