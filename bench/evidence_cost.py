"""The cost of evidence: requests per second and seconds per request, with evidence none, fast and full.

    python bench/evidence_cost.py FOLDER [--checkpoint DIR] [--device auto] [--requests 16] [--at-once 4]

Images of the folder are processed for total and date through the pipeline, with the PyTorch engine and with PP-OCR as evidence
backend, cache off. `fast`: PP-OCR reads the page concurrently with the model. `full`: the model reads it a second time, as
spotting. The three alternate, so that other load on the machine affects all of them.

Without `--checkpoint` weights are random: they cost the same, but do not stop by themselves. Answers are truncated at
`--answer-tokens` and spotting at `--spotting-tokens`, about the length of a receipt's.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch_load

from hunyuanocr.backends import create_evidence_backend
from hunyuanocr.backends.base import Generation, Health, TokenChunk
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.backends.vlm.backend import VlmBackend
from hunyuanocr.config import PipelineSettings, Settings, TorchSettings
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.types import EvidenceMode

INSTRUCTION = "提取总金额和日期"


class Capped:
    """A Generator that truncates its answers, at different lengths with and without a schema."""

    def __init__(self, generator: TorchGenerator, answer: int, spotting: int) -> None:
        self._generator, self._answer, self._spotting = generator, answer, spotting
        self.name, self.model = generator.name, generator.model

    async def start(self) -> None:
        await self._generator.start()

    async def health(self) -> Health:
        return await self._generator.health()

    async def close(self) -> None:
        await self._generator.close()

    async def generate(self, request: Generation) -> AsyncGenerator[TokenChunk, None]:
        most = self._spotting if request.schema is None else self._answer
        async with aclosing(self._generator.generate(replace(request, max_tokens=min(most, request.max_tokens)))) as chunks:
            async for chunk in chunks:
                yield chunk


async def load(
    pipeline: Pipeline, pictures: list[bytes], evidence: EvidenceMode, requests: int, at_once: int
) -> tuple[float, list[float]]:
    """Return requests per second and the seconds of each request for a number of clients."""
    task = replace(parse_instruction(INSTRUCTION), evidence=evidence)
    work = iter(itertools.islice(itertools.cycle(pictures), requests))
    seconds: list[float] = []

    async def client() -> None:
        for data in work:
            began = time.perf_counter()
            await pipeline.run(Request(data, task))
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return requests / (time.perf_counter() - began), seconds


async def measure(given: argparse.Namespace, folder: Path, pictures: list[bytes]) -> dict[str, Any]:
    settings = Settings(
        model_path=folder,
        device=given.device,
        torch=TorchSettings(dtype=given.dtype, vram_gb=given.vram_gb),
        pipeline=PipelineSettings(cache_mb=0, deadline_s=600),
    )
    backend = VlmBackend(Capped(TorchGenerator(settings), given.answer_tokens, given.spotting_tokens))
    pipeline = Pipeline(backend, settings, create_evidence_backend(settings, backend))
    await pipeline.start()
    kinds = (EvidenceMode.NONE, EvidenceMode.FAST, EvidenceMode.FULL)
    rates: dict[EvidenceMode, list[float]] = {kind: [] for kind in kinds}
    seconds: dict[EvidenceMode, list[float]] = {kind: [] for kind in kinds}
    try:
        for turn in range(given.rounds + 1):
            for kind in kinds:
                rate, each = await load(pipeline, pictures, kind, given.requests if turn else 1, given.at_once)
                if turn:  # the first round warms up
                    rates[kind].append(rate)
                    seconds[kind] += each
    finally:
        await pipeline.close()
    plain = statistics.median(rates[EvidenceMode.NONE])
    return {
        str(kind): {
            "requests_a_second": round(statistics.median(rates[kind]), 3),
            "p50_s": round(statistics.median(seconds[kind]), 3),
            "share_of_none": round(statistics.median(rates[kind]) / plain, 3),
        }
        for kind in kinds
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder of images.")
    parser.add_argument("--checkpoint", type=Path, help="Folder of weights; random weights are created if it does not exist.")
    parser.add_argument("--random", choices=["full", "tiny"], default="full", help="Size of random weights.")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--vram-gb", type=float, default=8.0)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--requests", type=int, default=16, help="Requests of each kind per round.")
    parser.add_argument("--at-once", type=int, default=4, help="Number of clients.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--answer-tokens", type=int, default=40)
    parser.add_argument("--spotting-tokens", type=int, default=600)
    parser.add_argument("--out", type=Path, default=torch_load.RESULTS / "evidence_cost.json")
    given = parser.parse_args(arguments)
    files = sorted(p for p in given.folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[: given.pictures]
    if not files:
        parser.error(f"{given.folder} holds no pictures")
    with torch_load.checkpoint(given.checkpoint, given.random) as folder:
        found = asyncio.run(measure(given, folder, [p.read_bytes() for p in files]))
    options = {
        k: str(v) if isinstance(v, Path) else v for k, v in vars(given).items() if k not in ("folder", "out", "checkpoint")
    }
    for kind, figures in found.items():
        share = f"{100 * figures['share_of_none']:.0f} % of none's rate"
        print(f"evidence {kind}: {figures['requests_a_second']:.2f} requests/s, p50 {figures['p50_s']:.2f} s, {share}")
    torch_load.write(torch_load.machine() | {"asked": options, "evidence": found}, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
