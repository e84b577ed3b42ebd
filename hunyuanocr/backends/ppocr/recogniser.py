"""The text recogniser, a CTC network (Graves et al., "Connectionist Temporal Classification", ICML 2006), in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.crops import Crop, split_at_gaps
from hunyuanocr.backends.ppocr.network import Images, Network, Output
from hunyuanocr.errors import ConfigError

_STEP = 16  # of the widths of batches, so that few sizes occur and padding is small
_HEIGHT = 48  # of PP-OCR's recognisers, and of a recogniser with dynamic height
_PADDING = 127  # 0 after normalisation, as in training


@dataclass(frozen=True)
class RecognisedText:
    """A text, the mean probability of its characters, 0…1 (0 for an empty text), and that of each character."""

    text: str
    confidence: float
    letters: tuple[float, ...]


@dataclass(frozen=True)
class _Piece:
    line: int  # index of its crop
    pixels: Crop
    spaced: bool  # whether a space precedes it


class Recogniser:
    """Recognises crops of `height` pixels."""

    def __init__(self, network: Network, characters: Sequence[str], *, batch: int, widest: int = 1600) -> None:
        """`characters` are those without the blank; a batch has at most `batch` crops of at most `widest` pixels."""
        number, channels, height, width = network.shape
        self._network = network
        self._characters = np.array(["", *characters], dtype=object)
        self.characters = frozenset(characters)
        self._fixed_number, self._fixed_width = number, width
        self._grey = channels == 1
        self._batch = number or batch
        self._widest = width or widest
        self.height = height or _HEIGHT

    @property
    def classes(self) -> int:
        """Number of classes, including the blank."""
        return len(self._characters)

    def read(self, crops: Sequence[Crop], check_cancelled: Callable[[], None] = lambda: None) -> list[RecognisedText]:
        """Return one text for each crop [height, w, 3], in order. `check_cancelled` is called before each batch and may raise."""
        pieces = [
            _Piece(number, pixels, spaced)
            for number, crop in enumerate(crops)
            for pixels, spaced in split_at_gaps(crop, self._widest)
        ]
        groups = self._groups(np.array([p.pixels.shape[1] for p in pieces], dtype=np.intp))

        def batches() -> Iterator[Images]:
            for group in groups:
                check_cancelled()
                yield self._padded_batch([pieces[i].pixels for i in group])

        read: list[tuple[str, NDArray[np.float32]]] = [("", np.zeros(0, np.float32))] * len(pieces)
        for group, output in zip(groups, self._network.run(batches()), strict=True):
            for i, result in zip(group, self._decode(output), strict=False):  # a fixed batch may be padded
                read[i] = result
        return self._join(len(crops), pieces, read)

    def _groups(self, widths: NDArray[np.intp]) -> list[list[int]]:
        """Return indices by batch: full batches of one width bucket, the others in batches of one, the widest first.

        Runtimes cache a kernel for every input size: with batches of many sizes their memory would grow for hours.
        """
        if self._fixed_number:
            order = np.argsort(-widths, kind="stable").tolist()
            return [order[i : i + self._fixed_number] for i in range(0, len(order), self._fixed_number)]
        buckets = -(-widths // _STEP) * _STEP
        groups: list[list[int]] = []
        for width in np.unique(buckets)[::-1]:
            same = np.flatnonzero(buckets == width).tolist()
            size = max(1, min(self._batch, self._batch * 320 // int(width)))  # limits the memory of a batch
            full = len(same) // size * size
            groups += [same[i : i + size] for i in range(0, full, size)]
            groups += [[i] for i in same[full:]]
        return groups

    def _padded_batch(self, crops: Sequence[Crop]) -> Images:
        widest = max(crop.shape[1] for crop in crops)
        width = self._fixed_width or -(-widest // _STEP) * _STEP
        number = self._fixed_number or len(crops)
        batch = np.full((number, self.height, width, 1 if self._grey else 3), _PADDING, np.uint8)
        for target, crop in zip(batch, crops, strict=False):
            target[:, : crop.shape[1]] = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)[..., None] if self._grey else crop
        return batch

    def _decode(self, output: Output) -> list[tuple[str, NDArray[np.float32]]]:
        """Decode [n, steps, classes] by the best path: the most probable class of each step, repeats merged, blanks dropped."""
        best = output.argmax(2)
        probabilities = np.take_along_axis(output, best[..., None], 2)[..., 0]
        if not self._sums_to_one(output):
            probabilities = 1 / np.exp(output - probabilities[..., None]).sum(2)
        kept = best != 0
        kept[:, 1:] &= best[:, 1:] != best[:, :-1]
        return [("".join(self._characters[b[k]]), c[k]) for b, k, c in zip(best, kept, probabilities, strict=True)]

    @staticmethod
    def _sums_to_one(output: Output) -> bool:
        """Return whether the output holds probabilities (the graph ends in a softmax) or logits."""
        first = output[0, 0]
        return bool(first.min() >= 0 and abs(float(first.sum()) - 1) < 0.02)

    @staticmethod
    def _join(lines: int, pieces: Sequence[_Piece], read: Sequence[tuple[str, NDArray[np.float32]]]) -> list[RecognisedText]:
        texts, letters = [""] * lines, [np.zeros(0, np.float32)] * lines
        for piece, (text, probabilities) in zip(pieces, read, strict=True):
            gap = " " if piece.spaced and texts[piece.line] and text else ""
            texts[piece.line] += gap + text
            letters[piece.line] = np.concatenate([letters[piece.line], _UNKNOWN[: len(gap)], probabilities])
        return [_recognised(text, found) for text, found in zip(texts, letters, strict=True)]


_UNKNOWN = np.full(1, np.nan, np.float32)  # probability of a space between two pieces


def _recognised(text: str, letters: NDArray[np.float32]) -> RecognisedText:
    """Return the text without the spaces around it."""
    start, stripped = len(text) - len(text.lstrip()), text.strip()
    confidence = float(np.nanmean(letters)) if len(letters) else 0.0
    own = np.nan_to_num(letters[start : start + len(stripped)], nan=1.0)
    return RecognisedText(stripped, confidence, tuple(round(float(p), 3) for p in own))


def load_charset(network: Network, path: Path | None, classes: int) -> list[str]:
    """Return the characters of a recogniser with `classes` classes: from `path` (one per line), else from its metadata.

    PP-OCR's dictionaries omit the space, which is the last class. Raises ConfigError if the number of classes does not match.
    """
    if path is not None:
        try:
            characters = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"The dictionary {path} cannot be read: {e}.") from e
        characters = [c.rstrip("\r") for c in characters]
    elif "character" in network.metadata:
        characters = network.metadata["character"].split("\n")
    else:
        raise ConfigError(
            "The recogniser's file has no list of characters.", hint="Set ppocr.dictionary: a file with one character per line."
        )
    if characters and characters[-1] == "":
        characters.pop()
    if classes == len(characters) + 2:
        characters.append(" ")
    if classes != len(characters) + 1:
        raise ConfigError(
            f"The dictionary has {len(characters)} characters, but the recogniser has {classes} classes including the blank.",
            hint="Use the dictionary of the recogniser's training: one character per line, without the blank.",
        )
    return characters
