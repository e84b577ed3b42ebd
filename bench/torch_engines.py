"""The engines that `torch_vs_transformers.py` compares: the PyTorch engine and transformers' `generate`, timed in the same way.

Both get the same prompts (token IDs and patches, preprocessed) and decode greedily with the official repetition penalty, ignoring
stop tokens. The time of a token is that of its arrival on the host, after the GPU has computed it.
"""

from __future__ import annotations

import queue
import statistics
import threading
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hunyuanocr.backends.base import TokenChunk
from hunyuanocr.backends.torch_local.constrained_decoding import CompiledGrammar, GrammarCompiler
from hunyuanocr.backends.torch_local.engine import Engine
from hunyuanocr.backends.torch_local.loader import choose_device, load_model
from hunyuanocr.backends.torch_local.processor import Prompt
from hunyuanocr.backends.torch_local.sequence import Sequence, Sink
from hunyuanocr.config import TorchSettings
from hunyuanocr.errors import HunyuanOcrError

PENALTY = 1.08
WORDS = "提取图中的文字。"
_TOKEN_TIMEOUT_S = 300.0
_MAX_TOKENS_DURING_PREFILL = 64  # of a request, while the prompt of another one is processed


@dataclass
class Run:
    """One run: for each request the times of its tokens, and the tokens."""

    began: float
    times: list[list[float]] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    logprobs: list[list[float]] = field(default_factory=list)

    @property
    def first_token_s(self) -> float:
        """The seconds from submission to the first token, median over the requests."""
        return statistics.median(times[0] - self.began for times in self.times)

    @property
    def all_begun_s(self) -> float:
        """The seconds until every request had its first token."""
        return max(times[0] for times in self.times) - self.began

    @property
    def at_once(self) -> bool:
        """Whether all requests were being decoded at some time."""
        return max(times[0] for times in self.times) < min(times[-1] for times in self.times)

    @property
    def rate(self) -> float:
        """Tokens per second of all requests while all of them were being decoded; NaN if they never were."""
        start, end = max(times[0] for times in self.times), min(times[-1] for times in self.times)
        if start >= end:
            return float("nan")
        return sum(start < t <= end for times in self.times for t in times) / (end - start)

    def seconds_to(self, tokens: int) -> float:
        """Return the seconds until every request had `count` tokens."""
        return max(times[:tokens][-1] for times in self.times) - self.began


class Ours:
    """The PyTorch engine without its asynchronous interface."""

    def __init__(self, folder: Path, device: str, settings: TorchSettings) -> None:
        loaded = load_model(folder, choose_device(device), settings)
        self.model = replace(loaded, stop_ids=frozenset())
        self.engine = Engine(self.model, settings.max_num_seqs, graphs=settings.graphs)
        self._grammars = GrammarCompiler(loaded.processor.tokenizer, loaded.vocabulary, sorted(loaded.stop_ids))
        self._serving = False

    def serve(self) -> None:
        """Run the engine in a separate thread from now on.

        Before that it runs in the caller's thread, as transformers does: two threads that compute on a CPU have two thread pools,
        which slow each other down.
        """
        if not self._serving:
            self._serving = True
            threading.Thread(target=self.engine.run, daemon=True).start()

    def close(self) -> None:
        self.serve()
        self.engine.close()

    def prompt(self, image: np.ndarray) -> Prompt:
        return self.model.processor([image], WORDS)

    def run(self, prompts: list[Prompt], tokens: int, *, together: bool = True) -> Run:
        """Submit all prompts. `together`: earlier requests continue until the last one has its tokens."""
        events: queue.SimpleQueue[tuple[float, int, TokenChunk | HunyuanOcrError]] = queue.SimpleQueue()
        last = len(prompts) - 1
        sequences = [
            self._sequence(
                prompt,
                tokens + (_MAX_TOKENS_DURING_PREFILL * (last - n) if together else 0),
                lambda item, n=n: events.put((time.perf_counter(), n, item)),
            )
            for n, prompt in enumerate(prompts)
        ]
        run = Run(time.perf_counter(), *([[] for _ in prompts] for _ in range(3)))
        for sequence in sequences:
            self.engine.submit(sequence)
        awaited = {last} if together else set(range(len(prompts)))
        while awaited:
            while not self._serving and events.empty():
                self.engine.step()
            moment, n, item = events.get(timeout=_TOKEN_TIMEOUT_S)
            if isinstance(item, HunyuanOcrError):
                raise item
            run.times[n] += [moment] * len(item.tokens)
            run.ids[n] += [token.id for token in item.tokens]
            run.logprobs[n] += [token.logprob for token in item.tokens]
            if item.finish_reason is not None:
                awaited.discard(n)
        for sequence in sequences:
            self.engine.cancel(sequence)
        return run

    def documents(self, images: list[np.ndarray], schema: Mapping[str, Any], tokens: int, at_once: int) -> float:
        """Return documents per second, from pixels to JSON, for a number of clients that each wait for their result."""
        self.serve()
        grammar = self._grammars.compile(schema)

        def answer(image: np.ndarray) -> None:
            events: queue.SimpleQueue[TokenChunk | HunyuanOcrError] = queue.SimpleQueue()
            self.engine.submit(self._sequence(self.prompt(image), tokens, events.put, grammar))
            finished = None
            while finished is None:
                item = events.get(timeout=_TOKEN_TIMEOUT_S)
                if isinstance(item, HunyuanOcrError):
                    raise item
                finished = item.finish_reason

        with ThreadPoolExecutor(at_once) as clients:
            began = time.perf_counter()
            list(clients.map(answer, images))
            return len(images) / (time.perf_counter() - began)

    def _sequence(self, prompt: Prompt, tokens: int, sink: Sink, grammar: CompiledGrammar | None = None) -> Sequence:
        return Sequence(prompt, tokens, PENALTY, self.model.processor.tokenizer.backend_tokenizer, sink, grammar)


class Theirs:
    """transformers' `generate`, with scaled dot product attention."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        from transformers import HunYuanVLForConditionalGeneration

        model = HunYuanVLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
        self.model = model.eval().requires_grad_(False).to(device)
        self.model.generation_config.eos_token_id = None  # decode up to the last token
        self._device = device

    def run(self, prompts: list[Prompt], tokens: int, **options: Any) -> Run:
        """Run all prompts as one batch; `options` select the cache. Prompts must have equal lengths: none is padded."""
        inputs = {name: value.to(self._device) for name, value in self._inputs(prompts).items()}
        run, streamer = Run(0.0), _Clock()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        run.began = time.perf_counter()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = self.model.generate(
                **inputs, max_new_tokens=tokens, do_sample=False, repetition_penalty=PENALTY, streamer=streamer, **options
            )
        run.ids = written[:, inputs["input_ids"].shape[1] :].tolist()
        if len(streamer.times) != tokens + 1 or len(run.ids[0]) != tokens:
            raise RuntimeError(f"transformers wrote {len(run.ids[0])} tokens of {tokens}")
        run.times = [streamer.times[1:]] * len(prompts)  # the first are the prompt's
        return run

    def _inputs(self, prompts: list[Prompt]) -> dict[str, torch.Tensor]:
        """Return the inputs of transformers' processor; those of our processor are bit-identical (tests)."""
        ids = torch.from_numpy(np.stack([prompt.ids for prompt in prompts]))
        grids = [[1, *grid] for prompt in prompts for grid in prompt.grids]
        patches = np.concatenate([patches for prompt in prompts for patches in prompt.patches])
        return {
            "input_ids": ids, "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == self.model.config.image_token_id).long(),
            "pixel_values": torch.from_numpy(patches), "image_grid_thw": torch.tensor(grids),
        }  # fmt: skip


class _Clock:
    """A streamer that records the times of tokens, which transformers delivers on the host."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def cache_settings(device: str, streams: int) -> dict[str, dict[str, Any]]:
    """Return the options of `generate` from which the fastest is selected. Compilation takes a minute; only on a GPU."""
    settings: dict[str, dict[str, Any]] = {"dynamic cache": {}}
    if device != "cuda":
        settings["static cache"] = {"cache_implementation": "static", "disable_compile": True}
    elif streams == 1:
        settings["static cache, compiled"] = {"cache_implementation": "static"}
    return settings
