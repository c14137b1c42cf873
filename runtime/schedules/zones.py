"""IANA time zones by name, with help for those who misspell them."""

from datetime import UTC, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from runtime.definition.names import did_you_mean


@cache
def _zones() -> frozenset[str]:
    """Every zone this machine knows; reading them takes a tenth of a second, once."""
    return frozenset(available_timezones())


@cache
def _lower() -> dict[str, str]:
    """Zones by their whole name and by their city, in lower case."""
    return {name.rpartition("/")[2].lower(): name for name in sorted(_zones())} | {name.lower(): name for name in _zones()}


def check_zone(name: str) -> str:
    """`name` itself. Raises ValueError, with a suggestion, when there is no such zone."""
    if name in _zones():
        return name
    plain = name[:100].lower().replace(" ", "_")
    known = _lower().get(plain)
    hint = f"; did you mean '{known}'?" if known else did_you_mean(name, _zones())
    raise ValueError(f"there is no time zone '{name[:100]}'{hint}; write an IANA name such as Europe/Berlin or UTC")


@cache
def zone(name: str) -> tzinfo:
    """The zone called so. Raises ValueError when this machine does not know it."""
    return UTC if name == "UTC" else ZoneInfo(check_zone(name))
