"""Training samples (an image, prompts about it, and answers) and batches of them as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.errors import InvalidValue

IGNORED = -100  # a label without a loss
BLANK = 0  # class of a slot without a character


@dataclass(frozen=True, eq=False)
class Sample:
    """An image (uint8 RGB [h, w, 3]) and its turns, (prompt, answer) each; without turns it only trains the character head.

    `glyphs` are its characters with their centres in pixels (character, x, y), if known; they train the vision encoder, see
    `char_head.CharacterHead`.
    """

    image: NDArray[np.uint8]
    turns: tuple[tuple[str, str], ...]
    glyphs: tuple[tuple[str, float, float], ...] | None = None


class SampleSource(Protocol):
    """A source of samples. The same (level, step) must always return the same samples, so that resuming is exact."""

    def batch(self, level: int, step: int, count: int) -> list[Sample]:
        """Return `count` samples with the same image size, or fewer if no more exist."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples as tensors; T tokens; the image placeholders are at `span`.

    `patches` [B, h·w, 3·patch²], `ids` and `labels` [B, T], `positions` [axes, B, T], `mask` [B, 1, T, T] (True: may attend),
    `slots` [B, h/2·w/2, slots] classes of the character head or None. All turns of a sample share the image in one sequence; the
    `mask` isolates them from each other.
    """

    patches: Tensor
    grid: tuple[int, int]
    ids: Tensor
    labels: Tensor
    positions: Tensor
    mask: Tensor
    span: tuple[int, int]
    slots: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved: dict[str, Any] = {key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


class Collator:
    """Convert samples to batches with the engine's own processor, so that training and serving use the same input."""

    def __init__(self, processor: Processor, alphabet: str = "", slots: int = 5) -> None:
        """`alphabet`: characters with known positions for the character head; empty for none."""
        self._processor = processor
        self._classes = {char: n + 1 for n, char in enumerate(alphabet)}
        self._slots = slots
        self._eos = int(processor.tokenizer.eos_token_id)
        self._prompt_ids = lru_cache(maxsize=4096)(self._encode_prompt)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch. Raises InvalidValue if the processor scales the images to different sizes."""
        prefixes = [self._processor([sample.image], "") for sample in samples]
        grid, (start, end) = prefixes[0].grids[0], prefixes[0].spans[0]
        if any(prefix.grids[0] != grid for prefix in prefixes):
            raise InvalidValue("The images of a batch must have the same size.", hint="Group them by their size in patches.")
        head = prefixes[0].ids[: end + 1]  # up to the end token of the image
        rows = [self._row(sample) for sample in samples]
        length = len(head) + max(len(ids) for ids, _, _ in rows)
        axes = prefixes[0].positions.shape[0]
        shape = (len(samples), length)
        ids, labels = np.full(shape, self._eos, np.int64), np.full(shape, IGNORED, np.int64)
        parts, positions = np.full(shape, -1, np.int64), np.zeros((axes, *shape), np.int64)
        ids[:, : len(head)], parts[:, : len(head)] = head, 0
        positions[:, :, : len(head)] = prefixes[0].positions[:, None, : len(head)]
        for n, (tail, targets, turn) in enumerate(rows):
            tokens = slice(len(head), len(head) + len(tail))
            ids[n, tokens], labels[n, tokens], parts[n, tokens] = tail, targets, turn
            positions[:, n, tokens] = len(head) + _turn_positions(turn)
        patches = np.stack([prefix.patches[0] for prefix in prefixes])
        return Batch(
            torch.from_numpy(patches),
            grid,
            torch.from_numpy(ids),
            torch.from_numpy(labels),
            torch.from_numpy(positions),
            _mask(torch.from_numpy(parts)),
            (start, end),
            self._slot_labels(samples, grid),
        )

    def _encode_prompt(self, text: str) -> NDArray[np.int64]:
        """Return the ids after the image: the prompt and the token that ends the user turn."""
        prompt = self._processor([np.zeros((64, 64, 3), np.uint8)], text)
        return prompt.ids[prompt.spans[0][1] + 1 :]

    def _row(self, sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return (ids, labels, turn number) of the tokens after the image."""
        ids: list[NDArray[np.int64]] = []
        labels, turns = [], []
        for number, (prompt, answer) in enumerate(sample.turns, start=1):
            prompt_ids = self._prompt_ids(prompt)
            encoded = self._processor.tokenizer.encode(answer, add_special_tokens=False)
            answer_ids = np.array([*encoded, self._eos], np.int64)
            ids += [prompt_ids, answer_ids]
            labels += [np.full(len(prompt_ids), IGNORED, np.int64), answer_ids]
            turns.append(np.full(len(prompt_ids) + len(answer_ids), number, np.int64))
        if not turns:
            return (np.zeros(0, np.int64),) * 3
        return np.concatenate(ids), np.concatenate(labels), np.concatenate(turns)

    def _slot_labels(self, samples: Sequence[Sample], grid: tuple[int, int]) -> Tensor | None:
        """Return the classes of the characters with their centres in each image token, from left to right."""
        if not self._classes or any(sample.glyphs is None for sample in samples):
            return None
        height, width = grid[0] // 2, grid[1] // 2
        slots = np.full((len(samples), height, width, self._slots), BLANK, np.int64)
        for n, sample in enumerate(samples):
            tall, wide = sample.image.shape[:2]
            filled = np.zeros((height, width), np.int64)
            for char, x, y in sorted(sample.glyphs or (), key=lambda glyph: glyph[1]):
                row, column = int(y / tall * height), int(x / wide * width)
                if char in self._classes and 0 <= row < height and 0 <= column < width and filled[row, column] < self._slots:
                    slots[n, row, column, filled[row, column]] = self._classes[char]
                    filled[row, column] += 1
        return torch.from_numpy(slots.reshape(len(samples), height * width, self._slots))


def _turn_positions(turns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each token in its turn: every turn starts directly after the image."""
    starts = np.searchsorted(turns, turns)
    return np.arange(len(turns)) - starts


def _mask(parts: Tensor) -> Tensor:
    """Return the attention mask: earlier tokens of the image (part 0) and of the same turn. Padding (−1) attends to itself."""
    length = parts.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    own = (parts[:, None, :] == parts[:, :, None]) | (parts[:, None, :] == 0)
    return (own & earlier)[:, None]
