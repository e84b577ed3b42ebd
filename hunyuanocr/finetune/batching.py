"""What a model is trained on: a picture, what is asked about it, and the answers; and batches of them as tensors."""

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

IGNORED = -100  # a label that no loss is taken of
BLANK = 0  # of a slot without a character


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture (uint8 RGB [h, w, 3]) and its turns, (words asked, answer) each; none where it only teaches to tell characters.

    `glyphs` are its characters with their centres in pixels (character, x, y), where they are known: they teach the vision
    tower to read, see `reading.SlotHead`.
    """

    image: NDArray[np.uint8]
    turns: tuple[tuple[str, str], ...]
    glyphs: tuple[tuple[str, float, float], ...] | None = None


class SampleSource(Protocol):
    """Where samples come from. The same (level, step) must always give the same samples, or resuming is not exact."""

    def batch(self, level: int, step: int, count: int) -> list[Sample]:
        """`count` samples of equal picture size; fewer where there are no more of it."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B samples as tensors; T tokens, the picture's placeholders at `span`.

    `patches` [B, h·w, 3·patch²], `ids` and `labels` [B, T], `positions` [axes, B, T], `mask` [B, 1, T, T] (True: may look),
    `slots` [B, h/2·w/2, slots] classes of `reading.Alphabet` or None. All turns of a sample share the picture in one sequence,
    and `mask` keeps them from seeing one another.
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
        """The same on a device."""
        moved: dict[str, Any] = {key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


class Collator:
    """Samples → batches, with the engine's own processor, so that training sees what serving will see."""

    def __init__(self, processor: Processor, alphabet: str = "", slots: int = 5) -> None:
        """`alphabet` are the characters whose places are taught; empty for none."""
        self._processor = processor
        self._classes = {char: n + 1 for n, char in enumerate(alphabet)}
        self._slots = slots
        self._eos = int(processor.tokenizer.eos_token_id)
        self._asked = lru_cache(maxsize=4096)(self._encode_words)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Raises InvalidValue for pictures that the processor scales to different sizes."""
        prefixes = [self._processor([sample.image], "") for sample in samples]
        grid, (start, end) = prefixes[0].grids[0], prefixes[0].spans[0]
        if any(prefix.grids[0] != grid for prefix in prefixes):
            raise InvalidValue("The pictures of a batch must be of one size.", hint="Group them by their size in patches.")
        head = prefixes[0].ids[: end + 1]  # up to the picture's end mark
        rows = [self._row(sample) for sample in samples]
        length = len(head) + max(len(ids) for ids, _, _ in rows)
        axes = prefixes[0].positions.shape[0]
        shape = (len(samples), length)
        ids, labels = np.full(shape, self._eos, np.int64), np.full(shape, IGNORED, np.int64)
        parts, positions = np.full(shape, -1, np.int64), np.zeros((axes, *shape), np.int64)
        ids[:, : len(head)], parts[:, : len(head)] = head, 0
        positions[:, :, : len(head)] = prefixes[0].positions[:, None, : len(head)]
        for n, (tail, wanted, turn) in enumerate(rows):
            place = slice(len(head), len(head) + len(tail))
            ids[n, place], labels[n, place], parts[n, place] = tail, wanted, turn
            positions[:, n, place] = len(head) + _counted(turn)
        patches = np.stack([prefix.patches[0] for prefix in prefixes])
        return Batch(
            torch.from_numpy(patches), grid, torch.from_numpy(ids), torch.from_numpy(labels), torch.from_numpy(positions),
            _mask(torch.from_numpy(parts)), (start, end), self._slot_labels(samples, grid),
        )  # fmt: skip

    def _encode_words(self, words: str) -> NDArray[np.int64]:
        """The ids after the picture: the words and the mark that ends the turn."""
        prompt = self._processor([np.zeros((64, 64, 3), np.uint8)], words)
        return prompt.ids[prompt.spans[0][1] + 1 :]

    def _row(self, sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(ids, labels, number of the turn) behind the picture."""
        ids: list[NDArray[np.int64]] = []
        labels, turns = [], []
        for number, (words, answer) in enumerate(sample.turns, start=1):
            asked = self._asked(words)
            told = self._processor.tokenizer.encode(answer, add_special_tokens=False)
            said = np.array([*told, self._eos], np.int64)
            ids += [asked, said]
            labels += [np.full(len(asked), IGNORED, np.int64), said]
            turns.append(np.full(len(asked) + len(said), number, np.int64))
        if not turns:
            return (np.zeros(0, np.int64),) * 3
        return np.concatenate(ids), np.concatenate(labels), np.concatenate(turns)

    def _slot_labels(self, samples: Sequence[Sample], grid: tuple[int, int]) -> Tensor | None:
        """The classes of the characters whose centres lie in each image token, from left to right."""
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


def _counted(turns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of each token within its turn: every turn begins right behind the picture."""
    starts = np.searchsorted(turns, turns)
    return np.arange(len(turns)) - starts


def _mask(parts: Tensor) -> Tensor:
    """Who may look at whom: earlier tokens of the picture's part (0) and of the own turn. Padding (−1) looks at itself."""
    length = parts.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    own = (parts[:, None, :] == parts[:, :, None]) | (parts[:, None, :] == 0)
    return (own & earlier)[:, None]
