"""Network limits and protocols: client addresses, rate limits, body limits, and uvicorn's protocols with time limits.

`api.middleware_stack` puts the layers of this package in order. For operators: docs/network.md.
"""

from api.network.limits import NetworkLimits

__all__ = ["NetworkLimits"]
