"""Webhooks: the end of a job, told to an address of the client's, at least once, under an id that stays the same.

Messages are signed as the Standard Webhooks specification has it (standardwebhooks.com): headers `webhook-id`,
`webhook-timestamp` (seconds since 1970), and `webhook-signature`, which is `v1,` and the base64 of the HMAC-SHA256 of
`id.timestamp.body`. Only hosts that the owner names are called, redirects are not followed, and no proxy is asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
from sqlalchemy import Connection

from hunyuanocr import __version__
from hunyuanocr.config import JobSettings
from hunyuanocr.errors import HunyuanOcrError, StoreUnavailable, WebhookRefused
from hunyuanocr.services.jobs.desk import Desk, Seen, look
from hunyuanocr.store import audit, deliveries
from hunyuanocr.store.deliveries import Delivery

log = logging.getLogger(__name__)

_TIMEOUT_S = 15.0
_HOLD_S = 60.0  # a message is due again when its sender has died
_FIRST_S, _FACTOR, _LONGEST_S = 5.0, 4.0, 8 * 3600.0  # between two attempts
ATTEMPTS = 12  # over 40 hours
_AT_ONCE = 8
_IDLE_S = 30.0
_GONE = 410  # "do not send me any more", says the specification
_FORM = "Send http:// or https://, a host and a path."
_PORTS = {"http": 80, "https": 443}

Body = Callable[[Seen], dict[str, Any]]


def check_address(url: str, settings: JobSettings) -> None:
    """Raise WebhookRefused unless the owner's settings allow this address to be called."""
    if not settings.webhook_hosts:
        raise WebhookRefused("No host may be called by webhooks here.")
    if settings.webhook_secret is None:
        raise WebhookRefused("Webhooks cannot be signed.", hint="Whoever runs this machine sets 'jobs.webhook_secret'.")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise WebhookRefused("The webhook's address is no URL.", hint=_FORM) from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None or not _plain(url):
        raise WebhookRefused(
            "The webhook's address is no plain http(s) URL.", hint="Send http:// or https://, a host and a path."
        )
    if not any(_is(host, parts, port) for host in settings.webhook_hosts):
        raise WebhookRefused("This host may not be called by webhooks.")


def _plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url and "\\" not in url


def _is(allowed: str, parts: SplitResult, port: int) -> bool:
    """An entry without a port means the scheme's own."""
    entry = urlsplit(f"{parts.scheme}://{allowed}")
    return entry.hostname == parts.hostname and (entry.port or _PORTS[parts.scheme]) == port


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. `secret` is `whsec_` and base64, or base64 alone."""
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    mac = hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


class Webhooks:
    """Delivers what is due. `body` makes the message of a job; `counts` are the attempts since the start."""

    def __init__(self, desk: Desk, settings: JobSettings, worker: str, body: Body) -> None:
        self.desk = desk
        self.settings = settings
        self.worker = worker
        self.body = body
        self.counts = {"delivered": 0, "failed": 0}
        self._flying: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            try:
                while True:
                    self.desk.told.clear()
                    await self._wait(await self._round(client))
            finally:
                for task in self._flying:
                    task.cancel()
                await asyncio.gather(*self._flying, return_exceptions=True)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may lose a cancellation in Python 3.11
                await self.desk.told.wait()

    async def _round(self, client: httpx.AsyncClient) -> float:
        """Begin to deliver all that is due, so that a slow receiver holds up nobody else; seconds until more may be."""
        try:
            while room := _AT_ONCE - len(self._flying):
                due = await self.desk.database.query(deliveries.next_due)
                wait = _IDLE_S if due is None else (due - self.desk.now()).total_seconds()
                if wait > 0:
                    return min(wait, _IDLE_S)
                for delivery in await self.desk.database.run(deliveries.take, self.worker, self.desk.now(), _HOLD_S, room):
                    self._send(client, delivery)
        except StoreUnavailable as e:
            log.warning("Webhooks wait for the database: %s", e.message)
        return _IDLE_S

    def _send(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._flying.discard(task)
            self.desk.told.set()  # there is room for the next one
            if not task.cancelled() and task.exception() is not None:
                log.error("A webhook broke inside, and is tried again.", exc_info=task.exception())

        task = asyncio.create_task(self._deliver(client, delivery))
        self._flying.add(task)
        task.add_done_callback(ended)

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        trouble, status, code = await self._attempt(client, delivery)
        now = self.desk.now()
        self.counts["failed" if trouble else "delivered"] += 1
        due_at, delivered_at = now, None
        if trouble is None:
            status, delivered_at = "delivered", now
        elif status == "pending" and delivery.attempts + 1 >= ATTEMPTS:
            status = "given_up"
        elif status == "pending":
            due_at = now + rest_after(delivery.attempts + 1)

        def settle(session: Connection) -> None:
            deliveries.settle(session, delivery, status, due_at=due_at, delivered_at=delivered_at, trouble=trouble)
            if code is not None:
                host, what = urlsplit(delivery.url).hostname or "", f"/v1/jobs/{delivery.job_id}"
                line = audit.sent(delivery.owner, now, "webhook", to=host, what=what, status=code, message=delivery.id)
                audit.append(session, [line])

        await self.desk.database.run(settle)

    async def _attempt(self, client: httpx.AsyncClient, delivery: Delivery) -> tuple[str | None, str, int | None]:
        """What went wrong, or None; what becomes of the message then: `pending` or `given_up`; and the status that was answered,
        0 where the message went out and nothing came back, None where it did not go out.
        """
        seen = await self.desk.database.query(look, delivery.owner, delivery.job_id)
        if seen is None:
            return "The job is gone.", "given_up", None
        try:
            check_address(delivery.url, self.settings)  # the owner may have changed his mind
            body = await asyncio.to_thread(self._text, seen)
            async with client.stream("POST", delivery.url, content=body, headers=self._headers(delivery.id, body)) as answer:
                code = answer.status_code  # what else it says is not read
        except HunyuanOcrError as e:
            return f"{e.message} {e.hint}", "given_up", None
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            nowhere = isinstance(e, (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL))
            return f"{type(e).__name__}: {e}"[:300], "pending", None if nowhere else 0
        if 200 <= code < 300:
            return None, "delivered", code
        return f"It answered {code}.", "given_up" if code == _GONE else "pending", code

    def _text(self, seen: Seen) -> bytes:
        finished = seen.job.finished_at
        message = {
            "type": f"job.{seen.job.status}", "timestamp": None if finished is None else finished.isoformat(),
            "data": self.body(seen),
        }  # fmt: skip
        return json.dumps(message, ensure_ascii=False).encode()

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        now = int(time.time())
        secret = self.settings.webhook_secret
        signature = sign(secret.get_secret_value(), id, now, body) if secret is not None else ""
        return {
            "content-type": "application/json", "user-agent": f"hunyuanocr-edge/{__version__}",
            "webhook-id": id, "webhook-timestamp": str(now), "webhook-signature": signature,
        }  # fmt: skip


def rest_after(attempts: int) -> timedelta:
    """Longer each time, and never twice the same, so that what failed together does not come back together."""
    seconds = min(_FIRST_S * _FACTOR ** (attempts - 1), _LONGEST_S)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 -- no secret
