"""What the appliance costs on top of vLLM: the same picture and words straight to the engine, and through our `/ocr`.

    python bench/vllm_overhead.py [--model-path FOLDER] [--device cpu] [--vram-gb 5] [--requests 40] [--evidence none]

Without a folder a checkpoint with random weights serves. Rounds of both ways follow one another in turn on the same engine, cache
off. Exits 1 where the appliance makes less than 0.95 of the direct requests per second, or adds more than 15 ms (median).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import uvicorn
from PIL import Image, ImageDraw, ImageFont

from api.app import create_app
from hunyuanocr.backends import create_witness
from hunyuanocr.backends.vllm_server import VllmGenerator
from hunyuanocr.backends.vlm import VlmBackend
from hunyuanocr.config import PipelineSettings, Settings, TorchSettings
from hunyuanocr.instructions import understand
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.prompts import ask

CLIENTS = (1, 4, 8)
ROUNDS = 3
LEAST_RATE, MOST_ADDED_MS = 0.95, 15.0
FORM = {"instruction": "识别图片中的公式", "task": "formula"}
Way = Callable[[], Awaitable[None]]


def picture() -> bytes:
    image = Image.new("RGB", (640, 320), "white")
    for n, words in enumerate(("CORNER SHOP", "TOTAL 36.80", "2026-11-20")):
        ImageDraw.Draw(image).text((30, 30 + 90 * n), words, fill="black", font=ImageFont.load_default(48))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


async def load(way: Way, clients: int, requests: int) -> tuple[float, list[float]]:
    """Requests per second, and the seconds of each, of so many clients that ask without a pause."""
    seconds: list[float] = []
    left = iter(range(requests))

    async def client() -> None:
        for _ in left:
            began = time.perf_counter()
            await way()
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return requests / (time.perf_counter() - began), seconds


async def bench(settings: Settings, folder: Path, requests: int, evidence: str) -> int:
    generator = VllmGenerator(settings, folder)
    backend = VlmBackend(generator)
    pipeline = Pipeline(backend, settings, create_witness(settings, backend) if evidence != "none" else None)
    app = create_app(settings, pipeline)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    ours = httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", timeout=300)
    try:
        while (await ours.get("/ready")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        return await compare(generator, ours, requests, evidence)
    finally:
        await ours.aclose()
        server.should_exit = True
        await serving


async def compare(generator: VllmGenerator, ours: httpx.AsyncClient, requests: int, evidence: str) -> int:
    data = picture()
    asked = ask(understand(FORM["instruction"]))
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    words = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": asked.prompt}]
    body = {
        "model": generator.model, "temperature": 0, "repetition_penalty": asked.repetition_penalty,
        "max_tokens": asked.max_tokens, "messages": [{"role": "system", "content": ""}, {"role": "user", "content": words}],
    }  # fmt: skip
    engine = generator.server.client

    async def direct() -> None:
        (await engine.post("/v1/chat/completions", json=body)).raise_for_status()

    async def through() -> None:
        files, form = {"file": ("a.png", data, "image/png")}, FORM | {"evidence": evidence}
        (await ours.post("/ocr", files=files, data=form)).raise_for_status()

    await load(direct, 1, 2)
    await load(through, 1, 2)
    good = True
    print("clients | direct /s | through /s | ratio | direct p50 ms | through p50 ms | added ms")
    for clients in CLIENTS:
        rates: dict[Way, list[float]] = {direct: [], through: []}
        times: dict[Way, list[float]] = {direct: [], through: []}
        for turn in range(ROUNDS):
            for way in (direct, through) if turn % 2 else (through, direct):
                rate, seconds = await load(way, clients, requests)
                rates[way].append(rate)
                times[way] += seconds
        a, b = (statistics.median(rates[way]) for way in (direct, through))
        p, q = (1000 * statistics.median(times[way]) for way in (direct, through))
        good &= b / a >= LEAST_RATE and q - p <= MOST_ADDED_MS
        print(f"{clients:7} | {a:9.2f} | {b:10.2f} | {b / a:5.3f} | {p:13.1f} | {q:14.1f} | {q - p:+8.1f}", flush=True)
    return int(not good)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--vram-gb", type=float, default=5.0)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--evidence", choices=("none", "fast"), default="none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model_path
        if folder is None:
            sys.path.insert(0, str(Path(__file__).parent.parent))
            from tests.checkpoints import random_checkpoint

            folder = random_checkpoint(Path(temporary) / "random", stop=1.5)
        settings = Settings(
            model_path=folder, device=args.device,
            pipeline=PipelineSettings(cache_mb=0), torch=TorchSettings(vram_gb=args.vram_gb),
        )  # fmt: skip
        return asyncio.run(bench(settings, folder, args.requests, args.evidence))


if __name__ == "__main__":
    sys.exit(main())
