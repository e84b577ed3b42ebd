"""IP addresses and networks, and the client address behind proxies."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291, 2.5.5.2
_MAX_PROXIES = 16  # entries of X-Forwarded-For that are evaluated


def parse_ip(text: str) -> Address | None:
    """Parse an address; None if invalid. IPv4-mapped addresses (::ffff:192.168.1.5) become IPv4; zone ids are removed."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


class NetworkSet:
    """A set of networks. None is not in any network."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = [_unmap_ipv4(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _unmap_ipv4(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def client_ip_from_forwarded(values: list[str], peer: Address, trusted: NetworkSet) -> Address | None:
    """Return the client address of a request that `peer`, a trusted proxy, forwards; None if it is invalid.

    It is the rightmost address in the X-Forwarded-For headers that is not a trusted proxy. Entries to the left of it are
    chosen by the client and cannot be trusted.
    """
    address = peer
    for entry in reversed(",".join(values).split(",")[-_MAX_PROXIES:] if values else []):
        parsed = parse_ip(_strip_port(entry.strip()))
        if parsed is None:
            return None
        address = parsed
        if address not in trusted:
            break
    return address


def _strip_port(entry: str) -> str:
    """Remove the port from `1.2.3.4:80` or `[::1]:80`; `[::1]` and `::1` have none."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def rate_limit_key(host: str) -> str:
    """Return the key under which an address is counted. For IPv6 it is the /64 network, all of which one client can use."""
    address = parse_ip(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return "unknown" if address is None else str(address)
