"""Addresses of this machine on the local network."""

from __future__ import annotations

import socket

import psutil


def lan_addresses() -> list[str]:
    """Return the IPv4 addresses of this machine on the LAN, from its network interfaces."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    internal = ("lo", "docker", "br-", "veth", "virbr")  # loopback and container bridges, which phones cannot reach
    return [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        if name in up and not name.startswith(internal)
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
