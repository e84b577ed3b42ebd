"""Traffic of a shop: two OCR clients, a scanner with jobs, a camera, a user of the records. Each waits for its response."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import connect

from hunyuanocr.loadtest.receipts import INSTRUCTION, receipt
from hunyuanocr.loadtest.stats import RunStats

_RETRY_STATUS = {429, 503}
_PAUSE_S = 0.02  # between two requests of a client
_BACKOFF_S = 2.0  # after a failure
_MAX_RECORDS = 100  # kept until they are deleted
_FRAMES = 25  # per connection
_MAX_WAIT_S = 60.0


@dataclass(frozen=True)
class Target:
    """URL and API key of the server."""

    url: str
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers for every request."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


class Traffic:
    """All clients of the load test. Errors are counted, never raised."""

    def __init__(self, target: Target, stats: RunStats, *, seed: int = 0, timeout_s: float = 300.0) -> None:
        self._target, self._stats, self._timeout_s = target, stats, timeout_s
        self._rng = random.Random(seed)  # noqa: S311 -- images, not secrets
        self._record_ids: deque[str] = deque()  # records of this run
        self._started_at = time.monotonic()

    async def run(self, end: asyncio.Event) -> None:
        """Send requests until `end`, and finish the current ones."""
        options: dict[str, Any] = {"base_url": self._target.url, "headers": self._target.headers | {"X-Device": "soak"}}
        async with httpx.AsyncClient(timeout=self._timeout_s, limits=httpx.Limits(max_connections=8), **options) as client:
            works: list[tuple[str, Callable[[], Awaitable[None]]]] = [
                ("ocr", lambda: self._ocr(client)),
                ("ocr", lambda: self._ocr(client)),
                ("job", lambda: self._job(client)),
                ("frame", self._camera),
                ("records", lambda: self._records(client)),
            ]
            await asyncio.gather(*(self._repeat(kind, work, end) for kind, work in works))
            await self._delete(client, len(self._record_ids))

    async def _repeat(self, kind: str, work: Callable[[], Awaitable[None]], end: asyncio.Event) -> None:
        while not end.is_set():
            try:
                await work()
            except (httpx.HTTPError, OSError, TimeoutError, ValueError, KeyError, websockets.WebSocketException) as e:
                self._stats.failure(kind, f"{type(e).__name__}: {e}")
                await asyncio.sleep(_BACKOFF_S)
            await asyncio.sleep(_PAUSE_S)

    async def _send(self, kind: str, request: Awaitable[httpx.Response], expected: int = 200) -> httpx.Response | None:
        """Return the response, counted and timed; None if it is not the expected status."""
        started_at = time.monotonic()
        response = await request
        if response.status_code in _RETRY_STATUS:
            self._stats.refused[kind] += 1
            await asyncio.sleep(min(float(response.headers.get("retry-after", "1")), _MAX_WAIT_S))
            return None
        if response.status_code != expected:
            self._stats.failure(kind, f"{response.status_code} {response.text[:200]}")
            await asyncio.sleep(_BACKOFF_S)
            return None
        self._done(kind, started_at)
        return response

    def _done(self, kind: str, started_at: float) -> None:
        now = time.monotonic()
        self._stats.done(kind, now - self._started_at, now - started_at)

    async def _ocr(self, client: httpx.AsyncClient) -> None:
        data, total = await asyncio.to_thread(receipt, self._rng)
        form = {"instruction": INSTRUCTION}
        response = await self._send("ocr", client.post("/ocr", files={"file": data}, data=form))
        if response is not None:
            self._stats.asked += 1
            self._record_ids.append(response.json()["id"])
            self._stats.right += total in str(response.json()["fields"].get("total_amount"))

    async def _job(self, client: httpx.AsyncClient) -> None:
        data, _ = await asyncio.to_thread(receipt, self._rng)
        started_at = time.monotonic()
        response = await client.post("/v1/jobs", files={"file": data}, data={"instruction": INSTRUCTION})
        if response.status_code != 202:
            await self._send("job", _completed(response), expected=202)
            return
        id, status = response.json()["id"], "queued"
        while status in ("queued", "running"):
            status = (await client.get(f"/v1/jobs/{id}", params={"wait": _MAX_WAIT_S})).json()["status"]
        if status == "done":
            self._done("job", started_at)
            self._record_ids.append(id)
        else:
            self._stats.failure("job", status)

    async def _camera(self) -> None:
        """Open one connection and send frames of two receipts, so that some frames are unchanged."""
        address = f"ws{self._target.url.removeprefix('http')}/v1/ws"
        scenes = [(await asyncio.to_thread(receipt, self._rng))[0] for _ in range(2)]
        async with connect(address, additional_headers=self._target.headers, max_size=None) as socket:
            for number in range(_FRAMES):
                head = json.dumps({"frame_id": number, "timestamp": float(number)}).encode()
                started_at = time.monotonic()
                await socket.send(len(head).to_bytes(4, "big") + head + scenes[number // 5 % 2])
                reply = await asyncio.wait_for(_reply(socket), self._timeout_s)
                if reply["status"] == "success":
                    self._done("frame", started_at)
                    self._record_ids += [] if reply.get("unchanged") else [reply["result"]["id"]]
                elif reply["status"] == "failed":
                    self._stats.failure("frame", json.dumps(reply["error"]))
                await asyncio.sleep(_PAUSE_S)

    async def _records(self, client: httpx.AsyncClient) -> None:
        """List, get and export records, and delete those of this run, so that storage does not grow."""
        mine = {"device": "soak", "text": "Total"}
        await self._send("records", client.get("/v1/records", params=mine | {"limit": "20"}))
        if self._record_ids:
            await self._send("records", client.get(f"/v1/records/{self._record_ids[-1]}"))
        await self._send("records", client.get("/v1/records/export", params=mine | {"format": "csv"}))
        await self._delete(client, len(self._record_ids) - _MAX_RECORDS)
        await asyncio.sleep(_BACKOFF_S)

    async def _delete(self, client: httpx.AsyncClient, count: int) -> None:
        for _ in range(count):
            response = await client.delete(f"/v1/records/{self._record_ids.popleft()}")
            if not response.is_success and response.status_code != httpx.codes.NOT_FOUND:
                self._stats.failure("records", f"delete {response.status_code} {response.text[:200]}")


async def _completed(response: httpx.Response) -> httpx.Response:
    return response


async def _reply(socket: Any) -> dict[str, Any]:
    while True:
        reply: dict[str, Any] = json.loads(await socket.recv())
        if reply.get("status") in ("success", "skipped", "failed"):
            return reply
