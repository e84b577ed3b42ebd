"""Webhooks: the end of a job, told to an address of the client's, at least once, under an id that stays the same.

Only hosts that the owner names are called. Which message is next is decided in `webhook_lanes`, how one is signed and sent in
`webhook_client`.
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

from hunyuanocr.config import JobSettings
from hunyuanocr.errors import HunyuanOcrError, StoreUnavailable, WebhookNotAllowed
from hunyuanocr.services.jobs.service import JobService, JobView, load_job_view
from hunyuanocr.services.webhook_client import PORTS, NotDelivered, WebhookClient
from hunyuanocr.services.webhook_lanes import Lanes
from hunyuanocr.store import audit, deliveries
from hunyuanocr.store.deliveries import Delivery

log = logging.getLogger(__name__)

_HOLD_S = 60.0  # a message is due again when its sender has died
_FIRST_S, _FACTOR, _MAX_RETRY_S = 5.0, 4.0, 8 * 3600.0  # between two attempts
_SPREAD = (0.8, 1.2)
ATTEMPTS = 12  # over 40 hours
_WINDOW = 64  # messages of one owner that are chosen from
_IDLE_S = 30.0
_GONE = 410  # "do not send me any more", says the specification
_FORM = "Send http:// or https://, a host and a path."

Body = Callable[[JobView], dict[str, Any]]


def validate_webhook_url(url: str, settings: JobSettings) -> None:
    """Raise WebhookRefused unless the owner's settings allow this address to be called."""
    if not settings.webhook_hosts:
        raise WebhookNotAllowed("No host may be called by webhooks here.")
    if settings.webhook_secret is None:
        raise WebhookNotAllowed("Webhooks cannot be signed.", hint="Whoever runs this machine sets 'jobs.webhook_secret'.")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise WebhookNotAllowed("The webhook's address is no URL.", hint=_FORM) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or not _plain(url):
        raise WebhookNotAllowed(
            "The webhook's address is no plain http(s) URL.", hint="Send http:// or https://, a host and a path."
        )
    if not any(_is(host, parts, port) for host in settings.webhook_hosts):
        raise WebhookNotAllowed("This host may not be called by webhooks.")


def _plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url and "\\" not in url


def _is(allowed: str, parts: SplitResult, port: int) -> bool:
    """An entry without a port means the scheme's own."""
    entry = urlsplit(f"{parts.scheme}://{allowed}")
    return entry.hostname == parts.hostname and (entry.port or PORTS[parts.scheme]) == port


class Webhooks:
    """Delivers what is due. `body` makes the message of a job; `counts` are the attempts since the start."""

    def __init__(self, job_service: JobService, settings: JobSettings, worker: str, body: Body) -> None:
        self.job_service = job_service
        self.settings = settings
        self.worker = worker
        self.body = body
        self.counts = {"delivered": 0, "failed": 0}
        self._flying: set[asyncio.Task[None]] = set()
        self._lanes = Lanes()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with WebhookClient(self.settings.webhook_secret) as client:
            try:
                while True:
                    self.job_service.webhook_due.clear()
                    await self._wait(await self._round(client))
            finally:
                for task in self._flying:
                    task.cancel()
                await asyncio.gather(*self._flying, return_exceptions=True)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may lose a cancellation in Python 3.11
                await self.job_service.webhook_due.wait()

    async def _round(self, client: WebhookClient) -> float:
        """Begin to deliver what is due and may begin; seconds until more may be."""
        database, clock = self.job_service.database, self.job_service.clock
        try:
            if late := await database.read(deliveries.stuck, clock.timer(), _LATEST):
                await database.write(deliveries.hasten, clock.timer(), late)
            while await self._begin_some(client):
                pass
            now = clock.timer()
            due = await database.read(deliveries.next_due, now)
        except StoreUnavailable as e:
            log.warning("Webhooks wait for the database: %s", e.message)
            return _IDLE_S
        return _IDLE_S if due is None else min((due - now).total_seconds(), _IDLE_S)

    async def _begin_some(self, client: WebhookClient) -> bool:
        """One turn for each owner with messages that are due; False when none could begin."""
        database, now = self.job_service.database, self.job_service.clock.timer()
        owners = self._lanes.turns(await database.read(deliveries.due_owners, now))
        begun = False
        for n, owner in enumerate(owners):
            share = -(-self._lanes.free // (len(owners) - n))  # rounded up
            if share <= 0:
                break
            found = await database.read(deliveries.due_of, owner, now, self._lanes.busy(owner), _WINDOW)
            chosen = self._lanes.pick(found, share)
            if chosen:
                await self._begin(client, chosen, now)
                begun = True
        return begun

    async def _begin(self, client: WebhookClient, chosen: list[Delivery], now: datetime) -> None:
        taken: dict[str, Delivery] = {}
        try:
            ids = [delivery.job_id for delivery in chosen]
            taken = {d.job_id: d for d in await self.job_service.database.write(deliveries.take, self.worker, now, _HOLD_S, ids)}
        finally:
            for delivery in chosen:
                if delivery.job_id in taken:
                    self._send(client, taken[delivery.job_id])
                else:  # another appliance was quicker, or the database is away
                    self._lanes.end(delivery, answers=None)

    def _send(self, client: WebhookClient, delivery: Delivery) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._flying.discard(task)
            self.job_service.webhook_due.set()  # there is room for the next one
            if not task.cancelled() and task.exception() is not None:
                log.error("A webhook broke inside, and is tried again.", exc_info=task.exception())

        task = asyncio.create_task(self._in_lane(client, delivery))
        self._flying.add(task)
        task.add_done_callback(ended)

    async def _in_lane(self, client: WebhookClient, delivery: Delivery) -> None:
        answers = None
        try:
            answers = await self._deliver(client, delivery)
        finally:
            self._lanes.end(delivery, answers=answers)

    async def _deliver(self, client: WebhookClient, delivery: Delivery) -> bool | None:
        """Try once and write down how it went. Whether the receiver answered; None where it was not asked."""
        trouble, status, code = await self._attempt(client, delivery)
        now, timer = self.job_service.now(), self.job_service.clock.timer()
        self.counts["failed" if trouble else "delivered"] += 1
        due_at, delivered_at = timer, None
        if trouble is None:
            status, delivered_at = "delivered", now
        elif status == "pending" and delivery.attempts + 1 >= ATTEMPTS:
            status = "given_up"
        elif status == "pending":
            due_at = timer + retry_delay(delivery.attempts + 1)

        def settle(conn: Connection) -> None:
            deliveries.record_attempt(conn, delivery, status, due_at=due_at, delivered_at=delivered_at, trouble=trouble)
            if code is not None:
                host, what = urlsplit(delivery.url).hostname or "", f"/v1/jobs/{delivery.job_id}"
                line = audit.outgoing_entry(delivery.owner, now, "webhook", to=host, what=what, status=code, message=delivery.id)
                audit.append(conn, [line])

        await self.job_service.database.write(settle)
        return None if status == "given_up" and not code else bool(code)

    async def _attempt(self, client: WebhookClient, delivery: Delivery) -> tuple[str | None, str, int | None]:
        """What went wrong, or None; what becomes of the message then: `pending` or `given_up`; and the status that was answered,
        0 where the message went out and nothing came back, None where it did not go out.
        """
        seen = await self.job_service.database.read(load_job_view, delivery.owner, delivery.job_id)
        if seen is None:
            return "The job is gone.", "given_up", None
        try:
            validate_webhook_url(delivery.url, self.settings)  # the owner may have changed his mind
            code = await client.post(delivery.url, delivery.id, await asyncio.to_thread(self._text, seen), self.job_service.now())
        except HunyuanOcrError as e:
            return f"{e.message} {e.hint}", "given_up", None
        except NotDelivered as e:
            return str(e)[:300], "pending", 0 if e.sent else None
        if 200 <= code < 300:
            return None, "delivered", code
        return f"It answered {code}.", "given_up" if code == _GONE else "pending", code

    def _text(self, seen: JobView) -> bytes:
        finished = seen.job.finished_at
        message = {
            "type": f"job.{seen.job.status}", "timestamp": None if finished is None else finished.isoformat(),
            "data": self.body(seen),
        }  # fmt: skip
        return json.dumps(message, ensure_ascii=False).encode()


def retry_delay(attempts: int) -> timedelta:
    """Longer each time, and never twice the same, so that what failed together does not come back together."""
    return timedelta(seconds=_rest_s(attempts) * random.uniform(*_SPREAD))  # noqa: S311 -- no secret


def _rest_s(attempts: int) -> float:
    return min(_FIRST_S * _FACTOR ** (attempts - 1), _MAX_RETRY_S)


# By how much a message may be due ahead of now, by its attempts, in seconds; more is the word of another clock.
_LATEST = tuple(max(_HOLD_S, _rest_s(n) * _SPREAD[1]) + 1.0 for n in range(ATTEMPTS))
