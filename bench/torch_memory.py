"""Memory of the PyTorch engine over many requests: it must not grow by more than 3 % between an early and the last request.

    python bench/torch_memory.py [--checkpoint DIR] [--requests 1000] [--early 200]

Images of random sizes are processed by TorchGenerator on the CPU, four at a time, in one process. Every fourth answer follows a
schema; every tenth request is cancelled after its first token. Weights are tiny and random: a leak would depend on the number and
size of requests, not on the model. Exits 1 if memory grows by more. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import torch_load

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.config import Settings, TorchSettings

BAR = 0.03
AT_ONCE = 4
POINTS = 40  # of the curve
STRING = {"type": "string"}
SCHEMA = {"type": "object", "properties": {"total": STRING, "date": STRING}, "required": ["total", "date"]}


def generation(n: int, largest: int) -> Generation:
    """Return the n-th request, which is the same in every run."""
    chance = random.Random(n)
    image = torch_load.picture(chance.randint(40, largest), chance.randint(40, largest), n)
    return Generation((image,), "提取图中的文字。", schema=SCHEMA if n % 4 == 0 else None, max_tokens=chance.randint(4, 24))


async def serve(generator: TorchGenerator, request: Generation, *, leave: bool) -> None:
    async with aclosing(generator.generate(request)) as chunks:
        async for _ in chunks:
            if leave:
                return


async def run(folder: Path, dtype: Any, requests: int, early: int, largest: int) -> dict[str, Any]:
    settings = Settings(model_path=folder, device="cpu", torch=TorchSettings(dtype=dtype, vram_gb=1.0, max_num_seqs=AT_ONCE))
    generator = TorchGenerator(settings)
    await generator.start()
    curve = [(0, round(torch_load.resident_mib(), 1))]
    taken = iter(range(1, requests + 1))
    done = 0
    marks = {early, requests, *range(0, requests, max(1, requests // POINTS))}

    async def client() -> None:
        nonlocal done
        for n in taken:
            await serve(generator, generation(n, largest), leave=n % 10 == 0)
            done += 1
            if done in marks:
                curve.append((done, round(torch_load.resident_mib(), 1)))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    seconds = time.perf_counter() - began
    at = dict(curve)
    found = {
        "dtype": str(generator.loaded.decoder.embedding.dtype), "requests": requests,
        "seconds": round(seconds, 1), "early": early, "mib_early": at[early], "mib_last": at[requests],
        "growth": round(at[requests] / at[early] - 1, 4), "bar": BAR, "curve": curve,
    }  # fmt: skip
    await generator.close()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="Folder of weights; tiny random weights by default.")
    parser.add_argument("--dtype", default="auto", help="As in the settings: auto, float16, bfloat16, float32.")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--early", type=int, default=200, help="Request after which memory is measured first.")
    parser.add_argument("--largest", type=int, default=640, help="Longest side of an image in pixels.")
    parser.add_argument("--out", type=Path, default=torch_load.RESULTS / "torch_memory.json")
    given = parser.parse_args(arguments)
    with torch_load.checkpoint(given.checkpoint, "tiny") as folder:
        result = torch_load.machine() | asyncio.run(run(folder, given.dtype, given.requests, given.early, given.largest))
    for n, mib in result["curve"]:
        print(f"after {n:5d} requests  {mib:8.1f} MiB")
    early, last, grown = result["mib_early"], result["mib_last"], 100 * result["growth"]
    print(f"{early} MiB after {given.early}, {last} MiB after {given.requests}: {grown:+.1f} % (limit {100 * BAR:.0f} %)")
    torch_load.write(result, given.out)
    return int(result["growth"] > BAR)


if __name__ == "__main__":
    sys.exit(main())
