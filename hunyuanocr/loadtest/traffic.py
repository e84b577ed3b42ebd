"""Clients as a shop has them: two tills, a scanner with jobs, a camera, somebody at the records. Each waits for its answer."""

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

_LATER = {429, 503}
_PAUSE_S = 0.02  # between two requests of a client
_REST_S = 2.0  # after a failure
_KEPT = 100  # records, until they are deleted
_FRAMES = 25  # of one connection
_WAIT_S = 60.0


@dataclass(frozen=True)
class Target:
    """Where the server is, and the key that it wants."""

    url: str
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}


class Traffic:
    """All clients until the time is over. What goes wrong is counted, never raised."""

    def __init__(self, target: Target, tally: RunStats, *, seed: int = 0, timeout_s: float = 300.0) -> None:
        self._target, self._tally, self._timeout_s = target, tally, timeout_s
        self._chance = random.Random(seed)  # noqa: S311 -- pictures, not secrets
        self._made: deque[str] = deque()  # records of this run
        self._began = time.monotonic()

    async def run(self, end: asyncio.Event) -> None:
        """Until `end`; what is being asked then is answered."""
        about: dict[str, Any] = {"base_url": self._target.url, "headers": self._target.headers | {"X-Device": "soak"}}
        async with httpx.AsyncClient(timeout=self._timeout_s, limits=httpx.Limits(max_connections=8), **about) as client:
            works: list[tuple[str, Callable[[], Awaitable[None]]]] = [
                ("ocr", lambda: self._ocr(client)), ("ocr", lambda: self._ocr(client)), ("job", lambda: self._job(client)),
                ("frame", self._camera), ("records", lambda: self._records(client)),
            ]  # fmt: skip
            await asyncio.gather(*(self._again(kind, work, end) for kind, work in works))
            await self._delete(client, len(self._made))

    async def _again(self, kind: str, work: Callable[[], Awaitable[None]], end: asyncio.Event) -> None:
        while not end.is_set():
            try:
                await work()
            except (httpx.HTTPError, OSError, TimeoutError, ValueError, KeyError, websockets.WebSocketException) as e:
                self._tally.failure(kind, f"{type(e).__name__}: {e}")
                await asyncio.sleep(_REST_S)
            await asyncio.sleep(_PAUSE_S)

    async def _asked(self, kind: str, request: Awaitable[httpx.Response], good: int = 200) -> httpx.Response | None:
        """The answer, counted and timed; None where there is none to go on with."""
        began = time.monotonic()
        answer = await request
        if answer.status_code in _LATER:
            self._tally.refused[kind] += 1
            await asyncio.sleep(min(float(answer.headers.get("retry-after", "1")), _WAIT_S))
            return None
        if answer.status_code != good:
            self._tally.failure(kind, f"{answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(_REST_S)
            return None
        self._done(kind, began)
        return answer

    def _done(self, kind: str, began: float) -> None:
        now = time.monotonic()
        self._tally.done(kind, now - self._began, now - began)

    async def _ocr(self, client: httpx.AsyncClient) -> None:
        data, total = await asyncio.to_thread(receipt, self._chance)
        form = {"instruction": INSTRUCTION}
        answer = await self._asked("ocr", client.post("/ocr", files={"file": data}, data=form))
        if answer is not None:
            self._tally.asked += 1
            self._made.append(answer.json()["id"])
            self._tally.right += total in str(answer.json()["fields"].get("total_amount"))

    async def _job(self, client: httpx.AsyncClient) -> None:
        data, _ = await asyncio.to_thread(receipt, self._chance)
        began = time.monotonic()
        sent = await client.post("/v1/jobs", files={"file": data}, data={"instruction": INSTRUCTION})
        if sent.status_code != 202:
            await self._asked("job", _already(sent), good=202)
            return
        id, status = sent.json()["id"], "queued"
        while status in ("queued", "running"):
            status = (await client.get(f"/v1/jobs/{id}", params={"wait": _WAIT_S})).json()["status"]
        if status == "done":
            self._done("job", began)
            self._made.append(id)
        else:
            self._tally.failure("job", status)

    async def _camera(self) -> None:
        """One connection: frames of two receipts, so that some show what was read last."""
        address = f"ws{self._target.url.removeprefix('http')}/v1/ws"
        scenes = [(await asyncio.to_thread(receipt, self._chance))[0] for _ in range(2)]
        async with connect(address, additional_headers=self._target.headers, max_size=None) as socket:
            for number in range(_FRAMES):
                head = json.dumps({"frame_id": number, "timestamp": float(number)}).encode()
                began = time.monotonic()
                await socket.send(len(head).to_bytes(4, "big") + head + scenes[number // 5 % 2])
                answer = await asyncio.wait_for(_reply(socket), self._timeout_s)
                if answer["status"] == "success":
                    self._done("frame", began)
                    self._made += [] if answer.get("unchanged") else [answer["result"]["id"]]
                elif answer["status"] == "failed":
                    self._tally.failure("frame", json.dumps(answer["error"]))
                await asyncio.sleep(_PAUSE_S)

    async def _records(self, client: httpx.AsyncClient) -> None:
        """Look, look closer, export, and delete what this run has made: what is kept does not grow for ever."""
        mine = {"device": "soak", "text": "Total"}
        await self._asked("records", client.get("/v1/records", params=mine | {"limit": "20"}))
        if self._made:
            await self._asked("records", client.get(f"/v1/records/{self._made[-1]}"))
        await self._asked("records", client.get("/v1/records/export", params=mine | {"format": "csv"}))
        await self._delete(client, len(self._made) - _KEPT)
        await asyncio.sleep(_REST_S)

    async def _delete(self, client: httpx.AsyncClient, count: int) -> None:
        for _ in range(count):
            gone = await client.delete(f"/v1/records/{self._made.popleft()}")
            if not gone.is_success and gone.status_code != httpx.codes.NOT_FOUND:
                self._tally.failure("records", f"delete {gone.status_code} {gone.text[:200]}")


async def _already(answer: httpx.Response) -> httpx.Response:
    return answer


async def _reply(socket: Any) -> dict[str, Any]:
    while True:
        answer: dict[str, Any] = json.loads(await socket.recv())
        if answer.get("status") in ("success", "skipped", "failed"):
            return answer
