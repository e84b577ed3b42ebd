"""An engine on a tiny random checkpoint, and transformers' `generate` as the reference for the same prompts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import HunYuanVLForConditionalGeneration

from hunyuanocr.backends.base import Token
from hunyuanocr.backends.torch_local.engine import Engine
from hunyuanocr.backends.torch_local.loader import load_model
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.config import TorchSettings
from hunyuanocr.errors import HunyuanOcrError

Images = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Request:
    """A request of a test; `penalty` is the repetition penalty."""

    images: Images
    text: str
    tokens: int = 32
    penalty: float = 1.08


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@dataclass(eq=False)
class Output:
    """The output of a sequence so far."""

    tokens: list[Token] = field(default_factory=list)
    end: object = None  # a finish reason or an error
    finished: threading.Event = field(default_factory=threading.Event)
    reached: dict[int, threading.Event] = field(default_factory=dict)

    def on_output(self, chunk: Any) -> None:
        if isinstance(chunk, HunyuanOcrError):
            self.end = chunk
            self.finished.set()
            return
        self.tokens += chunk.tokens
        for count, event in self.reached.items():
            if len(self.tokens) >= count:
                event.set()
        if chunk.finish_reason:
            self.end = chunk.finish_reason
            self.finished.set()

    def wait_for(self, count: int) -> None:
        event = self.reached.setdefault(count, threading.Event())
        if len(self.tokens) < count:
            assert event.wait(100), f"{len(self.tokens)} of {count} tokens arrived"

    @property
    def ids(self) -> list[int]:
        return [t.id for t in self.tokens]

    @property
    def logprobs(self) -> list[float]:
        return [t.logprob for t in self.tokens]


class EngineHarness:
    """An engine in its own thread, and a transformers model with the same weights."""

    def __init__(self, folder: Path, dtype: str = "float32", slots: int = 4, vram_gb: float = 0.2) -> None:
        self.model = load_model(folder, torch.device("cpu"), TorchSettings(dtype=dtype, max_num_seqs=slots, vram_gb=vram_gb))
        self.engine = Engine(self.model, slots)
        self.thread = threading.Thread(target=self.engine.run, daemon=True)
        self.thread.start()
        self.reference_model = HunYuanVLForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.reference_model.generation_config.eos_token_id = sorted(self.model.stop_ids)

    def sequence(self, request: Request, output: Output, grammar: Any = None) -> Sequence:
        prompt = self.model.processor(request.images, request.text)
        tokenizer = self.model.processor.tokenizer.backend_tokenizer
        return Sequence(prompt, request.tokens, request.penalty, tokenizer, output.on_output, grammar)

    def submit(self, request: Request, grammar: Any = None) -> tuple[Sequence, Output]:
        output = Output()
        sequence = self.sequence(request, output, grammar)
        self.engine.submit(sequence)
        return sequence, output

    def run(self, *requests: Request) -> list[Output]:
        """Submit all requests at once and wait for all of them."""
        outputs = [self.submit(request)[1] for request in requests]
        for output in outputs:
            assert output.finished.wait(200)
        return outputs

    def inputs(self, request: Request) -> dict[str, torch.Tensor]:
        prompt = self.model.processor(request.images, request.text)
        ids = torch.from_numpy(prompt.ids)[None]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if request.images:
            inputs["pixel_values"] = torch.from_numpy(np.concatenate(prompt.patches))
            inputs["image_grid_thw"] = torch.tensor([[1, *grid] for grid in prompt.grids])
            inputs["mm_token_type_ids"] = (ids == self.reference_model.config.image_token_id).int()
        return inputs

    def reference(self, request: Request) -> tuple[list[int], list[float]]:
        """Ids and raw log-probabilities of transformers' greedy `generate`, without the stop token."""
        inputs = self.inputs(request)
        out = self.reference_model.generate(
            **inputs,
            max_new_tokens=request.tokens,
            do_sample=False,
            repetition_penalty=request.penalty,
            return_dict_in_generate=True,
            output_logits=True,
        )
        ids = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logprobs = [float(x[0].float().log_softmax(-1)[t]) for x, t in zip(out.logits, ids, strict=True)]
        if ids[-1] in self.model.stop_ids:
            ids, logprobs = ids[:-1], logprobs[:-1]
        return ids, logprobs

    def close(self) -> None:
        self.engine.close()

    def assert_matches_reference(self, request: Request, output: Output, tolerance: float = 1e-4) -> None:
        """The tokens equal those of transformers; log-probabilities differ by less than `tolerance`."""
        ids, logprobs = self.reference(request)
        assert output.ids == ids
        assert np.abs(np.subtract(output.logprobs, logprobs)).max(initial=0.0) < tolerance
