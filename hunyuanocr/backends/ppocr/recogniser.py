"""What a line says: a CTC recogniser (Graves et al., "Connectionist Temporal Classification", ICML 2006), in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.crops import Crop, split_at_gaps
from hunyuanocr.backends.ppocr.network import Network, Output, Pictures
from hunyuanocr.errors import ConfigError

_STEP = 16  # widths of batches: a multiple of this, so that few sizes are met and little is padded
_HEIGHT = 48  # of PP-OCR's recognisers, and of any whose file leaves it open
_PAPER = 127  # padding: 0 after normalisation, as in training


@dataclass(frozen=True)
class RecognisedText:
    """What was read, and the mean probability of its characters in 0…1 (0 when nothing was read)."""

    text: str
    confidence: float


@dataclass(frozen=True)
class _Piece:
    line: int  # which crop it was cut from
    pixels: Crop
    spaced: bool  # a space stands before it


class Recogniser:
    """Crops → texts. `height` is the pixel height at which crops are wanted."""

    def __init__(self, network: Network, characters: Sequence[str], *, batch: int, widest: int = 1600) -> None:
        """`characters` without the blank; `batch` crops at most go into one call, each at most `widest` pixels wide."""
        number, channels, height, width = network.shape
        self._network = network
        self._characters = np.array(["", *characters], dtype=object)
        self._fixed_number, self._fixed_width = number, width
        self._grey = channels == 1
        self._batch = number or batch
        self._widest = width or widest
        self.height = height or _HEIGHT

    @property
    def classes(self) -> int:
        """Classes that the dictionary speaks of, the blank counted."""
        return len(self._characters)

    def read(self, crops: Sequence[Crop], check_cancelled: Callable[[], None] = lambda: None) -> list[RecognisedText]:
        """One Text for each crop [height, w, 3], in order. `check_cancelled` is called before each batch and may raise to
        stop.
        """
        pieces = [
            _Piece(number, pixels, spaced)
            for number, crop in enumerate(crops)
            for pixels, spaced in split_at_gaps(crop, self._widest)
        ]
        groups = self._groups(np.array([p.pixels.shape[1] for p in pieces], dtype=np.intp))

        def batches() -> Iterator[Pictures]:
            for group in groups:
                check_cancelled()
                yield self._picture([pieces[i].pixels for i in group])

        read: list[tuple[str, NDArray[np.float32]]] = [("", np.zeros(0, np.float32))] * len(pieces)
        for group, output in zip(groups, self._network.run(batches()), strict=True):
            for i, result in zip(group, self._decode(output), strict=False):  # a fixed batch may be padded
                read[i] = result
        return self._join(len(crops), pieces, read)

    def _groups(self, widths: NDArray[np.intp]) -> list[list[int]]:
        """Indices by batch: full batches of one width bucket, the rest alone, the widest first so that no long one ends alone.

        An engine keeps kernels for every input size that it has met: with batches of many sizes its memory grows for hours.
        """
        if self._fixed_number:
            order = np.argsort(-widths, kind="stable").tolist()
            return [order[i : i + self._fixed_number] for i in range(0, len(order), self._fixed_number)]
        buckets = -(-widths // _STEP) * _STEP
        groups: list[list[int]] = []
        for width in np.unique(buckets)[::-1]:
            same = np.flatnonzero(buckets == width).tolist()
            room = max(1, min(self._batch, self._batch * 320 // int(width)))  # what a batch takes in memory stays even
            full = len(same) // room * room
            groups += [same[i : i + room] for i in range(0, full, room)]
            groups += [[i] for i in same[full:]]
        return groups

    def _picture(self, crops: Sequence[Crop]) -> Pictures:
        widest = max(crop.shape[1] for crop in crops)
        width = self._fixed_width or -(-widest // _STEP) * _STEP
        number = self._fixed_number or len(crops)
        batch = np.full((number, self.height, width, 1 if self._grey else 3), _PAPER, np.uint8)
        for place, crop in zip(batch, crops, strict=False):
            place[:, : crop.shape[1]] = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)[..., None] if self._grey else crop
        return batch

    def _decode(self, output: Output) -> list[tuple[str, NDArray[np.float32]]]:
        """Best path of [n, steps, classes]: the most probable class of each step, repeats merged, blanks dropped."""
        best = output.argmax(2)
        chances = np.take_along_axis(output, best[..., None], 2)[..., 0]
        if not self._sums_to_one(output):
            chances = 1 / np.exp(output - chances[..., None]).sum(2)
        kept = best != 0
        kept[:, 1:] &= best[:, 1:] != best[:, :-1]
        return [("".join(self._characters[b[k]]), c[k]) for b, k, c in zip(best, kept, chances, strict=True)]

    @staticmethod
    def _sums_to_one(output: Output) -> bool:
        """Whether these are probabilities (the graph ends in a softmax) or logits."""
        first = output[0, 0]
        return bool(first.min() >= 0 and abs(float(first.sum()) - 1) < 0.02)

    @staticmethod
    def _join(lines: int, pieces: Sequence[_Piece], read: Sequence[tuple[str, NDArray[np.float32]]]) -> list[RecognisedText]:
        texts = [""] * lines
        chances: list[list[NDArray[np.float32]]] = [[] for _ in range(lines)]
        for piece, (text, chance) in zip(pieces, read, strict=True):
            gap = " " if piece.spaced and texts[piece.line] and text else ""
            texts[piece.line] += gap + text
            chances[piece.line].append(chance)
        means = [np.concatenate(c) if c else np.zeros(0, np.float32) for c in chances]
        return [RecognisedText(t.strip(), float(m.mean()) if len(m) else 0.0) for t, m in zip(texts, means, strict=True)]


def load_charset(network: Network, path: Path | None, classes: int) -> list[str]:
    """The characters of a recogniser with `classes` classes: from `path` (one a line), else from the network's own metadata.

    PP-OCR's dictionaries leave the space out, which is then the last class. Raises ConfigError when the numbers do not meet.
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
        raise ConfigError("The recogniser's file names no characters.", hint="Set ppocr.dictionary: one character a line.")
    if characters and characters[-1] == "":
        characters.pop()
    if classes == len(characters) + 2:
        characters.append(" ")
    if classes != len(characters) + 1:
        raise ConfigError(
            f"The dictionary has {len(characters)} characters, but the recogniser has {classes} classes, the blank among them.",
            hint="Give the dictionary that the recogniser was trained with, one character a line, without the blank.",
        )
    return characters
