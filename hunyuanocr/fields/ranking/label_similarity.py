"""How much each text of a page resembles the asked words, and the labels of each known field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.fields.catalogue import KNOWN, LANGUAGES, labels_of
from hunyuanocr.fields.ranking.ngrams import count_vectors

Floats = NDArray[np.float32]
FIELDS: tuple[str, ...] = tuple(KNOWN)
FIELD_NUMBER = {name: number for number, name in enumerate(FIELDS)}


@dataclass(frozen=True)
class _Words:
    """The labels of one language. `starts` are the first words of `fields`, in order."""

    vectors: Floats  # [words, WIDTH]
    starts: NDArray[np.int64]
    fields: NDArray[np.int64]


@lru_cache(maxsize=20)  # English, Chinese and the others
def _words_of(language: str) -> _Words:
    printed = {name: words for name, words in labels_of(language).items() if words}
    vectors = count_vectors([word for words in printed.values() for word in words])
    starts = np.cumsum([0, *(len(words) for words in printed.values())])[:-1]
    return _Words(vectors, starts, np.array([FIELD_NUMBER[name] for name in printed]))


def similarity(words: Floats, texts: Floats) -> tuple[Floats, Floats]:
    """Return the cosine of each word and text, and the share of the word's n-grams that the text has; both [words, texts].

    The share is reduced where the text has much else: a label inside a long sentence is a weak one.
    """
    dots = words @ texts.T
    squares = np.maximum(np.einsum("wd,wd->w", words, words), 1e-6)[:, None]
    lengths = np.sqrt(np.maximum(np.einsum("td,td->t", texts, texts), 1e-6))[None, :]
    cosine = np.maximum(dots / (np.sqrt(squares) * lengths), 0)
    dots /= squares
    share = np.clip(dots, 0, 1.5, out=dots)
    share *= 0.35 + 0.65 * cosine
    return cosine, share


def known_similarity(texts: Floats, languages: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the similarity of texts [n, WIDTH] to the labels of each known field: best cosine and best share, both [FIELDS, n].

    `languages`: those of the page besides English and Chinese.
    """
    cosine = np.zeros((len(FIELDS), len(texts)), np.float32)
    share = np.zeros_like(cosine)
    for language in dict.fromkeys(("en", "zh", *(x for x in languages if x in LANGUAGES))):
        words = _words_of(language)
        for best, found in zip((cosine, share), similarity(words.vectors, texts), strict=True):
            best[words.fields] = np.maximum(best[words.fields], np.maximum.reduceat(found, words.starts, axis=0))
    return cosine, share
