"""Webhooks: notify a URL of the client's when a job ends, at least once, with a stable message id.

Only hosts in the setting `jobs.webhook_hosts` are called. `webhook_lanes` selects the next message, `webhook_client` signs and
sends it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import Connection

from hunyuanocr.clock import Clock
from hunyuanocr.config import JobSettings
from hunyuanocr.errors import HunyuanOcrError, StoreUnavailable, WebhookNotAllowed
from hunyuanocr.services.jobs.events import JobEvents
from hunyuanocr.services.jobs.service import JobView, load_job_view
from hunyuanocr.services.webhook_client import PORTS, NotDelivered, WebhookClient
from hunyuanocr.services.webhook_lanes import Lanes
from hunyuanocr.store import audit, deliveries
from hunyuanocr.store.database import Database
from hunyuanocr.store.deliveries import Delivery

log = logging.getLogger(__name__)

_LEASE_S = 60.0  # a message is due again after this time if its sender has crashed
_FIRST_S, _FACTOR, _MAX_RETRY_S = 5.0, 4.0, 8 * 3600.0  # between two attempts
_SPREAD = (0.8, 1.2)
ATTEMPTS = 12  # within about 40 hours
_WINDOW = 64  # candidate messages per owner
_IDLE_S = 30.0
_GONE = 410  # the specification: stop sending
_URL_HINT = "Send http:// or https://, a host and a path."

Body = Callable[[JobView], dict[str, Any]]


def validate_webhook_url(url: str, settings: JobSettings) -> None:
    """Raise WebhookNotAllowed unless the settings allow this URL."""
    if not settings.webhook_hosts:
        raise WebhookNotAllowed("Webhooks are disabled: no host is allowed.")
    if settings.webhook_secret is None:
        raise WebhookNotAllowed("Webhooks cannot be signed.", hint="The operator must set 'jobs.webhook_secret'.")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise WebhookNotAllowed("The webhook URL is invalid.", hint=_URL_HINT) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or not _is_printable(url):
        raise WebhookNotAllowed("The webhook URL is not a plain http(s) URL.", hint=_URL_HINT)
    if not any(_matches(host, parts, port) for host in settings.webhook_hosts):
        raise WebhookNotAllowed("This host is not on the list of webhook hosts.")


def _is_printable(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url and "\\" not in url


def _matches(allowed: str, parts: SplitResult, port: int) -> bool:
    """Return whether an entry of the list matches; without a port it means the default port of the scheme."""
    entry = urlsplit(f"{parts.scheme}://{allowed}")
    return entry.hostname == parts.hostname and (entry.port or PORTS[parts.scheme]) == port


def retry_delay(attempts: int) -> timedelta:
    """Return an exponential backoff with random jitter, so that failed messages are not retried all at once."""
    return timedelta(seconds=_backoff_s(attempts) * random.uniform(*_SPREAD))  # noqa: S311 -- not a secret


def _backoff_s(attempts: int) -> float:
    return min(_FIRST_S * _FACTOR ** (attempts - 1), _MAX_RETRY_S)


# Maximum seconds that a message may be due in the future, by its attempts; more means that it was written with another clock.
_MAX_DUE_S = tuple(max(_LEASE_S, _backoff_s(n) * _SPREAD[1]) + 1.0 for n in range(ATTEMPTS))


class Webhooks:
    """Deliver due messages. `body` serializes a job; `counts` are the attempts since the start."""

    retry_delay: Callable[[int], timedelta] = staticmethod(retry_delay)

    def __init__(
        self, database: Database, events: JobEvents, clock: Clock, settings: JobSettings, *, worker: str, body: Body
    ) -> None:
        self.database = database
        self.clock = clock
        self.settings = settings
        self.worker = worker
        self.body = body
        self.counts = {"delivered": 0, "failed": 0}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lanes = Lanes()
        self._events = events
        self._due = asyncio.Event()  # a message may be sent

    async def run(self) -> None:
        """Deliver until cancelled."""
        subscriptions = [
            self._events.webhook_due.subscribe(self._due.set),
            self._events.finished.subscribe(lambda _: self._due.set()),
        ]
        async with WebhookClient(self.settings.webhook_secret) as client:
            try:
                while True:
                    self._due.clear()
                    await self._wait(await self._round(client))
            finally:
                for unsubscribe in subscriptions:
                    unsubscribe()
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may lose a cancellation in Python 3.11
                await self._due.wait()

    async def _round(self, client: WebhookClient) -> float:
        """Start due deliveries; return the seconds until the next one is due."""
        database, clock = self.database, self.clock
        try:
            if late := await database.read(deliveries.stuck, clock.timer(), _MAX_DUE_S):
                await database.write(deliveries.hasten, clock.timer(), late)
            now = clock.timer()
            while await self._begin_some(client, now):
                now = clock.timer()
            due = await database.read(deliveries.next_due, now)  # also if it became due since `now`
        except StoreUnavailable as e:
            log.warning("Webhooks wait for the database: %s", e.message)
            return _IDLE_S
        return _IDLE_S if due is None else min((due - clock.timer()).total_seconds(), _IDLE_S)

    async def _begin_some(self, client: WebhookClient, now: datetime) -> bool:
        """Start deliveries for each owner with messages due at `now`; return False if none could start."""
        database = self.database
        owners = self._lanes.turns(await database.read(deliveries.due_owners, now))
        started = False
        for n, owner in enumerate(owners):
            share = -(-self._lanes.free // (len(owners) - n))  # rounded up
            if share <= 0:
                break
            candidates = await database.read(deliveries.due_of, owner, now, self._lanes.busy(owner), _WINDOW)
            chosen = self._lanes.pick(candidates, share)
            if chosen:
                await self._begin(client, chosen, now)
                started = True
        return started

    async def _begin(self, client: WebhookClient, chosen: list[Delivery], now: datetime) -> None:
        taken: dict[str, Delivery] = {}
        try:
            ids = [delivery.job_id for delivery in chosen]
            taken = {d.job_id: d for d in await self.database.write(deliveries.take, self.worker, now, _LEASE_S, ids)}
        finally:
            for delivery in chosen:
                if delivery.job_id in taken:
                    self._send(client, taken[delivery.job_id])
                else:  # another server took it, or the database is unavailable
                    self._lanes.end(delivery, answers=None)

    def _send(self, client: WebhookClient, delivery: Delivery) -> None:
        def on_done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._due.set()  # a slot is free
            if not task.cancelled() and task.exception() is not None:
                log.error("Unexpected error in a webhook; it will be retried.", exc_info=task.exception())

        task = asyncio.create_task(self._in_lane(client, delivery))
        self._tasks.add(task)
        task.add_done_callback(on_done)

    async def _in_lane(self, client: WebhookClient, delivery: Delivery) -> None:
        answers = None
        try:
            answers = await self._deliver(client, delivery)
        finally:
            self._lanes.end(delivery, answers=answers)

    async def _deliver(self, client: WebhookClient, delivery: Delivery) -> bool | None:
        """Try once and record the outcome. Return whether the receiver responded; None if no request was sent."""
        error, status, code = await self._attempt(client, delivery)
        now, timer = self.clock.now(), self.clock.timer()
        self.counts["failed" if error else "delivered"] += 1
        due_at, delivered_at = timer, None
        if error is None:
            status, delivered_at = "delivered", now
        elif status == "pending" and delivery.attempts + 1 >= ATTEMPTS:
            status = "given_up"
        elif status == "pending":
            due_at = timer + self.retry_delay(delivery.attempts + 1)

        def record(conn: Connection) -> None:
            deliveries.record_attempt(conn, delivery, status, due_at=due_at, delivered_at=delivered_at, last_error=error)
            if code is not None:
                host, what = urlsplit(delivery.url).hostname or "", f"/v1/jobs/{delivery.job_id}"
                entry = audit.outgoing_entry(delivery.owner, now, "webhook", to=host, what=what, status=code, message=delivery.id)
                audit.append(conn, [entry])

        await self.database.write(record)
        return None if status == "given_up" and not code else bool(code)

    async def _attempt(self, client: WebhookClient, delivery: Delivery) -> tuple[str | None, str, int | None]:
        """Return the error or None; the new status of the message (`delivered`, `pending`, `given_up`); and the HTTP status code.

        The code is 0 if the request was sent without a response, None if it was not sent.
        """
        seen = await self.database.read(load_job_view, delivery.owner, delivery.job_id)
        if seen is None:
            return "The job no longer exists.", "given_up", None
        try:
            validate_webhook_url(delivery.url, self.settings)  # the settings may have changed
            code = await client.post(delivery.url, delivery.id, await asyncio.to_thread(self._text, seen), self.clock.now())
        except HunyuanOcrError as e:
            return f"{e.message} {e.hint}", "given_up", None
        except NotDelivered as e:
            return str(e)[:300], "pending", 0 if e.sent else None
        if 200 <= code < 300:
            return None, "delivered", code
        return f"Response status {code}.", "given_up" if code == _GONE else "pending", code

    def _text(self, seen: JobView) -> bytes:
        finished = seen.job.finished_at
        message = {
            "type": f"job.{seen.job.status}",
            "timestamp": None if finished is None else finished.isoformat(),
            "data": self.body(seen),
        }
        return json.dumps(message, ensure_ascii=False).encode()
