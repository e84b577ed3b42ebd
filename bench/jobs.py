"""The overhead of jobs compared with the same pipeline in process: the same receipts both ways, cache off.

    python bench/jobs.py [--receipts 200] [--backend ppocr] [--url postgresql://…]

Receipts are synthetic. In process they run with the backend's concurrency. As jobs they are all submitted first (over HTTP, to a
server on loopback with a separate database); the time is measured from the start of the first one until the last one is done and
recorded. Exits 1 if jobs take more than 1.05 times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx
from sqlalchemy import Connection, func, select

from api.app import create_app
from hunyuanocr.backends import create_backend
from hunyuanocr.backends.base import Health
from hunyuanocr.config import Settings, load_settings
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.loadtest.receipts import draw_text
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.store.tables import jobs as table

BAR = 1.05
INSTRUCTION = "total, date"
_LOOK_S = 0.02


def receipt(number: int) -> bytes:
    """Return a small receipt; each differs."""
    lines = ("CORNER SHOP", f"Receipt {number:05d}", "Date: 2026-03-14", "Tea  9.00", f"Total: ${number % 90 + 10}.80")
    return draw_text(lines, font_size=30, spacing=2.3)


async def in_process(pipeline: Pipeline, receipts: list[bytes]) -> float:
    """Return the seconds for all receipts in process."""
    waiting = iter(receipts)
    task = parse_instruction(INSTRUCTION)

    async def worker() -> None:
        for data in waiting:
            await pipeline.run(Request(data, task))

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(pipeline.concurrency)))
    return time.perf_counter() - began


async def as_jobs(pipeline: Pipeline, settings: Settings, receipts: list[bytes]) -> float:
    """Return the seconds for all receipts as jobs, from the start of the first to the record of the last."""
    app = create_app(settings, pipeline)
    services = app.state.services
    transport = httpx.ASGITransport(app)
    health, held = pipeline.health, asyncio.Event()

    async def not_yet() -> Health:  # workers wait until the backend is ready, so that all jobs are queued first
        found = await health()
        return found if held.is_set() else Health(False, "not yet")

    pipeline.health = not_yet  # type: ignore[method-assign]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bench", timeout=600) as client,
    ):
        for data in receipts:
            (await client.post("/v1/jobs", files={"file": data}, data={"instruction": INSTRUCTION})).raise_for_status()
        began = time.perf_counter()
        held.set()
        while await services.store.read(_open):  # noqa: ASYNC110 -- the state that a client would see
            await asyncio.sleep(_LOOK_S)
        seconds = time.perf_counter() - began
        found = (await client.get("/v1/jobs", params={"status": "done", "limit": 200})).json()["data"]
        if len(found) != min(200, len(receipts)):
            sys.exit("some jobs failed")
    return seconds


def _open(session: Connection) -> int:
    return session.scalar(select(func.count()).where(table.c.status.in_(("queued", "running"))))


async def run(count: int, backend: str, url: str | None) -> int:
    receipts = [receipt(n) for n in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        store = {} if url is None else {"url": url}
        settings = load_settings(
            backend=backend, data=Path(folder), pipeline={"cache_mb": 0}, store=store, jobs={"queue": max(1000, count)}
        )
        reader, why = create_backend(settings)
        pipeline = Pipeline(reader, settings)
        await pipeline.start()
        await in_process(pipeline, receipts[:3])
        direct = await in_process(pipeline, receipts)
        jobs = await as_jobs(pipeline, settings, receipts)  # closes the pipeline
    print(why)
    print(f"{count} receipts: in process {direct:.2f} s, as jobs {jobs:.2f} s: {jobs / direct:.3f} times (limit {BAR})")
    return int(jobs / direct > BAR)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--receipts", type=int, default=200)
    parser.add_argument("--backend", default="ppocr")
    parser.add_argument("--url")
    args = parser.parse_args()
    sys.exit(asyncio.run(run(args.receipts, args.backend, args.url)))
