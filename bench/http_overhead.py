"""The overhead of HTTP compared with the same pipeline in process, on the same images, cache off.

    python bench/http_overhead.py FOLDER [--rounds 3] [--pictures 8]

Each image is processed both ways in alternating order, so that other load on the machine affects both.
Reports the median of the pairs' ratios, and, without the noise between two runs, the share of one request's time that is not
spent in the pipeline (wall time at the client minus `elapsed_ms` of the response). Exits 1 if the latter is 5 % or more.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import uvicorn

from api.app import create_app
from hunyuanocr.backends import create_backend
from hunyuanocr.config import PipelineSettings, Settings
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request

INSTRUCTION = "提取总金额和日期"
BAR = 1.05


Way = Callable[[bytes], None]


def measure(pictures: list[bytes], rounds: int, direct: Way, http: Way) -> list[tuple[float, float]]:
    """Return the seconds in process and over HTTP of each image in each round."""
    pairs = []
    for turn in range(rounds):
        for n, data in enumerate(pictures):
            seconds = {}
            for way in (direct, http) if (turn + n) % 2 else (http, direct):
                began = time.perf_counter()
                way(data)
                seconds[way] = time.perf_counter() - began
            pairs.append((seconds[direct], seconds[http]))
    return pairs


def run(folder: Path, rounds: int, count: int) -> int:
    pictures = [p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix.lower() in (".jpg", ".jpeg", ".png")][:count]
    if not pictures:
        sys.exit(f"{folder} holds no pictures")
    settings = Settings(pipeline=PipelineSettings(cache_mb=0))
    backend, why = create_backend(settings)
    pipeline = Pipeline(backend, settings)
    loops: list[asyncio.AbstractEventLoop] = []

    class Server(uvicorn.Server):
        async def serve(self, sockets: list | None = None) -> None:
            loops.append(asyncio.get_running_loop())
            await super().serve(sockets)

    app = create_app(settings, pipeline)
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    client = httpx.Client(base_url=base, timeout=120)
    while client.get("/ready").status_code != 200:
        time.sleep(0.1)

    def direct(data: bytes) -> None:  # on the server's event loop, with the same pipeline
        asyncio.run_coroutine_threadsafe(pipeline.run(Request(data, parse_instruction(INSTRUCTION))), loops[0]).result()

    shares: list[float] = []

    def http(data: bytes) -> None:
        began = time.perf_counter()
        form = {"instruction": INSTRUCTION}
        answer = client.post("/v1/ocr", files={"file": ("a.jpg", data, "image/jpeg")}, data=form).raise_for_status().json()
        shares.append((time.perf_counter() - began) / (answer["elapsed_ms"] / 1000))

    measure(pictures[:1], 1, direct, http)
    pairs = measure(pictures, rounds, direct, http)
    server.should_exit = True
    thread.join()
    ratio = statistics.median(h / d for d, h in pairs)
    inside, outside = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    print(f"{why}\n{len(pairs)} pairs on {len(pictures)} images")
    print(f"in process {inside:.3f} s, over HTTP {outside:.3f} s (medians)")
    share = statistics.median(shares[1:])
    print(f"HTTP adds {100 * (ratio - 1):+.1f} % (median of the pairs' ratios)")
    print(f"HTTP adds {100 * (share - 1):+.1f} % to the pipeline's time (median; limit {100 * (BAR - 1):.0f} %)")
    return int(share >= BAR)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=8)
    args = parser.parse_args()
    sys.exit(run(args.folder, args.rounds, args.pictures))
