"""Requests per second of HunyuanOCR on the PyTorch engine and on vLLM: the same image and prompt through `/ocr`.

    python bench/backends.py [--model-path FOLDER] [--device cpu] [--dtype float32] [--vram-gb 5] [--requests 64] [--rounds 5]
    python bench/backends.py --model-path models/hunyuanocr-1b --device cuda --dtype float16 --vram-gb 8 --out FILE

The servers run one after the other, each in a separate process with the same flags; `evidence=none`, cache off. Without a GPU use
`--dtype float32`, with which both generate the same tokens. Requires vLLM (./launch_vllm.sh installs it).
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from typing import Any

import httpx
import serving
import torch_load

CLIENTS = (1, 4, 8, 16)
BACKENDS = ("torch", "vllm")


async def measure(api: str, args: Namespace) -> tuple[str, dict[str, list[serving.Round]]]:
    """Return the result, and the rounds by number of clients."""
    data = serving.picture()
    async with httpx.AsyncClient(base_url=api, timeout=600, limits=httpx.Limits(max_connections=None)) as client:

        async def request() -> str:
            form = {"instruction": args.instruction, "evidence": "none"}
            answer = await client.post("/ocr", files={"file": ("a.png", data, "image/png")}, data=form)
            return str(answer.raise_for_status().json()["text"] or answer.json()["fields"])

        async def way() -> None:
            await request()

        answer = await request()
        found: dict[str, list[serving.Round]] = {}
        for clients in CLIENTS:
            await serving.load(way, clients, clients)  # warms up
            found[str(clients)] = [await serving.load(way, clients, args.requests) for _ in range(args.rounds)]
        return answer, found


def main() -> int:
    parser = serving.parser(__doc__, rounds=5, requests=64)
    parser.add_argument("--instruction", default="提取图中的文字")
    args = parser.parse_args()
    found: dict[str, dict[str, list[serving.Round]]] = {}
    answers: dict[str, str] = {}
    with serving.checkpoint(args.model_path) as folder:
        for backend in BACKENDS:
            with serving.served(backend, folder, args, HUNYUANOCR_PIPELINE__EVIDENCE_BACKEND="off") as running:
                answers[backend], found[backend] = asyncio.run(measure(running.api, args))
    rows = []
    for clients in map(str, CLIENTS):
        ours, theirs = (found[backend][clients] for backend in BACKENDS)
        rates, times = [serving.rate(r) for r in (ours, theirs)], [serving.p50_ms(r) for r in (ours, theirs)]
        rows.append([clients, *(f"{r:.2f}" for r in rates), f"{rates[1] / rates[0]:.2f}", *(f"{t:.0f}" for t in times)])
    print(serving.table(["clients", "torch /s", "vllm /s", "vllm : torch", "torch p50 ms", "vllm p50 ms"], rows))
    same = answers["torch"] == answers["vllm"]
    print(f"{len(answers['torch'])} characters in a result; equal for both backends: {'yes' if same else 'no'}")
    if args.out:
        raw: dict[str, Any] = {
            b: {c: [{"rate": r.rate, "seconds": r.seconds} for r in rounds] for c, rounds in by.items()}
            for b, by in found.items()
        }
        flags = {name: str(value) for name, value in vars(args).items()}
        torch_load.write({"machine": torch_load.machine(), "flags": flags, "answers": answers, "rounds": raw}, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
