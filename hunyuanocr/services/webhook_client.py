"""Sign webhooks and send them, with one deadline for the whole exchange.

Signatures follow the Standard Webhooks specification (standardwebhooks.com): headers `webhook-id`, `webhook-timestamp` (seconds
since 1970), and `webhook-signature`: `v1,` and the base64 of the HMAC-SHA256 of `id.timestamp.body`. Redirects are not followed,
and no proxy is used.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from types import TracebackType
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from hunyuanocr import __version__
from hunyuanocr.services.webhook_lanes import SLOTS

PORTS = {"http": 80, "https": 443}
TIMEOUT_S = 15.0  # for the whole exchange: name lookup, connection, request, and response headers
_MAX_LOOKUPS = 4  # concurrent name lookups, in separate threads: an unreachable name server blocks no other thread


class NotDelivered(Exception):
    """The receiver did not respond. `sent`: whether the message may have reached it."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`. `secret` is base64, with or without the prefix `whsec_`."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    mac = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


class WebhookClient:
    """An asynchronous context manager, entered once. `secret` is the signing key."""

    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = secret
        self._resolver = ThreadPoolExecutor(_MAX_LOOKUPS, thread_name_prefix="webhook-names")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=SLOTS)
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, follow_redirects=False, trust_env=False)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> WebhookClient:
        await self._stack.enter_async_context(self._client)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resolver.shutdown(wait=False, cancel_futures=True)
        await self._stack.aclose()

    async def post(self, url: str, id: str, body: bytes, now: datetime) -> int:
        """Send a message; return the status code and ignore the body of the response. Raises NotDelivered."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._resolve(url)
                async with self._client.stream("POST", url, content=body, headers=self._headers(id, body, now)) as response:
                    return response.status_code
        except TimeoutError as e:
            raise NotDelivered(f"No response within {TIMEOUT_S:g} seconds.", sent=True) from e
        except (OSError, UnicodeError) as e:
            raise NotDelivered(f"Host name lookup failed: {e}.", sent=False) from e
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            unsent = isinstance(e, (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL))
            raise NotDelivered(f"{type(e).__name__}: {e}", sent=not unsent) from e

    async def _resolve(self, url: str) -> None:
        """Resolve the host name first, in a separate thread: httpx resolves it again in the shared threads, from a warm cache."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if _is_ip(host):
            return
        lookup = partial(socket.getaddrinfo, host, parts.port or PORTS[parts.scheme], type=socket.SOCK_STREAM)
        await asyncio.get_running_loop().run_in_executor(self._resolver, lookup)

    def _headers(self, id: str, body: bytes, now: datetime) -> dict[str, str]:
        timestamp = int(now.timestamp())
        signature = "" if self._secret is None else sign(self._secret.get_secret_value(), id, timestamp, body)
        return {
            "content-type": "application/json",
            "user-agent": f"hunyuanocr-edge/{__version__}",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
