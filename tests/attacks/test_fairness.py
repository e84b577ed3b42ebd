"""One client cannot starve the others: by many connections, by a long batch, by filling the queues. With the real HTTP server."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from api.app import create_app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.api_keys import DEFAULT_SCOPES, create_api_key
from hunyuanocr.store import keys
from hunyuanocr.store.database import Database
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend, picture

READING_S = 0.03
PICTURE = picture()


@contextmanager
def shop(*names: str, seconds: float = READING_S, **settings: Any) -> Iterator[tuple[str, list[dict[str, str]], FakeBackend]]:
    """A served appliance, the headers of a key for each name, and its reader."""
    chosen = Settings(security={"require_auth_on_loopback": True}, pipeline={"cache_mb": 0}, **settings)
    database, headers = Database(chosen.database_url), []
    with database.transaction() as session:
        for name in names:
            text, key = create_api_key(name, name, DEFAULT_SCOPES)
            keys.insert(session, key)
            headers.append({"X-API-Key": text})
    database.close()
    reader = FakeBackend(seconds)
    with served(create_app(chosen, Pipeline(reader, chosen))) as base:
        wait_ready(base)
        yield base, headers, reader


async def ask(client: httpx.AsyncClient, waits: list[float]) -> int:
    began = time.monotonic()
    status = (await client.post("/v1/ocr", files={"file": PICTURE})).status_code
    waits.append(time.monotonic() - began)
    return status


async def flood(client: httpx.AsyncClient, counts: Counter[int], until: asyncio.Event) -> None:
    """One connection: the next request follows the answer; a refusal is followed by a short rest, as impatient programs do it."""
    while not until.is_set():
        try:
            status = (await client.post("/v1/ocr", files={"file": PICTURE})).status_code
        except httpx.HTTPError:
            return
        counts[status] += 1
        if status != 200:
            await asyncio.sleep(0.1)


def test_thirty_requests_of_one_are_served_among_forty_connections_of_another() -> None:
    async def attack(base: str, headers: list[dict[str, str]]) -> tuple[list[int], list[float], Counter[int]]:
        limits = httpx.Limits(max_connections=50)
        async with (
            httpx.AsyncClient(base_url=base, headers=headers[0], timeout=60, limits=limits) as greedy,
            httpx.AsyncClient(base_url=base, headers=headers[1], timeout=60) as light,
        ):
            over: Any = asyncio.Event()
            counts: Counter[Any] = Counter()
            waits: list[Any] = []
            flooding = [asyncio.create_task(flood(greedy, counts, over)) for _ in range(40)]
            await asyncio.sleep(0.5)

            async def one_after_the_other() -> list[int]:
                return [await ask(light, waits) for _ in range(10)]

            answers = await asyncio.gather(*(one_after_the_other() for _ in range(3)))
            over.set()
            await asyncio.gather(*flooding)
            return [status for some in answers for status in some], waits, counts

    with shop("greedy", "light") as (base, headers, _):
        statuses, waits, counts = asyncio.run(attack(base, headers))
    assert statuses == [200] * 30, Counter(statuses)
    # Alone a request would wait for three readings, behind the others for forty; a busy machine delays single ones.
    assert statistics.median(waits) < 20 * READING_S, sorted(waits)
    assert set(counts) <= {200, 429}
    assert counts[200] > 20, "the greedy one has what is left"


def test_two_keys_with_equal_load_get_equal_shares() -> None:
    async def load(base: str, headers: list[dict[str, str]]) -> list[int]:
        over: Any = asyncio.Event()
        counts: list[Any] = [Counter(), Counter()]
        limits = httpx.Limits(max_connections=30)
        clients = [httpx.AsyncClient(base_url=base, headers=each, timeout=60, limits=limits) for each in headers]
        flooding = [asyncio.create_task(flood(clients[n], counts[n], over)) for n in range(2) for _ in range(24)]
        await asyncio.sleep(0.3)  # one of them begins first
        before = [count[200] for count in counts]
        await asyncio.sleep(3.0)
        after = [count[200] for count in counts]
        over.set()
        await asyncio.gather(*flooding)
        for client in clients:
            await client.aclose()
        return [late - early for early, late in zip(before, after, strict=True)]

    with shop("one", "two") as (base, headers, _):
        shares = asyncio.run(load(base, headers))
    assert min(shares) > 10
    assert max(shares) / min(shares) <= 1.2, shares


def test_a_job_is_next_though_another_key_has_sent_a_batch_of_a_thousand() -> None:
    with (
        shop("greedy", "light", seconds=0.02) as (base, (greedy, light), reader),
        httpx.Client(base_url=base, timeout=60) as client,
    ):
        files = [("file", (f"{n}.png", PICTURE)) for n in range(1000)]
        batch = client.post("/v1/batch", files=files, headers=greedy)
        assert batch.status_code == 202, batch.text
        while not reader.ended:
            time.sleep(0.01)
        before = reader.ended
        job = client.post("/v1/jobs", files={"file": PICTURE}, headers=light).json()
        assert job["ahead"] in (0, None)
        seen = client.get(f"/v1/jobs/{job['id']}?wait=30", headers=light).json()
        assert seen["status"] == "done"
        assert reader.ended - before < 40, "a second's worth of readings, and not a thousand"
        more = client.post("/v1/jobs", files={"file": PICTURE}, headers=greedy)
        assert more.status_code in (202, 429)
        counts = client.get(batch.headers["location"], headers=greedy).json()
        assert counts["queued"] > 900, counts
        client.delete(batch.headers["location"], headers=greedy)


def test_a_request_at_the_counter_passes_jobs_and_jobs_go_on_all_the_same() -> None:
    with shop("till", "office") as (base, (till, office), _), httpx.Client(base_url=base, timeout=60) as client:
        files = [("file", (f"{n}.png", PICTURE)) for n in range(30)]
        batch = client.post("/v1/batch", files=files, headers=office).headers["location"]

        async def counter() -> None:
            async with httpx.AsyncClient(base_url=base, headers=till, timeout=60) as busy:
                await asyncio.gather(*(ask(busy, []) for _ in range(20)))

        asyncio.run(counter())
        done = client.get(batch, headers=office).json()["done"]
        assert 1 <= done <= 12, done
