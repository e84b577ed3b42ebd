"""The prefill of one prompt, in chunks: vision encoder layers first, then prompt tokens into the KV cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import Attention
from hunyuanocr.backends.torch_local.loader import LoadedModel
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.backends.torch_local.vision_encoder import encode_in_chunks

_FINISHED = object()


class PromptPrefill:
    """Holds the prompt's embeddings on the device until all of its tokens are in the KV cache."""

    def __init__(self, model: LoadedModel, attention: Attention, sequence: Sequence) -> None:
        self.sequence = sequence
        self.ids = torch.from_numpy(sequence.prompt.ids).to(model.device)
        self._model = model
        self._attention = attention
        self._embeddings = F.embedding(self.ids, model.decoder.embedding)  # [tokens, hidden]
        self._positions = torch.from_numpy(sequence.prompt.positions).to(model.device)
        self._vision_chunks = _encode_images(model, sequence, self._embeddings)
        self._num_cached = 0

    def step(self, chunk: int) -> Tensor | None:
        """Run one chunk: some vision layers, or the next `chunk` prompt tokens.

        Return the last hidden state [hidden] after the last chunk, otherwise None.
        """
        if next(self._vision_chunks, _FINISHED) is not _FINISHED:
            return None
        start, end = self._num_cached, min(self._num_cached + chunk, len(self.ids))
        hidden = self._model.decoder.prefill(
            self._embeddings[start:end], self._positions[:, start:end], self._attention, self.sequence.kv_start, start
        )
        self._num_cached = end
        return hidden[-1] if end == len(self.ids) else None


def _encode_images(model: LoadedModel, sequence: Sequence, embeddings: Tensor) -> Iterator[None]:
    """Replace the image placeholders in `embeddings` by the encoder's features; yield after each chunk of vision layers.

    Not a method: a generator that refers to its owner would keep the activations of a cancelled prompt until the next garbage
    collection.
    """
    prompt = sequence.prompt
    work = model.prefill_chunk * model.decoder.work
    for patches, grid, (start, end) in zip(prompt.patches, prompt.grids, prompt.spans, strict=True):
        for features in encode_in_chunks(model.vision_tower, torch.from_numpy(patches).to(model.device), grid, work):
            if features is not None:
                embeddings[start:end] = features.to(embeddings.dtype)
            yield
    sequence.prompt = replace(prompt, patches=())  # up to 50 MB per image, not needed while the output is generated
