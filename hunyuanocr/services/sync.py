"""Send records to HQ on a schedule: encrypted batches, oldest first, at least once; HQ removes duplicates by their ids."""

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

_TIMEOUT_S = 60.0  # without receiving a byte
_MAX_RESPONSE_BYTES = 64 * 1024
_FIRST_RETRY_S, _MAX_RETRY_S = 2.0, 900.0  # between two attempts; doubled each time
_MAX_RETRY_AFTER_S = 3600.0  # longest `Retry-After` that is respected
_POLL_INTERVAL_S = 60.0  # how often the wall clock is read: it may be changed
_LATEST_RUN, _FIRST_RUN = "sync", "sync_first"  # keys of the state: latest run, first start of the sync


class DeliveryError(Exception):
    """HQ did not accept a batch; `wait`: seconds that HQ asked to wait."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class SyncState:
    """State of the sync, for operators."""

    waiting: int
    oldest: datetime | None
    sending: bool
    next_run: datetime
    last_success: datetime | None
    last_error: str | None
    last_error_at: datetime | None


class Sync:
    """Sender of records. `clock` is the wall clock; `sleep`, `spread` and `transport` are replaced in tests.

    A run sends until the backlog is empty. A failed attempt is repeated after 2 s, 4 s … 15 min, each shortened at random by up
    to a half so that many shops do not send at the same time, for as long as it takes: weeks. Between attempts the backlog is
    not in memory. A run that was missed while the machine was off starts with the program. Raises ConfigError for invalid
    settings.
    """

    def __init__(
        self,
        database: Database,
        settings: SyncSettings,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[float, float], float] = random.uniform,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._database, self._settings = database, settings
        self._clock, self._sleep, self._spread, self._transport = clock, sleep, spread, transport
        self.max_batch_bytes = 4_000_000  # before compression; limits the memory for the backlog
        self.max_batch_records = outbox.MAX_RECORDS
        self.deadline_s = 600.0  # for sending one batch over a slow line and its confirmation
        self._url = _address(settings.url)
        self._key = public_key(settings.public_key or "")
        self._tls = _tls(settings)
        self._due(clock())  # raises ConfigError for an invalid schedule
        self._since = clock()
        self._sending = False
        self._error: tuple[str, datetime] | None = None

    async def run(self) -> None:
        """Send on schedule until cancelled."""
        while True:
            try:
                await self._recall()
                break
            except StoreUnavailable:
                await self._sleep(_POLL_INTERVAL_S)
        while True:
            self._since = min(self._since, self._clock())  # a clock that was set back must not pause the sync for a year
            wait = (self._due(self._since) - self._clock()).total_seconds()
            if wait > 0:
                await self._sleep(min(wait, _POLL_INTERVAL_S))
                continue
            await self.send_all()
            self._since = self._clock()

    async def _recall(self) -> None:
        known = await self._database.read(facts.get_state, _LATEST_RUN) or await self._database.read(facts.get_state, _FIRST_RUN)
        if known is None:  # a shop that is switched off every night also makes up for its first run
            known = self._since.isoformat()
            await self._database.write(facts.set_state, _FIRST_RUN, known)
        self._since = datetime.fromisoformat(known)

    def _due(self, since: datetime) -> datetime:
        try:
            return next(CronSim(self._settings.schedule, since.astimezone()))
        except (CronSimError, StopIteration) as e:
            message = f"'sync.schedule' is not a cron expression: {self._settings.schedule!r}."
            raise ConfigError(message, hint='For example "0 3 * * *".') from e

    async def send_all(self) -> None:
        """Send until the backlog is empty; retry for as long as HQ is unavailable."""
        failures, self._sending = 0, True
        try:
            async with httpx.AsyncClient(
                timeout=_TIMEOUT_S, verify=self._tls, follow_redirects=False, trust_env=False, transport=self._transport
            ) as client:
                while True:
                    try:
                        if not await self._send_one(client):
                            await self._database.write(facts.set_state, _LATEST_RUN, self._clock().isoformat())
                            self._error = None
                            return
                        failures = 0
                    except (DeliveryError, StoreUnavailable) as e:
                        failures += 1
                        await self._back_off(failures, e)
                    except Exception as e:  # a bug must not stop the sync permanently
                        log.exception("Unexpected error while sending records.")
                        failures += 1
                        await self._back_off(failures, DeliveryError(f"Internal error ({type(e).__name__})."))
        finally:
            self._sending = False

    async def _back_off(self, failures: int, error: DeliveryError | StoreUnavailable) -> None:
        if failures == 1:
            log.warning("Records could not be sent; they are kept and sent later: %s", error)
        self._error = str(error), self._clock()
        delay = min(_MAX_RETRY_S, _FIRST_RETRY_S * 2 ** min(failures - 1, 20))
        requested = min(getattr(error, "wait", 0.0), _MAX_RETRY_AFTER_S)
        await self._sleep(max(self._spread(delay / 2, delay), requested))

    async def _send_one(self, client: httpx.AsyncClient) -> bool:
        """Send one batch and remove it from the outbox; return False if the outbox is empty."""
        batch = await self._database.write(outbox.next_batch, self._size, self.max_batch_bytes, self.max_batch_records)
        if batch is None:
            return False
        if batch.records:  # empty if they were deleted before they were sent
            await self._deliver(client, batch)
        await self._database.write(self._confirm, batch)
        return True

    def _confirm(self, conn: Connection, batch: outbox.Batch) -> None:
        outbox.confirm(conn, batch.id)
        now, host = self._clock(), httpx.URL(self._url).host
        audit.append(
            conn,
            [
                audit.outgoing_entry(
                    record.owner, now, "sync", to=host, what=f"/v1/records/{record.id}", status=200, message=batch.id
                )
                for record in batch.records
            ],
        )

    async def _deliver(self, client: httpx.AsyncClient, batch: outbox.Batch) -> None:
        message = {
            "version": 1,
            "batch": batch.id,
            "site": self._settings.site,
            "records": [self._public(r) for r in batch.records],
        }
        encrypted = await asyncio.to_thread(encrypt_batch, message, self._key)
        headers = {"Content-Type": "application/octet-stream", "X-Batch-Id": batch.id}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        try:
            async with (
                asyncio.timeout(self.deadline_s),
                client.stream("POST", self._url, content=encrypted, headers=headers) as response,
            ):
                confirmed = await _confirmed_batch(response)
        except httpx.HTTPError as e:
            raise DeliveryError(f"HQ cannot be reached ({type(e).__name__}: {e}).") from e
        except TimeoutError as e:
            raise DeliveryError(f"HQ did not confirm batch {batch.id} within {self.deadline_s:g} seconds.") from e
        if response.status_code != 200 or confirmed != batch.id:  # a captive portal also answers 200
            wait = _retry_after(response)
            raise DeliveryError(f"HQ did not confirm batch {batch.id} (status {response.status_code}).", wait)

    def _public(self, record: Record) -> dict[str, Any]:
        """Return what is sent to HQ of a record: as set in the settings, never the image."""
        selected = self._settings.fields
        fields = {key: value for key, value in record.fields.items() if "*" in selected or key in selected}
        data: dict[str, Any] = {
            "id": record.id, "owner": record.owner, "created_at": record.created_at.isoformat(), "device": record.device,
            "source": record.source, "task": record.task, "pages": record.pages, "confidence": record.confidence,
            "warnings": [w["code"] for w in record.warnings], "fields": fields,
        }  # fmt: skip
        return data | ({"instruction": record.instruction, "text": record.text} if self._settings.text else {})

    def _size(self, record: Record) -> int:
        return len(json.dumps(self._public(record), ensure_ascii=False).encode())

    async def state(self) -> SyncState:
        """Return the backlog and the latest error. Raises StoreUnavailable."""
        backlog = await self._database.read(outbox.waiting)
        known = await self._database.read(facts.get_state, _LATEST_RUN)
        message, at = self._error or (None, None)
        return SyncState(
            waiting=backlog.records,
            oldest=backlog.oldest,
            sending=self._sending,
            next_run=self._due(self._clock()),
            last_success=None if known is None else datetime.fromisoformat(known),
            last_error=message,
            last_error_at=at,
        )


def _address(url: str | None) -> str:
    """Return the URL. Raises ConfigError unless it is HTTPS, or HTTP to this machine: the token must be encrypted in transit."""
    parsed = httpx.URL(url or "")
    if parsed.scheme == "https" or (parsed.scheme == "http" and parsed.host in {"127.0.0.1", "::1", "localhost"}):
        return str(parsed)
    raise ConfigError("'sync.url' must be an HTTPS URL.", hint="Use https://host/path.")


def _tls(settings: SyncSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    except OSError as e:  # SSLError is one
        raise ConfigError(f"Cannot use 'sync.ca_file': {e}.", hint="Use the PEM file of the CA certificate.") from e


async def _confirmed_batch(response: httpx.Response) -> Any:
    """Return the batch id in the response; None if it has none or is too long to come from HQ."""
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > _MAX_RESPONSE_BYTES:
            return None
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body.get("batch") if isinstance(body, dict) else None


def _retry_after(response: httpx.Response) -> float:
    seconds = response.headers.get("retry-after", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0
