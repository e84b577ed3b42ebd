"""The PyTorch engine compared with transformers' `generate` with its fastest options, in one process, interleaved.

    python bench/torch_vs_transformers.py [--device cpu] [--checkpoint DIR] [--runs 3]
    python bench/torch_vs_transformers.py --device cuda

An image of 1024 × 768 and 128 new tokens, for one request and for four: seconds to the first token (vision and prompt, without
preprocessing) and tokens per second after it. transformers runs with sdpa, with a dynamic and with a static cache; the faster one
counts. Several requests are one batch for transformers and separate requests for the engine, whose rate is measured while all of
them are being decoded. On a GPU the engine is measured further, in about five minutes: more streams and their share of the memory
bandwidth, larger images, JSON documents per second, memory, seconds until ready.

Without `--checkpoint` random weights with the shapes of the released model are created: speed does not depend on their values.
Equal tokens are reported for information: random 16-bit weights have near ties.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch_engine_only
import torch_load
from torch_engines import Ours, Run, Theirs, cache_settings

from hunyuanocr.config import TorchSettings

BARS = {("decode", 1): 1.5, ("decode", 4): 1.3, ("prefill", 1): 1.0}  # on a CPU
GPU_GOAL = 8.0  # speed relative to eager transformers with one request


def compare(ours: Ours, theirs: Theirs, given: argparse.Namespace, streams: int) -> dict[str, Any]:
    """Run all engines alternately, `--runs` times, after a short warm-up; return medians and ratios to the best peer."""
    prompts = [ours.prompt(torch_load.picture(*given.picture, seed)) for seed in range(streams)]
    ways: dict[str, Callable[[int], Run]] = {"ours": lambda tokens: ours.run(prompts, tokens)}
    for name, options in cache_settings(given.device, streams).items():
        ways[name] = lambda tokens, options=options: theirs.run(prompts, tokens, **options)
    runs: dict[str, list[Run]] = {}
    failed: dict[str, str] = {}
    for turn in range(given.runs + 1):
        for name, way in ways.items():
            if name in failed:
                continue
            try:
                # The first round warms up, at full length: the length of a compiled static cache is that of its answer.
                done = way(given.tokens if turn or "compiled" in name else 2)
            except Exception as e:
                if name in ("ours", "dynamic cache"):
                    raise
                failed[name] = f"{type(e).__name__}: {str(e)[:300]}"  # options that this version does not support are skipped
                continue
            if turn:
                runs.setdefault(name, []).append(done)
    return _compared(runs, given.tokens, len(prompts[0].ids)) | {"streams": streams, "failed": failed}


def _compared(runs: dict[str, list[Run]], tokens: int, prompt_tokens: int) -> dict[str, Any]:
    ways = {name: _figures(done, tokens) for name, done in runs.items()}
    ours, peers = ways["ours"], {name: way for name, way in ways.items() if name != "ours"}
    best = max(peers, key=lambda name: peers[name]["tokens_a_second"])
    quickest = min(way["first_token_s"] for way in peers.values())
    same = [a == b for a, b in zip(runs["ours"][0].ids[0], runs[best][0].ids[0], strict=False)]
    return {
        "prompt_tokens": prompt_tokens, "tokens": tokens, "ways": ways, "best_peer": best,
        "times_as_fast": {
            "decode": round(ours["tokens_a_second"] / peers[best]["tokens_a_second"], 3),
            "decode_vs_dynamic": round(ours["tokens_a_second"] / peers["dynamic cache"]["tokens_a_second"], 3),
            "prefill": round(quickest / ours["first_token_s"], 3),
            "all_done": round(min(way["all_done_s"] for way in peers.values()) / ours["all_done_s"], 3),
        },
        "equal_leading_tokens": round((same.index(False) if False in same else len(same)) / tokens, 3),
    }  # fmt: skip


def _figures(runs: list[Run], tokens: int) -> dict[str, Any]:
    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 4)

    return {
        "first_token_s": median([run.first_token_s for run in runs]),
        "all_begun_s": median([run.all_begun_s for run in runs]),
        "tokens_a_second": median([run.rate for run in runs]),
        "all_done_s": median([run.seconds_to(tokens) for run in runs]),
        "runs": [[round(run.first_token_s, 4), round(run.rate, 3)] for run in runs],
    }


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the selected scenarios; a failure is reported in its result, and the others continue."""
    result: dict[str, Any] = torch_load.machine() | {"device": given.device, "checkpoint": folder.name, "failures": []}

    def scenario(name: str, work: Callable[[], Any]) -> None:
        if name.partition(" ")[0] not in given.scenarios:
            return
        print(f"… {name}", flush=True)
        try:
            result[name] = work()
        except Exception:  # noqa: BLE001 -- reported with its traceback; the other scenarios continue
            result["failures"].append(name)
            result[name] = traceback.format_exc()
            print(result[name], file=sys.stderr, flush=True)
        torch_load.write(result, given.out)  # save intermediate results

    scenario("ready", lambda: torch_engine_only.ready(folder, given.device))  # first: the child process needs the GPU's memory
    ours = Ours(
        folder, given.device, TorchSettings(dtype=given.dtype, vram_gb=given.vram_gb, max_num_seqs=max(8, *given.streams))
    )
    result["budget"], result["dtype"] = str(ours.model.budget), str(ours.model.decoder.embedding.dtype)
    scenario("bandwidth", lambda: torch_engine_only.bandwidth(given.device, given.bandwidth))
    scenario("streams", lambda: [torch_engine_only.stream(ours, given, n, result.get("bandwidth", {})) for n in given.streams])
    scenario("first_token", lambda: [torch_engine_only.first_token(ours, size, given.runs) for size in given.sizes])
    scenario("documents", lambda: [torch_engine_only.documents(ours, given, n) for n in (1, 8)])
    scenario("memory", lambda: torch_engine_only.memory(ours, given))
    if "compare" in given.scenarios:
        theirs = Theirs(folder, ours.model.device, ours.model.decoder.embedding.dtype)
        for n in given.compare:
            scenario(f"compare {n}", lambda n=n: compare(ours, theirs, given, n))
    ours.close()
    return result


def report(result: dict[str, Any]) -> None:
    """Print the table."""
    for name, found in result.items():
        if not name.startswith("compare") or isinstance(found, str):
            continue
        n = found["streams"]
        lengths = f"prompt {found['prompt_tokens']} tokens, {found['tokens']} new ones"
        print(f"\n{n} request{'s' * (n > 1)}, {lengths}, {result['dtype']}")
        print(f"{'':28}{'first token':>13}{'all started':>11}{'tokens/s':>10}{'all done':>10}")
        for way, f in found["ways"].items():
            times = f"{f['first_token_s']:11.3f} s{f['all_begun_s']:9.2f} s{f['tokens_a_second']:10.2f}{f['all_done_s']:8.2f} s"
            print(f"{way:28}{times}")
        ratios = ", ".join(f"{what} {_bar(result['device'], what, n, ratio)}" for what, ratio in found["times_as_fast"].items())
        print(f"speed relative to the best peer ({found['best_peer']}): {ratios}")
        print(f"equal leading tokens {100 * found['equal_leading_tokens']:.0f} %")
        for way, why in found["failed"].items():
            print(f"{way} is not supported: {why}")
    torch_engine_only.report(result)
    if result["failures"]:
        print(f"\nFAILED: {', '.join(result['failures'])}")


def _bar(device: str, what: str, streams: int, ratio: float) -> str:
    bar = BARS.get((what, streams)) if device == "cpu" else (GPU_GOAL if (what, streams) == ("decode_vs_dynamic", 1) else None)
    return f"{ratio:.2f}" + (f" (bar {bar:g}: {'kept' if ratio >= bar else 'MISSED'})" if bar else "")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ("ready", "bandwidth", "streams", "first_token", "documents", "memory", "compare")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--checkpoint", type=Path, help="Folder of weights; random weights are created if it does not exist.")
    parser.add_argument("--random", choices=["full", "tiny"], default="full", help="Size of random weights.")
    parser.add_argument("--dtype", default="auto", help="As in the settings: auto, float16, bfloat16, float32.")
    parser.add_argument("--vram-gb", type=float, default=7.4)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: PyTorch's default.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--picture", type=torch_load.size_of, default=(1024, 768))
    parser.add_argument("--compare", type=torch_load.numbers_of, default=[1, 4], help="Concurrent requests in the comparison.")
    parser.add_argument("--streams", type=torch_load.numbers_of, default=[1, 4, 8, 16], help="The same, of the engine only.")
    parser.add_argument("--sizes", type=torch_load.sizes_of, default=[(1024, 1024), (2048, 2048)], help="Image sizes to measure.")
    parser.add_argument("--documents", type=int, default=32, help="JSON documents per concurrency.")
    parser.add_argument("--large", type=torch_load.size_of, default=(2048, 2048), help="Image size of the memory scenario.")
    parser.add_argument("--large-tokens", type=int, default=1000)
    parser.add_argument("--bandwidth", type=float, help="Memory bandwidth in GB/s, for a GPU that is not in the table.")
    parser.add_argument("--scenarios", type=lambda t: t.split(","), help=f"Scenarios: {','.join(every)}.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    given.scenarios = given.scenarios or (list(every) if given.device == "cuda" else ["compare"])
    if unknown := set(given.scenarios) - set(every):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    given.out = given.out or torch_load.RESULTS / f"torch_vs_transformers_{given.device}.json"
    if given.threads:
        torch.set_num_threads(given.threads)
    with torch_load.checkpoint(given.checkpoint, given.random) as folder:
        result = measure(given, folder)
    torch_load.write(result, given.out)
    report(result)
    return int(bool(result["failures"]))


if __name__ == "__main__":
    sys.exit(main())
