"""Addresses: which networks one lies in, and for whom a proxy speaks."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291, 2.5.5.2
_FARTHEST = 16  # proxies in a row; more are a game


def parse_ip(text: str) -> Address | None:
    """None for what is no address. IPv4 in IPv6's clothes (::ffff:192.168.1.5) is the IPv4 address; zones are dropped."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


class NetworkSet:
    """A list of networks. Nothing that is no address lies in any."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = [_plain(network) for network in networks]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _plain(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def client_ip_from_forwarded(values: list[str], peer: Address, trusted: NetworkSet) -> Address | None:
    """Whose request `peer`, a trusted proxy, hands on, by its headers X-Forwarded-For: the rightmost address that is no
    trusted proxy, for what stands left of it is the client's own word. None where that entry is no address.
    """
    address = peer
    for entry in reversed(",".join(values).split(",")[-_FARTHEST:] if values else []):
        found = parse_ip(_host(entry.strip()))
        if found is None:
            return None
        address = found
        if address not in trusted:
            break
    return address


def _host(entry: str) -> str:
    """Without a port: `1.2.3.4:80`, `[::1]:80`, `[::1]`, `::1`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def rate_limit_key(host: str) -> str:
    """Under which name an address is counted. IPv6: its /64, for one machine has all the addresses of it that it wants."""
    address = parse_ip(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return "unknown" if address is None else str(address)
