"""Between the socket and the routes: whose request it is, whether it may come in, and how much of everything it may take.

`guard_inside` and `guard_outside` put the layers around an app; what knows keys stands between the two. From the outside:
`ClientAddress`, the request's id and log (`api.middleware`), `SafeHeaders`, `Doors`, CORS, `AddressRates`, `Bodies`, the check of
keys, `KeyRates`. Below all of them, `patience`, `sockets` and `tls` are how uvicorn is made to give up slow clients. For owners:
docs/network.md.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api.network.bodies import Bodies
from api.network.doors import AddressRates, ClientAddress, Doors, KeyRates
from api.network.headers import SafeHeaders
from api.network.shared import Network

__all__ = ["ClientAddress", "Network", "guard_inside", "guard_outside"]

_READABLE = ("X-Request-Id", "Retry-After", "Location", "Idempotent-Replayed")


def guard_inside(app: FastAPI, network: Network) -> None:
    """What stands behind the check of keys, because it asks who it is."""
    app.add_middleware(KeyRates, network=network)


def guard_outside(app: FastAPI, network: Network) -> None:
    """What stands before the check of keys. Without origins CORS answers nothing, and Gradio's own, which trusts every
    website, is never asked: it is silent beside another.
    """
    app.add_middleware(Bodies, network=network)
    app.add_middleware(AddressRates, network=network)
    app.add_middleware(
        CORSMiddleware, allow_origins=network.settings.origins, allow_methods=["*"], allow_headers=["*"], expose_headers=_READABLE
    )
    app.add_middleware(Doors, network=network)
    app.add_middleware(SafeHeaders)
