"""Load test of cameras: many open connections, some of which send faster than the backend can process.

    python bench/ws_load.py [--connections 2000] [--senders 50] [--fps 5] [--seconds 60] [--reader-ms 50] [--save FILE]

The server is a child process with a backend that takes a fixed time; the cameras are other child processes. Every frame differs
from the previous one by a digit (some show the last result again, and are answered as unchanged). Latency is measured by the
camera, from sending a frame to its result. Prints a table and exits 1 if a limit is not met. With few senders (`--senders 3`) the
backend keeps up, and the important figure is the share of frames with a result within 300 ms after their processing time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import uvicorn
import websockets
from fastapi import FastAPI

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # tests/ is not installed

from api.app import create_app  # noqa: E402
from api.uvicorn_config import uvicorn_options  # noqa: E402
from hunyuanocr.backends.base import BackendName, Health  # noqa: E402
from hunyuanocr.config import CameraSettings, NetworkSettings, PipelineSettings, Settings, StoreSettings  # noqa: E402
from hunyuanocr.pipeline import Pipeline  # noqa: E402
from hunyuanocr.types import Page, Reading, Task, TaskKind, TextDelta  # noqa: E402
from tests.services.camera.pictures import receipt, shot  # noqa: E402

BARS = {"skips p99 ms": 250.0, "longest gap between readings s": 4.0, "loop lag p99 ms": 50.0, "frames not answered once": 0.0}
_LATE_MS = 300.0  # in addition to the processing time
_TICK_S = 0.01
_DRAIN_S = 15.0


class FixedReader:
    """A backend that takes a fixed time and returns it."""

    name, model, tasks = BackendName.PPOCR, "fixed", frozenset({TaskKind.READ})
    scripts = ()

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def start(self) -> None: ...

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Reading]:
        await asyncio.sleep(self.seconds)
        yield Reading("TOTAL 36.80")

    async def health(self) -> Health:
        return Health(True, "ready")

    async def close(self) -> None: ...


async def serve(reader_s: float) -> None:
    """Run the server: print the port, serve until stopped; `/bench` returns memory and lag since its last call."""
    settings = Settings(
        data=Path(tempfile.mkdtemp()),
        store=StoreSettings(enabled=False),
        pipeline=PipelineSettings(cache_mb=0),
        camera=CameraSettings(connections=100_000),
        network=NetworkSettings(connections=100_000, connections_per_address=100_000, requests_per_minute_per_ip=0),
    )
    app: FastAPI = create_app(settings, Pipeline(FixedReader(reader_s), settings))
    lags: list[float] = []

    @app.get("/bench")
    async def bench() -> dict[str, Any]:
        found, lags[:] = list(lags), []
        return {"rss": psutil.Process().memory_info().rss, "lags": found, "cpu": sum(psutil.Process().cpu_times()[:2])}

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(_TICK_S)
            lags.append(loop.time() - began - _TICK_S)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", **uvicorn_options(settings)))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    watching = asyncio.create_task(watch())
    await serving
    watching.cancel()


def frames() -> list[str]:
    """Return receipts in Base64 that differ by a digit."""
    return [base64.b64encode(shot(receipt(f"3{n}.80", (640, 480)), n, 2.0)).decode() for n in range(10)]


class Sender:
    """A sending camera, and the times of its results."""

    def __init__(self, socket: Any, fps: float) -> None:
        self.socket, self.fps = socket, fps
        self.sent: dict[int, float] = {}
        self.answered: list[tuple[int, float, str, float]] = []  # ID, time, kind, milliseconds of processing

    async def send(self, pictures: list[str], start: float, seconds: float) -> None:
        phase = random.random() / self.fps
        for number in range(int(seconds * self.fps)):
            await asyncio.sleep(max(0.0, start + phase + number / self.fps - time.monotonic()))
            message = json.dumps({"frame_id": number, "timestamp": number / self.fps, "image": pictures[number % len(pictures)]})
            self.sent[number] = time.monotonic()
            await self.socket.send(message)

    async def listen(self) -> None:
        async for text in self.socket:
            message = json.loads(text)
            if message.get("type") != "answer":
                continue
            how = "unchanged" if message.get("unchanged") else message["status"]
            reading = message.get("result", {}).get("elapsed_ms", 0.0)
            self.answered.append((message["frame_id"], time.monotonic(), how, reading))

    def report(self, start: float) -> dict[str, Any]:
        ids = [a[0] for a in self.answered]
        reads = [start, *sorted(when for _, when, how, _ in self.answered if how == "success"), max(self.sent.values())]
        return {
            "wrong": len(self.sent) - len(set(ids)) + len(ids) - len(set(ids)),
            "skips": [1000 * (when - self.sent[n]) for n, when, how, _ in self.answered if how == "skipped"],
            "beyond": [1000 * (when - self.sent[n]) - reading for n, when, how, reading in self.answered if how == "success"],
            "unchanged": sum(how == "unchanged" for _, _, how, _ in self.answered),
            "failed": sum(how == "failed" for _, _, how, _ in self.answered),
            "gap": max(b - a for a, b in itertools.pairwise(reads)),
        }


async def be_cameras(url: str, connections: int, senders: int, fps: float, seconds: float) -> None:
    """Run the cameras: connect, report it, wait for the start signal, send, print the results."""
    sockets: list[Any] = []
    for first in range(0, connections, 50):
        opening = (_open(url) for _ in range(min(50, connections - first)))
        sockets += await asyncio.gather(*opening)
    pictures = frames()
    print("connected", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    active = [Sender(socket, fps) for socket in sockets[:senders]]
    listening = [asyncio.create_task(s.listen()) for s in active]
    start = time.monotonic()
    await asyncio.gather(*(s.send(pictures, start, seconds) for s in active))
    end = time.monotonic() + _DRAIN_S
    while time.monotonic() < end and any(len(s.answered) < len(s.sent) for s in active):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    lost = sum(socket.state is not websockets.State.OPEN for socket in sockets)
    print(json.dumps({"lost": lost, "cameras": [s.report(start) for s in active]}), flush=True)
    for task in listening:
        task.cancel()
    await asyncio.to_thread(sys.stdin.readline)  # keep the connections open until all processes have finished


async def _open(url: str) -> Any:
    return await websockets.connect(url, compression=None, max_size=None, open_timeout=60, ping_interval=None)


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    if process.stdout is None or not (line := process.stdout.readline()):
        raise RuntimeError("a child ended early")
    return line


def send_start(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.write("\n")
        process.stdin.flush()


def measure(a: argparse.Namespace) -> dict[str, Any]:
    """Run server and cameras, and return the figures."""
    server = child("--role", "server", "--reader-ms", str(a.reader_ms))
    cameras: list[subprocess.Popen[str]] = []
    try:
        port = int(line_of(server))
        ask = lambda: httpx.get(f"http://127.0.0.1:{port}/bench", timeout=60).json()  # noqa: E731
        while httpx.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code != 200:
            time.sleep(0.05)
        empty = ask()
        for n in range(a.clients):
            share = [(whole + n) // a.clients for whole in (a.connections, a.senders)]
            cameras.append(
                child(
                    "--role",
                    "cameras",
                    "--url",
                    f"ws://127.0.0.1:{port}/v1/ws",
                    "--connections",
                    str(share[0]),
                    "--senders",
                    str(share[1]),
                    "--fps",
                    str(a.fps),
                    "--seconds",
                    str(a.seconds),
                )
            )
        for camera in cameras:
            line_of(camera)
        time.sleep(1.0)
        held = ask()
        for camera in cameras:
            send_start(camera)
        reports = [json.loads(line_of(camera)) for camera in cameras]
        busy = ask()
        for camera in cameras:
            send_start(camera)
        return figures(a, empty, held, busy, reports)
    finally:
        for process in (*cameras, server):
            process.terminate()
            process.wait(30)


def figures(
    a: argparse.Namespace, empty: dict[str, Any], held: dict[str, Any], busy: dict[str, Any], reports: list[dict[str, Any]]
) -> dict[str, Any]:
    cameras = [c for r in reports for c in r["cameras"]]
    skips = [ms for c in cameras for ms in c["skips"]]
    beyond = [ms for c in cameras for ms in c["beyond"]]
    return {
        "connections held": a.connections, "connections lost": sum(r["lost"] for r in reports),
        "senders": a.senders, "frames a second of each": a.fps, "seconds": a.seconds,
        "frames sent": round(a.seconds * a.fps) * len(cameras), "frames not answered once": sum(c["wrong"] for c in cameras),
        "frames read": len(beyond), "frames skipped": len(skips), "frames unchanged": sum(c["unchanged"] for c in cameras),
        "frames failed": sum(c["failed"] for c in cameras),
        "skips p50 ms": _percentile(skips, 50), "skips p99 ms": _percentile(skips, 99),
        "reads beyond the reading p50 ms": _percentile(beyond, 50),
        "share within 300 ms beyond the reading": round(float(np.mean([ms <= _LATE_MS for ms in beyond])), 5) if beyond else 0.0,
        "longest gap between readings s": round(max(c["gap"] for c in cameras), 2),
        "loop lag p50 ms": _percentile([1000 * s for s in busy["lags"]], 50),
        "loop lag p99 ms": _percentile([1000 * s for s in busy["lags"]], 99),
        "memory of an idle connection KB": round((held["rss"] - empty["rss"]) / a.connections / 1000, 1),
        "memory of the server MB": round(busy["rss"] / 1e6),
        "server's CPU share": round((busy["cpu"] - held["cpu"]) / a.seconds, 2),
        "cores": os.cpu_count(), "load before": a.load,
    }  # fmt: skip


def _percentile(values: list[float], p: float) -> float:
    return round(float(np.percentile(values, p)), 1) if values else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--connections", type=int, default=2000)
    add("--senders", type=int, default=50)
    add("--fps", type=float, default=5.0)
    add("--seconds", type=float, default=60.0)
    add("--reader-ms", type=float, default=50.0)
    add("--clients", type=int, default=2, help="Number of camera processes.")
    add("--save", type=Path, help="JSON file for the figures.")
    add("--role", choices=("server", "cameras"), help=argparse.SUPPRESS)
    add("--url", help=argparse.SUPPRESS)
    a = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if a.role == "server":
        asyncio.run(serve(a.reader_ms / 1000))
        return 0
    if a.role == "cameras":
        asyncio.run(be_cameras(a.url, a.connections, a.senders, a.fps, a.seconds))
        return 0
    a.load = round(os.getloadavg()[0], 1)
    found = measure(a)
    for name, value in found.items():
        bar = "" if name not in BARS else f"   bar {BARS[name]:g}" + ("" if value <= BARS[name] else "   MISSED")
        print(f"{name:<42}{value:>10}{bar}")
    if a.save:
        a.save.write_text(json.dumps(found, indent=1) + "\n")
    return int(found["connections lost"] > 0 or any(found[name] > bar for name, bar in BARS.items()))


if __name__ == "__main__":
    sys.exit(main())
