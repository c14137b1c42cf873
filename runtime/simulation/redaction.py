"""What must not stand in a cassette: keys, tokens and cookies, wherever a step may have put them."""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from runtime.redaction import MARK, Patterns, Redactor, in_texts
from runtime.settings import Settings
from runtime.tool_settings import SecretMissing, SecretPlace

HEADERS = frozenset({"set-cookie", "cookie", "authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "x-api-key", "x-auth-token"})
"""Headers of an http step's answer whose values are left out."""
_ANY = re.compile(
    r"(?P<keep>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{12,}"
    r"|\b(?:sk|rk|pk|ak|whsec|xox[abpr])[-_][A-Za-z0-9_-]{16,}"
    r"|\bA(?:KIA|SIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|(?P<userinfo>\b[a-z][a-z0-9+.-]*://)[^\s/@:]+:[^\s/@]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
LOOKS_SECRET: Patterns = ((_ANY, rf"\g<keep>\g<userinfo>{MARK}"),)
"""More than in messages: what a server or a model has said may hold keys of anybody."""


def known_secrets(settings: Settings) -> tuple[str, ...]:
    """The secrets this process is configured with: its own, and those of tools as far as they can be read here."""
    values = [getattr(settings, name) for name in Settings.secrets()]
    texts = [part for value in values if isinstance(value, SecretStr) for part in (value.get_secret_value(), *value.get_secret_value().split(","))]
    for place in _places(settings):
        with suppress(SecretMissing):  # what is not here cannot come from here
            texts.append(place.read())
    return tuple(dict.fromkeys(texts))


def _places(settings: Settings) -> list[SecretPlace]:
    servers = settings.mcp_servers.values()
    found: list[SecretPlace | str | None] = [api.credential for api in settings.apis.values()]
    found += [server.token for server in servers]
    found += [value for server in servers for value in server.env.values()]
    return [place for place in found if isinstance(place, SecretPlace)]


class Redaction:
    """Takes secrets out of JSON: those it is told of, however they are written, and what looks like one. It forgets none while a cassette is made."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._redactor = Redactor(most=None, patterns=LOOKS_SECRET)
        self._redactor.know(*secrets)

    def of(self, value: Any) -> Any:
        """The same JSON with `***` in place of secrets."""
        return in_texts(value, self._redactor)

    def of_answer(self, output: Any) -> Any:
        """The output of an http step. What its cookies and credentials say is taken out of everything that comes after, too."""
        headers = output.get("headers") if isinstance(output, dict) else None
        if isinstance(headers, dict):
            hidden = {name: str(value) for name, value in headers.items() if name.lower() in HEADERS}
            self._redactor.know(*hidden.values())
            output = {**output, "headers": {**headers, **dict.fromkeys(hidden, MARK)}}
        return self.of(output)
