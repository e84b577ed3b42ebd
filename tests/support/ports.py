"""Reserve ports for programs: the system assigns them to nothing else meanwhile, not even to an outgoing connection."""

from __future__ import annotations

import random
import socket

_BELOW = range(20_000, 32_000)  # the ports that Linux gives to those who ask for any begin at 32,768


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and that no connection will be given."""
    for port in random.SystemRandom().sample(_BELOW, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("a hundred ports are taken")
