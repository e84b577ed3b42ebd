"""The overhead of the server compared with vLLM: the same image and prompt, directly and through `/ocr`.

    python bench/vllm_overhead.py [--model-path FOLDER] [--device cpu] [--dtype float32] [--requests 40] [--rounds 5] [--out FILE]

One vLLM server; rounds alternate, each in another order. Direct requests are not streamed and have no probabilities, with the
same prompt and grammar. Requests through the server have `evidence=none`, and `fast` for comparison; cache off.
Exits 1 if the server handles less than 0.95 of the direct requests per second with any number of clients, or adds more than
15 ms to the request of a single client (medians; with more clients the time of a request is mostly waiting).
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import serving
import torch_load

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.vllm_server import openai_protocol
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.prompts import build_prompt

CLIENTS = (1, 4, 8)
MIN_RATE, MAX_ADDED_MS = 0.95, 15.0
WAYS = ("direct", "none", "fast")


def socket_of(server_pid: int) -> Path:
    """Return the socket of the server's vLLM, from the working folder of its processes."""
    homes = {Path(child.cwd()) for child in psutil.Process(server_pid).children(recursive=True)}
    return next(home / "socket" for home in homes if (home / "socket").exists())


def plain(data: bytes, model: str, longest: int, instruction: str) -> dict[str, Any]:
    """Return the server's request to vLLM for the instruction, without streaming and probabilities."""
    asked = build_prompt(parse_instruction(instruction))
    page = np.zeros((32, 32, 3), np.uint8)  # replaced by the client's image
    request = Generation((page,), asked.prompt, asked.schema, asked.max_tokens, asked.repetition_penalty)
    body: dict[str, Any] = json.loads(openai_protocol.build_request(request, model, longest))
    for extra in ("stream", "stream_options", "logprobs", "top_logprobs", "return_token_ids"):
        body.pop(extra, None)
    body["messages"][1]["content"][0]["image_url"]["url"] = "data:image/png;base64," + base64.b64encode(data).decode()
    return body


async def measure(api: str, socket: Path, args: Namespace) -> dict[str, Any]:
    """Return the rounds of all ways by number of clients."""
    data = serving.picture()
    transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=None))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://vllm", timeout=300) as engine,
        httpx.AsyncClient(base_url=api, timeout=300, limits=httpx.Limits(max_connections=None)) as ours,
    ):
        served = (await engine.get("/v1/models")).json()["data"][0]
        body = json.dumps(plain(data, served["id"], served["max_model_len"], args.instruction)).encode()

        async def direct() -> None:
            headers = {"content-type": "application/json"}
            (await engine.post("/v1/chat/completions", content=body, headers=headers)).raise_for_status()

        async def through(evidence: str) -> None:
            files, form = {"file": ("a.png", data, "image/png")}, {"instruction": args.instruction, "evidence": evidence}
            (await ours.post("/ocr", files=files, data=form)).raise_for_status()

        ways = {"direct": direct, "none": lambda: through("none"), "fast": lambda: through("fast")}
        found: dict[str, Any] = {}
        for clients in CLIENTS:
            found[str(clients)] = rounds = {name: [] for name in WAYS}
            for turn in range(-1, args.rounds):  # the first one warms up
                for name in (*WAYS[turn % 3 :], *WAYS[: turn % 3]):
                    done = await serving.load(ways[name], clients, args.requests if turn >= 0 else clients)
                    if turn >= 0:
                        rounds[name].append(done)
        return found


def main() -> int:
    parser = serving.parser(__doc__, rounds=5, requests=40)
    parser.add_argument("--instruction", default="提取总金额")
    args = parser.parse_args()
    with serving.checkpoint(args.model_path) as folder, serving.served("vllm", folder, args) as running:
        found = asyncio.run(measure(running.api, socket_of(running.process.pid), args))
    rows, good = [], True
    for clients, rounds in found.items():
        rates = {name: serving.rate(rounds[name]) for name in WAYS}
        times = {name: serving.p50_ms(rounds[name]) for name in WAYS}
        share, added = rates["none"] / rates["direct"], times["none"] - times["direct"]
        good &= share >= MIN_RATE and (clients != "1" or added <= MAX_ADDED_MS)
        rows.append(
            [clients, *(f"{rates[n]:.2f}" for n in WAYS), f"{share:.3f}", *(f"{times[n]:.0f}" for n in WAYS), f"{added:+.1f}"]
        )
    head = [
        "clients",
        "direct /s",
        "through /s",
        "with `fast` /s",
        "through : direct",
        "direct p50 ms",
        "through p50 ms",
        "`fast` p50 ms",
        "added ms",
    ]
    print(serving.table(head, rows))
    print(f"limits: {MIN_RATE} of the direct rate, {MAX_ADDED_MS:g} ms for a single client: {'met' if good else 'not met'}")
    if args.out:
        raw = {c: {n: [{"rate": r.rate, "seconds": r.seconds} for r in rs] for n, rs in by.items()} for c, by in found.items()}
        flags = {name: str(value) for name, value in vars(args).items()}
        torch_load.write({"machine": torch_load.machine(), "flags": flags, "rounds": raw, "held": good}, args.out)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
