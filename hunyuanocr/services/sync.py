"""Sends records to HQ on a schedule: sealed batches, the oldest first, at least once, under ids by which HQ keeps each once."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from cronsim import CronSim, CronSimError
from sqlalchemy import Connection

from hunyuanocr.config import SyncSettings
from hunyuanocr.errors import ConfigError, StoreUnavailable
from hunyuanocr.services.encryption import encrypt_batch, public_key
from hunyuanocr.store import audit, outbox
from hunyuanocr.store import state as facts
from hunyuanocr.store.database import Database
from hunyuanocr.store.records import Record

log = logging.getLogger(__name__)

_BATCH_BYTES = 4_000_000  # before packing: memory never holds more of the backlog
_TIMEOUT_S = 60.0  # without a byte
_DEADLINE_S = 600.0  # of one batch, sent over a slow line and confirmed: an answer that drips in is none
_MAX_ANSWER_BYTES = 64 * 1024
_FIRST_S, _MAX_RETRY_S = 2.0, 900.0  # between two attempts; twice as long each time
_CLOSE_TIMEOUT_S = 3600.0  # the longest `Retry-After` that is heeded
_POLL_INTERVAL_S = 60.0  # the wall's clock is looked at so often: it may be set
_FACT, _FIRST = "sync", "sync_first"  # the latest run, and when the sync was first started


class DeliveryError(Exception):
    """HQ did not take a batch; `wait` is what it asked us to wait, in seconds."""

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class SyncState:
    """For those who look after it."""

    waiting: int
    oldest: datetime | None
    sending: bool
    next_run: datetime
    last_success: datetime | None
    last_error: str | None
    last_error_at: datetime | None


class Sync:
    """One sender. `clock` is the wall's; `sleep`, `spread` and `transport` are the tests' to replace.

    A run sends until nothing waits. An attempt that fails is made again after 2 s, 4 s … 15 min, each shortened at random by up
    to a half so that many shops do not come at once, for as long as it takes: weeks. Between attempts nothing of the backlog is
    in memory. A run that was missed, because the machine was off, is made at the start. Raises ConfigError for wrong settings.
    """

    def __init__(
        self, database: Database, settings: SyncSettings, *, clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, spread: Callable[[float, float], float] = random.uniform,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._database, self._settings = database, settings
        self._clock, self._sleep, self._spread, self._transport = clock, sleep, spread, transport
        self._url = _address(settings.url)
        self._key = public_key(settings.public_key or "")
        self._tls = _tls(settings)
        self._due(clock())  # a wrong schedule is told at the start
        self._since = clock()
        self._sending = False
        self._error: tuple[str, datetime] | None = None

    async def run(self) -> None:
        """Send whenever the schedule says so, until cancelled."""
        while True:
            try:
                await self._recall()
                break
            except StoreUnavailable:
                await self._sleep(_POLL_INTERVAL_S)
        while True:
            self._since = min(self._since, self._clock())  # a clock that was set back does not silence us for a year
            wait = (self._due(self._since) - self._clock()).total_seconds()
            if wait > 0:
                await self._sleep(min(wait, _POLL_INTERVAL_S))
                continue
            await self.send_all()
            self._since = self._clock()

    async def _recall(self) -> None:
        known = await self._database.read(facts.get_state, _FACT) or await self._database.read(facts.get_state, _FIRST)
        if known is None:  # a shop that is switched off every night makes up for its first run too
            known = self._since.isoformat()
            await self._database.write(facts.set_state, _FIRST, known)
        self._since = datetime.fromisoformat(known)

    def _due(self, since: datetime) -> datetime:
        try:
            return next(CronSim(self._settings.schedule, since.astimezone()))
        except (CronSimError, StopIteration) as e:
            raise ConfigError(f"'sync.schedule' is no schedule: {self._settings.schedule!r}.", hint='E.g. "0 3 * * *".') from e

    async def send_all(self) -> None:
        """Until nothing waits, however long HQ is away."""
        failures, self._sending = 0, True
        try:
            async with httpx.AsyncClient(
                timeout=_TIMEOUT_S, verify=self._tls, follow_redirects=False, trust_env=False, transport=self._transport
            ) as client:
                while True:
                    try:
                        if not await self._send_one(client):
                            await self._database.write(facts.set_state, _FACT, self._clock().isoformat())
                            self._error = None
                            return
                        failures = 0
                    except (DeliveryError, StoreUnavailable) as e:
                        failures += 1
                        await self._rest(failures, e)
                    except Exception as e:  # a mistake of ours must not end the sync for good
                        log.exception("Something broke inside while records were sent.")
                        failures += 1
                        await self._rest(failures, DeliveryError(f"Something broke inside ({type(e).__name__})."))
        finally:
            self._sending = False

    async def _rest(self, failures: int, error: DeliveryError | StoreUnavailable) -> None:
        if failures == 1:
            log.warning("Records wait: %s", error)
        self._error = str(error), self._clock()
        rest = min(_MAX_RETRY_S, _FIRST_S * 2 ** min(failures - 1, 20))
        asked = min(getattr(error, "wait", 0.0), _CLOSE_TIMEOUT_S)
        await self._sleep(max(self._spread(rest / 2, rest), asked))

    async def _send_one(self, client: httpx.AsyncClient) -> bool:
        """Send one batch and forget it; False when none waits."""
        batch = await self._database.write(outbox.next_batch, self._size, _BATCH_BYTES)
        if batch is None:
            return False
        if batch.records:  # else they were deleted here before they were sent
            await self._deliver(client, batch)
        await self._database.write(self._confirm, batch)
        return True

    def _confirm(self, conn: Connection, batch: outbox.Batch) -> None:
        outbox.confirm(conn, batch.id)
        now, host = self._clock(), httpx.URL(self._url).host
        audit.append(conn, [
            audit.outgoing_entry(record.owner, now, "sync", to=host, what=f"/v1/records/{record.id}", status=200,
                message=batch.id)
            for record in batch.records
        ])  # fmt: skip

    async def _deliver(self, client: httpx.AsyncClient, batch: outbox.Batch) -> None:
        message = {
            "version": 1, "batch": batch.id, "site": self._settings.site, "records": [self._public(r) for r in batch.records],
        }  # fmt: skip
        sealed = await asyncio.to_thread(encrypt_batch, message, self._key)
        headers = {"Content-Type": "application/octet-stream", "X-Batch-Id": batch.id}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        try:
            async with (
                asyncio.timeout(_DEADLINE_S),
                client.stream("POST", self._url, content=sealed, headers=headers) as answer,
            ):
                confirmed = await _confirmed(answer)
        except httpx.HTTPError as e:
            raise DeliveryError(f"HQ cannot be reached ({type(e).__name__}: {e}).") from e
        except TimeoutError as e:
            raise DeliveryError(f"HQ did not confirm batch {batch.id} within {_DEADLINE_S:g} seconds.") from e
        if answer.status_code != 200 or confirmed != batch.id:  # a hotel's log-in page also says 200
            raise DeliveryError(f"HQ did not confirm batch {batch.id} (status {answer.status_code}).", _asked(answer))

    def _public(self, record: Record) -> dict[str, Any]:
        """What goes to HQ of a record: what the settings say, and never the picture."""
        chosen = self._settings.fields
        fields = {key: value for key, value in record.fields.items() if "*" in chosen or key in chosen}
        about: dict[str, Any] = {
            "id": record.id, "owner": record.owner, "created_at": record.created_at.isoformat(), "device": record.device,
            "source": record.source, "task": record.task, "pages": record.pages, "confidence": record.confidence,
            "warnings": [w["code"] for w in record.warnings], "fields": fields,
        }  # fmt: skip
        return about | ({"instruction": record.instruction, "text": record.text} if self._settings.text else {})

    def _size(self, record: Record) -> int:
        return len(json.dumps(self._public(record), ensure_ascii=False).encode())

    async def state(self) -> SyncState:
        """How far HQ lags behind, and why. Raises StoreUnavailable."""
        waiting = await self._database.read(outbox.waiting)
        known = await self._database.read(facts.get_state, _FACT)
        message, at = self._error or (None, None)
        return SyncState(
            waiting=waiting.records, oldest=waiting.oldest, sending=self._sending, next_run=self._due(self._clock()),
            last_success=None if known is None else datetime.fromisoformat(known), last_error=message, last_error_at=at,
        )  # fmt: skip


def _address(url: str | None) -> str:
    """HTTPS, or HTTP to this machine itself: the token must not travel in the open."""
    parsed = httpx.URL(url or "")
    if parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in {"127.0.0.1", "::1", "localhost"}):
        return str(parsed)
    raise ConfigError("'sync.url' is no address of an HQ.", hint="Write https://host/path.")


def _tls(settings: SyncSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    except OSError as e:  # SSLError is one
        raise ConfigError(f"'sync.ca_file' cannot be used: {e}.", hint="It is a PEM file of the authority's certificate.") from e


async def _confirmed(answer: httpx.Response) -> Any:
    """The batch that the answer names; None where it names none, or is too long to be HQ's."""
    data = bytearray()
    async for part in answer.aiter_bytes():
        data += part
        if len(data) > _MAX_ANSWER_BYTES:
            return None
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body.get("batch") if isinstance(body, dict) else None


def _asked(answer: httpx.Response) -> float:
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0
