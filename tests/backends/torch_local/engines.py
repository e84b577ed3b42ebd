"""Engines on random tiny checkpoints, and what transformers' own `generate` writes for the same prompts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import HunYuanVLForConditionalGeneration

from hunyuanocr.backends.base import Token
from hunyuanocr.backends.torch_local.engine import Engine
from hunyuanocr.backends.torch_local.loader import load_model
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.config import TorchSettings
from hunyuanocr.errors import HunyuanOcrError

Pictures = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Ask:
    """One request of a test."""

    pictures: Pictures
    words: str
    tokens: int = 32
    penalty: float = 1.08


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


@dataclass(eq=False)
class Written:
    """What came through a sink."""

    tokens: list[Token] = field(default_factory=list)
    end: object = None  # a finish reason or an error
    ended: threading.Event = field(default_factory=threading.Event)
    reached: dict[int, threading.Event] = field(default_factory=dict)

    def sink(self, chunk) -> None:
        if isinstance(chunk, HunyuanOcrError):
            self.end = chunk
            self.ended.set()
            return
        self.tokens += chunk.tokens
        for count, event in self.reached.items():
            if len(self.tokens) >= count:
                event.set()
        if chunk.finish_reason:
            self.end = chunk.finish_reason
            self.ended.set()

    def until(self, count: int) -> None:
        event = self.reached.setdefault(count, threading.Event())
        if len(self.tokens) < count:
            assert event.wait(100), f"{len(self.tokens)} of {count} tokens came"

    @property
    def ids(self) -> list[int]:
        return [t.id for t in self.tokens]

    @property
    def logprobs(self) -> list[float]:
        return [t.logprob for t in self.tokens]


class Bench:
    """An engine, and transformers on the same weights."""

    def __init__(self, folder: Path, dtype: str = "float32", slots: int = 4, vram_gb: float = 0.2) -> None:
        self.model = load_model(folder, torch.device("cpu"), TorchSettings(dtype=dtype, max_num_seqs=slots, vram_gb=vram_gb))
        self.engine = Engine(self.model, slots)
        self.thread = threading.Thread(target=self.engine.run, daemon=True)
        self.thread.start()
        self.peer = HunYuanVLForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.peer.generation_config.eos_token_id = sorted(self.model.stop_ids)

    def sequence(self, ask: Ask, written: Written, grammar=None) -> Sequence:
        prompt = self.model.processor(ask.pictures, ask.words)
        tokenizer = self.model.processor.tokenizer.backend_tokenizer
        return Sequence(prompt, ask.tokens, ask.penalty, tokenizer, written.sink, grammar)

    def submit(self, ask: Ask, grammar=None) -> tuple[Sequence, Written]:
        written = Written()
        sequence = self.sequence(ask, written, grammar)
        self.engine.submit(sequence)
        return sequence, written

    def write(self, *asks: Ask) -> list[Written]:
        """All at once; each waited for."""
        all_written = [self.submit(ask)[1] for ask in asks]
        for written in all_written:
            assert written.ended.wait(200)
        return all_written

    def inputs(self, ask: Ask) -> dict[str, torch.Tensor]:
        prompt = self.model.processor(ask.pictures, ask.words)
        ids = torch.from_numpy(prompt.ids)[None]
        found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if ask.pictures:
            found["pixel_values"] = torch.from_numpy(np.concatenate(prompt.patches))
            found["image_grid_thw"] = torch.tensor([[1, *grid] for grid in prompt.grids])
            found["mm_token_type_ids"] = (ids == self.peer.config.image_token_id).int()
        return found

    def reference(self, ask: Ask) -> tuple[list[int], list[float]]:
        """Ids and log-probabilities (by the raw logits) of transformers' greedy generate, the stop token left out."""
        inputs = self.inputs(ask)
        out = self.peer.generate(
            **inputs, max_new_tokens=ask.tokens, do_sample=False, repetition_penalty=ask.penalty,
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        ids = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logprobs = [float(x[0].float().log_softmax(-1)[t]) for x, t in zip(out.logits, ids, strict=True)]
        if ids[-1] in self.model.stop_ids:
            ids, logprobs = ids[:-1], logprobs[:-1]
        return ids, logprobs

    def close(self) -> None:
        self.engine.close()

    def same(self, ask: Ask, written: Written, tolerance: float = 1e-4) -> None:
        """Token for token what transformers writes, as sure of each."""
        ids, logprobs = self.reference(ask)
        assert written.ids == ids
        assert np.abs(np.subtract(written.logprobs, logprobs)).max(initial=0.0) < tolerance
