"""Check that the model's values fit float16: the largest of each kind of tensor against 65504, and float16 against float32.

    python bench/fp16_range.py [--model-path DIR] [PICTURE …]

Runs transformers' model in float32 on the CPU over the images and an answer for each, and records the largest absolute input or
output of its modules, by kind; the headroom is its ratio to the limit. Then the PyTorch engine generates the same in float32 and
float16: no value may overflow, and the report compares tokens and log-probabilities.

**The result is meaningful for real weights only**: those of HunyuanOCR were trained in bfloat16, whose range is that of float32.
Without `--model-path` tiny random weights are used, to test the script. Exits 1 if a value does not fit.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_load
from torch_engines import Ours, Run, Theirs

from hunyuanocr.backends.torch_local.processor import Processor, Prompt
from hunyuanocr.config import ImageSettings, TorchSettings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.images import open_pages

MAX_SIZE = 65504.0  # of float16
KINDS = {  # inputs and outputs of transformers' modules, by the end of their names; the first match counts
    "logits": r"lm_head out",
    "patch merger": r"patch_merger\b.*",
    "queries, keys, values": r"[qkv]_proj out|(query|key)_layernorm in",
    "normed queries and keys": r"(query|key)_layernorm out",
    "attention": r"o_proj in",
    "attention out": r"o_proj out|self_attn out",
    "mlp gate and up": r"(gate_proj|up_proj|fc1) out|act(ivation)?_fn in",
    "mlp intermediate": r"(down_proj|fc2) in|act(ivation)?_fn out",
    "mlp out": r"(down_proj|fc2|mlp) out",
    "normed": r"norm[12]? out|[qkv]_proj in|mlp in|(gate_proj|up_proj|fc1) in|self_attn in|lm_head in",
    "residual stream": r"norm[12]? in|layers in|layers out",
}


class Recorder:
    """Records the largest absolute value by kind of tensor, by hooks on all modules of transformers' model."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.largest: dict[str, float] = {}
        for name, module in model.named_modules():
            part = "vision" if "vision_tower" in name else "text"
            plain = re.sub(r"\.\d+\b", "", name)
            into, out = (f"{part} {_kind(f'{plain} {side}')}" for side in ("in", "out"))
            module.register_forward_hook(
                lambda _, given, named, made, into=into, out=out: (
                    self.note(into, given or list(named.values())[:1]),
                    self.note(out, made),
                    None,
                )[-1],
                with_kwargs=True,
            )

    def note(self, kind: str, value: Any) -> None:
        """Record the first tensor of a module's input or output."""
        value = value[0] if isinstance(value, (tuple, list)) and value else value
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
            # NaN counts as infinite.
            found = float(torch.nan_to_num(value.abs().max(), nan=float("inf"), posinf=float("inf")))
            self.largest[kind] = max(found, self.largest.get(kind, 0.0))


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.search(rf"(^|[._])({pattern})$", name)), "other")


def ranges(folder: Path, prompts: list[Prompt], tokens: int) -> dict[str, float]:
    """Return the largest absolute value of each kind of tensor in float32."""
    theirs = Theirs(folder, torch.device("cpu"), torch.float32)
    recorder = Recorder(theirs.model)
    for prompt in prompts:
        theirs.run([prompt], tokens)
    return dict(sorted(recorder.largest.items(), key=lambda item: -item[1]))


def written(folder: Path, dtype: str, prompts: list[Prompt], tokens: int) -> list[Run]:
    """Return the engine's answers. Raises BackendFailed if values overflow."""
    longest = max(len(prompt.ids) for prompt in prompts) + tokens
    ours = Ours(folder, "cpu", TorchSettings(dtype=dtype, vram_gb=12.0, max_num_seqs=1))
    if longest > ours.model.max_tokens:
        raise SystemExit(f"The pictures take {longest} tokens, the model {ours.model.max_tokens}.")
    try:
        return [ours.run([prompt], tokens) for prompt in prompts]
    finally:
        ours.close()


def agreement(exact: list[Run], half: list[Run]) -> dict[str, float]:
    """Return the share of equal tokens, and the largest difference of log-probabilities as long as tokens are equal."""
    leading, total, apart = 0, 0, 0.0
    for a, b in zip(exact, half, strict=True):
        same = 0
        while same < len(a.ids[0]) and a.ids[0][same] == b.ids[0][same]:
            apart = max(apart, abs(a.logprobs[0][same] - b.logprobs[0][same]))
            same += 1
        leading, total = leading + same, total + len(a.ids[0])
    return {"equal_leading_tokens": round(leading / total, 4), "largest_logprob_difference": round(apart, 5)}


def measure(folder: Path, images: list[np.ndarray], tokens: int) -> dict[str, Any]:
    processor = Processor(folder)
    prompts = [processor([image], "检测并识别图片中的文字，将文本坐标格式化输出。") for image in images]
    largest = ranges(folder, prompts, tokens)
    peak = max(largest.values())
    result: dict[str, Any] = {
        "checkpoint": folder.name,
        "pictures": len(images),
        "tokens": tokens,
        "largest": largest,
        "fits": peak < MAX_SIZE,
        "least_headroom": round(MAX_SIZE / peak, 2),
    }
    exact = written(folder, "float32", prompts, tokens)
    try:
        return result | agreement(exact, written(folder, "float16", prompts, tokens)) | {"overflow": None}
    except HunyuanOcrError as e:
        return result | {"overflow": e.message}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="*", help="Image files; a synthetic pattern by default.")
    parser.add_argument("--model-path", type=Path)
    parser.add_argument("--tokens", type=int, default=32, help="Tokens per answer.")
    parser.add_argument("--long-side", type=int, default=1024, help="Size to which images are scaled (float32 is slow).")
    parser.add_argument("--out", type=Path, default=torch_load.RESULTS / "fp16_range.json")
    given = parser.parse_args(arguments)
    limits = ImageSettings(long_side=given.long_side)
    images = [page.pixels for file in given.pictures for page in open_pages(file.read_bytes(), limits)]
    with torch_load.checkpoint(given.model_path, "tiny") as folder:
        result = measure(folder, images or [torch_load.picture(320, 256)], given.tokens)
    for kind, value in result["largest"].items():
        print(f"{kind:32}{value:12.2f}   headroom {MAX_SIZE / max(value, 1e-9):10.1f}x")
    print(f"minimum headroom {result['least_headroom']:g}x" + ("" if result["fits"] else ": VALUES DO NOT FIT"))
    if result["overflow"]:
        print(f"in float16: {result['overflow']}")
    else:
        same, apart = 100 * result["equal_leading_tokens"], result["largest_logprob_difference"]
        print(f"in float16: the first {same:.1f} % of the tokens as in float32, log-probabilities within {apart:g}")
    torch_load.write(torch_load.machine() | result, given.out)
    return int(not result["fits"] or bool(result["overflow"]))


if __name__ == "__main__":
    sys.exit(main())
