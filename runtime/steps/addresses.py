"""Which network addresses a step may talk to: public ones, and those the operator lists. Judged on addresses, never on spellings."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

USUAL_PORTS = frozenset((80, 443))

_V6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Python's own tables do not know these, or call them global although they carry or reach something else.
_V6_REFUSED = tuple(map(ipaddress.IPv6Network, ("2001::/32", "2002::/16", "2001:db8::/32", "3fff::/20")))
_V4_REFUSED = tuple(map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.88.99.0/24", "192.0.0.0/24")))
"""Azure's host channel, a public address that answers only to the machine itself; the old 6to4 relays; protocol assignments, where
Oracle's metadata lives."""
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def is_public(address: Address) -> bool:
    """Whether `address`, and any IPv4 address packed into it, is one that belongs to the open internet."""
    if isinstance(address, ipaddress.IPv4Address):
        usual = address.is_global and not (address.is_multicast or address.is_reserved)
        return usual and not any(address in network for network in _V4_REFUSED)
    inner = address.ipv4_mapped or (_low32(address) if address in _NAT64 else None)
    if inner is not None:
        return is_public(inner)
    if address not in _V6_PUBLIC or not address.is_global or any(address in network for network in _V6_REFUSED):
        return False
    return address.packed[8:12] not in _ISATAP or is_public(_low32(address))


def _low32(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(address.packed[12:])


@dataclass(frozen=True, slots=True)
class AllowList:
    """What may be reached although it is not public, and on other ports than 80 and 443."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        """From `host`, `host:port`, `[v6]:port`, an address or a CIDR. Raises ValueError that names the wrong entry."""
        hosts: set[tuple[str, int | None]] = set()
        networks: list[Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                hosts.add(_host_and_port(entry))
        return cls(frozenset(hosts), tuple(networks))

    def lists(self, host: str, port: int) -> bool:
        """Whether the operator has named this host himself, whatever it resolves to."""
        name = host.lower().rstrip(".").removeprefix("[").removesuffix("]")
        if self._names(name, port):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any(address in network for network in self.networks)

    def allows(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to `host` on `port`, which resolved to `address`, is in order."""
        if self._names(host.lower().rstrip("."), port):
            return True
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        if any((mapped or address) in network for network in self.networks):
            return True
        return port in USUAL_PORTS and is_public(address)

    def _names(self, name: str, port: int) -> bool:
        return (name, None) in self.hosts or (name, port) in self.hosts


def _host_and_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    if not colon:
        name, port = entry, ""
    name = name.lower().rstrip(".").removeprefix("[").removesuffix("]")
    if not name or (colon and not 0 < int(port if port.isascii() and port.isdigit() else 0) < 65536) or any(c in name for c in "/@ *"):
        raise ValueError(f"'{entry}' is not a host, host:port, address or CIDR")
    return name, int(port) if port else None
