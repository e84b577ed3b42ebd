"""Measurements of `torch_vs_transformers.py` for the PyTorch engine only: streams, image sizes, documents, memory, start."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch_load
from torch_engines import Ours

BANDWIDTHS = {  # GB/s by the vendor's data sheet; the first name that is part of the device's name counts
    "H200": 4800,
    "H100": 3350,
    "H20": 4000,
    "A100-SXM4-80GB": 2039,
    "A100": 1555,
    "L40S": 864,
    "RTX 5090": 1792,
    "RTX 4090": 1008,
    "RTX 3090": 936,
}
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("merchant", "date", "total_amount", "invoice_number")},
    "required": ["merchant", "date", "total_amount", "invoice_number"],
}
DOCUMENT_TOKENS = 60
_START = """
import asyncio, sys, time
from pathlib import Path
import numpy as np
from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.config import Settings

async def main():
    generator = TorchGenerator(Settings(model_path=Path(sys.argv[1]), device=sys.argv[2]))
    await generator.start()
    print("ready", flush=True)
    async for _ in generator.generate(Generation((np.zeros((64, 64, 3), np.uint8),), "x", max_tokens=1)):
        pass
    print("answered", flush=True)
    await generator.close()

asyncio.run(main())
"""


def ready(folder: Path, device: str) -> dict[str, float]:
    """Return the seconds from the start of a process until the engine is ready, and until its first result."""
    began = time.perf_counter()
    command = [sys.executable, "-c", _START, str(folder.resolve()), device]
    child = subprocess.Popen(command, cwd=torch_load.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    moments = {line.strip(): round(time.perf_counter() - began, 2) for line in child.stdout or ()}
    _, errors = child.communicate(timeout=60)
    if child.returncode or not {"ready", "answered"} <= moments.keys():
        raise RuntimeError(f"the engine did not start: {errors[-2000:]}")
    return {"ready_s": moments["ready"], "first_answer_s": moments["answered"]}


def bandwidth(device: str, given: float | None) -> dict[str, Any]:
    """Return the memory bandwidth in GB/s: by `--bandwidth` or the data sheet, and as measured with a large copy."""
    cuda = device == "cuda"
    source = torch.ones((2 << 30) if cuda else (256 << 20), dtype=torch.uint8, device=device)
    target, best = torch.empty_like(source), float("inf")
    for _ in range(8):
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        target.copy_(source)
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    measured = round(2 * source.numel() / best / 1e9, 1)
    name = torch.cuda.get_device_name(0) if cuda else ""
    known = next((float(rate) for part, rate in BANDWIDTHS.items() if part in name), None)
    return {"measured_copy": measured, "nominal": given or known, "used": given or known or measured}


def stream(ours: Ours, given: argparse.Namespace, streams: int, rates: Any) -> dict[str, Any]:
    """Return the decode rate of a number of requests, and its share of the memory bandwidth."""
    prompts = [ours.prompt(torch_load.picture(*given.picture, seed)) for seed in range(streams)]
    ours.run(prompts, 2)
    rate = statistics.median(ours.run(prompts, given.tokens).rate for _ in range(given.runs))
    decoder, step = ours.model.decoder, streams / rate
    weights = (decoder.work + decoder.embedding.numel()) * decoder.embedding.element_size()
    cache = sum(len(prompt.ids) + given.tokens // 2 for prompt in prompts) * ours.model.budget.token
    found = {
        "streams": streams,
        "prompt_tokens": len(prompts[0].ids),
        "tokens_a_second": round(rate, 2),
        "step_ms": round(1000 * step, 3),
        "bytes_a_step": weights + cache,
    }
    if isinstance(rates, dict) and rates:
        found["share_of_bandwidth"] = round((weights + cache) / step / 1e9 / rates["used"], 3)
    return found


def first_token(ours: Ours, size: tuple[int, int], runs: int) -> dict[str, Any]:
    """Return the seconds to the first token of an image of this size, and the seconds of its preprocessing."""
    image = torch_load.picture(*size)
    began = time.perf_counter()
    prompt = ours.prompt(image)
    prepared = time.perf_counter() - began
    ours.run([prompt], 1)
    seconds = [ours.run([prompt], 1).first_token_s for _ in range(runs)]
    return {
        "width": size[0],
        "height": size[1],
        "prompt_tokens": len(prompt.ids),
        "prepare_s": round(prepared, 4),
        "first_token_s": round(statistics.median(seconds), 4),
    }


def documents(ours: Ours, given: argparse.Namespace, at_once: int) -> dict[str, Any]:
    """Return JSON documents per second, from pixels to the last token, for a number of clients."""
    images = [torch_load.picture(*given.picture, seed) for seed in range(given.documents)]
    ours.documents(images[:at_once], SCHEMA, DOCUMENT_TOKENS, at_once)
    rate = ours.documents(images, SCHEMA, DOCUMENT_TOKENS, at_once)
    return {"at_once": at_once, "tokens": DOCUMENT_TOKENS, "documents": len(images), "documents_a_second": round(rate, 3)}


def memory(ours: Ours, given: argparse.Namespace, requests: int = 8) -> dict[str, Any]:
    """Return peak memory with eight of the largest images and long answers: GPU by allocator and driver, CPU resident."""
    cuda = given.device == "cuda"
    prompts = [ours.prompt(torch_load.picture(*given.large, seed)) for seed in range(requests)]
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    run = ours.run(prompts, given.large_tokens, together=False)
    found: dict[str, Any] = {
        "requests": requests,
        "prompt_tokens": len(prompts[0].ids),
        "tokens": given.large_tokens,
        "seconds": round(time.perf_counter() - began, 2),
        "all_at_once": run.at_once,
    }
    if not cuda:
        return found | {"resident_gb": round(torch_load.resident_mib() * 2**20 / 1e9, 2)}
    # The allocator keeps its memory, so the driver reports the peak. Decimal GB, as in --vram-gb.
    free, total = torch.cuda.mem_get_info()
    return found | {
        "allocated_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "reserved_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2),
        "whole_card_gb": round((total - free) / 1e9, 2),  # including the driver and other processes
        "nvidia_smi_gb": _nvidia_smi(),
    }


def _nvidia_smi() -> float | None:
    """Return the GB of this process by nvidia-smi; None if it lists none, as in containers that hide processes."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    rows = [row.split(",") for row in subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()]
    mine = [row[1].strip() for row in rows if len(row) == 2 and row[0].strip() == str(os.getpid())]
    return round(int(mine[0]) * 2**20 / 1e9, 2) if mine and mine[0].isdigit() else None


def report(result: dict[str, Any]) -> None:
    """Print the results, one per line."""
    found = {name: part for name, part in result.items() if not isinstance(part, str)}
    print()
    for part in found.get("streams", ()):
        share = f", {100 * part['share_of_bandwidth']:.0f} % of the bandwidth" if "share_of_bandwidth" in part else ""
        print(f"{part['streams']:3d} streams: {part['tokens_a_second']:9.1f} tokens/s, {part['step_ms']:.2f} ms per step{share}")
    for part in found.get("first_token", ()):
        seconds = f"{part['first_token_s']:.3f} s (+ {part['prepare_s']:.3f} s to prepare)"
        print(f"{part['width']} x {part['height']}: first token after {seconds}")
    for part in found.get("documents", ()):
        rate = f"{part['documents_a_second']:.2f} JSON documents a second"
        print(f"{part['at_once']} client{'s' * (part['at_once'] > 1)}: {rate} with at most {part['tokens']} tokens")
    for name in ("memory", "bandwidth", "ready"):
        if name in found:
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found[name].items()))
