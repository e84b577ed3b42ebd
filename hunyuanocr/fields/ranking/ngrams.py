"""Texts as hashed letter n-grams, which survive misread letters and lost spaces."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.folding import fold

ROWS = 8192  # of the learned table of n-grams
WIDTH = 256  # of the vectors that are compared with the words of the catalogue
_MAX_LETTERS, _MAX_NGRAMS = 48, 72
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DIGIT, _MARKS = re.compile(r"\d"), re.compile(r"[^\w%#€$¥£]+|_")


@lru_cache(maxsize=2048)  # the texts of some pages
def ngrams(text: str) -> tuple[int, ...]:
    """Return the hashes of the words and n-grams of a text, at most 72. Digits are all the same; case and diacritics are ignored.

    Latin words have n-grams of 3 and 4 letters with their boundaries, Chinese characters those of 1 to 3.
    """
    plain = _MARKS.sub(" ", _DIGIT.sub("0", fold(to_simplified(_CAMEL.sub(" ", text[: 2 * _MAX_LETTERS])))))[:_MAX_LETTERS]
    found: list[str] = []
    for word in plain.split():
        marked = f"<{word}>"
        found.append("=" + word)
        if ord(word[0]) > 0x2E80:
            found += [
                *word,
                *(marked[i : i + 2] for i in range(len(marked) - 1)),
                *(word[i : i + 3] for i in range(len(word) - 2)),
            ]
        else:
            found += [marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1)]
    return tuple(zlib.crc32(gram.encode()) for gram in found[:_MAX_NGRAMS])


def table_rows(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the learned table of all texts, [n-grams], and where each text begins, [texts]. Row 0: no letters."""
    rows: list[int] = []
    starts: list[int] = []
    for text in texts:
        starts.append(len(rows))
        rows += [1 + gram % (ROWS - 1) for gram in ngrams(text)] or [0]
    return np.array(rows, np.int64), np.array(starts, np.int64)


def count_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return how often each n-gram occurs, hashed with signs to [texts, WIDTH] (Weinberger et al., 2009)."""
    grams = [ngrams(text) for text in texts]
    hashes = np.fromiter((g for found in grams for g in found), np.int64)
    owner = np.repeat(np.arange(len(texts)), [len(found) for found in grams])
    cell = owner * WIDTH + (hashes >> 13) % WIDTH
    signs = np.where(hashes & 1, 1.0, -1.0)
    return np.bincount(cell, signs, len(texts) * WIDTH).astype(np.float32).reshape(len(texts), WIDTH)
