"""Pages with a text layer: which of the detected text areas the layer covers, and whether OCR confirms it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from hunyuanocr.backends.ppocr.detector import Quads
from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.types import Line, Page

SAMPLE = 6  # lines of the layer that are read by OCR as well
_MIN_SIMILARITY = 60.0  # per cent of equal letters, median of the sample
_COVERED = 0.45  # share of a detected area under lines of the layer


def layer_quads(page: Page) -> Quads:
    """Return the boxes of the layer's lines in pixels of `page.pixels`, [n, 4, 2]."""
    rows, columns = page.pixels.shape[:2]
    scale = np.array([columns / page.width, rows / page.height], dtype=np.float32)
    return np.array([line.box for line in page.text_layer], dtype=np.float32).reshape(-1, 4, 2) * scale


def uncovered(quads: Quads, layer: Quads) -> NDArray[np.bool_]:
    """Return which detected areas the layer does not cover: pictures, stamps, handwriting, letters drawn as curves. [n]."""
    low, high = quads.min(1), quads.max(1)
    layer_low, layer_high = layer.min(1), layer.max(1)
    shared = np.clip(np.minimum(high[:, None], layer_high) - np.maximum(low[:, None], layer_low), 0, None).prod(2).sum(1)
    return np.asarray(shared < _COVERED * (high - low).prod(1))


def confirmed(lines: Sequence[Line], quads: Quads, characters: frozenset[str], read: Callable[[Quads], list[str]]) -> bool:
    """Return whether OCR reads about the same as the layer: a scanner's layer may be wrong, and fonts may map letters to others.

    `characters` are those that OCR can read; lines in other scripts prove nothing. `read` recognises the text in boxes.
    """
    usable = [n for n, line in enumerate(lines) if 4 <= len(normalise_key(line.text)) <= 40 and _readable(line.text, characters)]
    if not usable:
        return True
    sample = [usable[i] for i in np.linspace(0, len(usable) - 1, min(SAMPLE, len(usable))).astype(int)]
    texts = read(quads[sample])
    scores = [fuzz.ratio(normalise_key(lines[n].text), normalise_key(text)) for n, text in zip(sample, texts, strict=True)]
    return float(np.median(scores)) >= _MIN_SIMILARITY


def _readable(text: str, characters: frozenset[str]) -> bool:
    letters = [c for c in text if not c.isspace()]
    return sum(c in characters for c in letters) >= 0.8 * len(letters)
