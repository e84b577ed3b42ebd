"""Warnings about text that was found but cannot be read: an unknown script, a mirror image, tiny letters.

They use what detection and recognition found anyway; only a page that is illegible throughout costs up to twelve more lines.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.crops import quad_sizes
from hunyuanocr.backends.ppocr.detector import Quads
from hunyuanocr.backends.ppocr.recogniser import RecognisedText
from hunyuanocr.fields.layout import relative_char_width
from hunyuanocr.types import Page, ResultWarning

_MIN_RATIO = 1.5  # of a line's sides: shorter boxes are single letters, logos and noise
_MIN_DENSITY = 0.35  # of the box's length under the letters that were read; unknown letters are left out
_MIN_CONFIDENCE = 0.85
_ILLEGIBLE = 0.55  # share of the text's length; at most 0.37 on the development sets, 0.67 and more in foreign scripts
_GREEK = 0.25  # share of the letters: formulas have a few, and accented letters are left out
_MIN_LINES = 2
_SMALL = 9.0  # pixels, height of a line's box at the size that is read: letters of a font of about 6 pixels
_SAMPLE = 6  # lines that are read as in a mirror

_MESSAGES = {
    "script_not_supported": "Most of the text seems to be in a script that this reader does not know (see /v1/models).",
    "looks_mirrored": "The picture is a mirror image. Turn off the mirroring of the camera and take the photo again.",
    "letters_too_small": "The letters are too small to be read reliably. Move closer, or send the picture in its full size.",
}


def legibility_warnings(
    page: Page, quads: Quads, texts: Sequence[RecognisedText], read_mirrored: Callable[[Sequence[int]], Sequence[RecognisedText]]
) -> tuple[ResultWarning, ...]:
    """Return the warnings about a page. `quads` [n, 4, 2] in pixels of `page.pixels`, and the texts read in them.

    `read_mirrored` reads some of them, by index, as in a mirror.
    """
    if not texts:
        return ()
    wide, high = quad_sizes(quads)
    ratios = np.maximum(wide, high) / np.maximum(np.minimum(wide, high), 1.0)
    codes = []
    if float(np.median(np.minimum(wide, high))) < _SMALL:
        codes.append("letters_too_small")
    elif (code := _illegible(page, ratios, texts, read_mirrored)) is not None:
        codes.append(code)
    return tuple(ResultWarning(code, _MESSAGES[code], page.index) for code in codes)


def _illegible(
    page: Page,
    ratios: NDArray[np.floating[Any]],
    texts: Sequence[RecognisedText],
    read_mirrored: Callable[[Sequence[int]], Sequence[RecognisedText]],
) -> str | None:
    judged = [n for n, text in enumerate(texts) if ratios[n] >= _MIN_RATIO and not _is_number(text, float(ratios[n]))]
    if len(judged) < _MIN_LINES:
        return None
    lengths = ratios[judged]
    unread = np.array([not _is_legible(texts[n], float(ratios[n])) for n in judged])
    if float(lengths[unread].sum()) < _ILLEGIBLE * float(lengths.sum()):
        return "script_not_supported" if _is_greek(texts) else None
    unread_first = sorted(range(len(judged)), key=lambda i: (not unread[i], -float(lengths[i])))
    sample = [judged[i] for i in unread_first[:_SAMPLE]]
    legible = [_is_legible(text, float(ratios[n])) for n, text in zip(sample, read_mirrored(sample), strict=True)]
    if sum(legible) * 2 > len(sample):
        return "looks_mirrored"
    blurred = any(notice.code == "blurry" for notice in page.notices)
    return None if blurred else "script_not_supported"


def _density(text: RecognisedText, ratio: float) -> float:
    return sum(map(relative_char_width, text.text)) / ratio


def _is_legible(text: RecognisedText, ratio: float) -> bool:
    return text.confidence >= _MIN_CONFIDENCE and _density(text, ratio) >= _MIN_DENSITY


def _is_number(text: RecognisedText, ratio: float) -> bool:
    """Return whether a line consists of digits, which are readable on pages of any script."""
    return bool(text.text) and not any(map(str.isalpha, text.text)) and _density(text, ratio) >= _MIN_DENSITY


def _is_greek(texts: Sequence[RecognisedText]) -> bool:
    letters = [c for text in texts for c in text.text if c.isalpha()]
    return sum(unicodedata.name(c, "").startswith("GREEK") for c in letters) > _GREEK * len(letters)
