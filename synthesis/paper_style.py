"""The printer and paper of a document: fonts, letter size, margins, ink."""

from __future__ import annotations

import random
from dataclasses import dataclass

from synthesis.document import Document
from synthesis.fonts import Face, installed

Colour = tuple[int, int, int]

TINTS: tuple[Colour, ...] = ((255, 255, 255), (252, 252, 250), (250, 249, 244), (246, 247, 250), (252, 246, 236))
INKS: tuple[Colour, ...] = ((20, 20, 22), (40, 40, 44), (60, 58, 62), (30, 30, 40))
FORM_INKS: tuple[Colour, ...] = (*INKS, (35, 35, 80))


@dataclass(frozen=True)
class Paper:
    """`em` is the letter height in pixels; the drawing is scaled by `zoom` and, horizontally, by `stretch`."""

    face: Face
    em: int
    printed: float  # width of a full line, ems
    margin: float  # ems
    leading: float  # line distance in ems
    dots: bool  # a thermal print head: no grey levels
    zoom: float
    stretch: float
    tint: Colour
    ink: Colour


def choose_paper(rng: random.Random, document: Document, size: int | None = None) -> Paper:
    """Choose a printer for the document: 58 or 80 mm rolls, A5 forms. `size` is the width of the paper in pixels."""
    form = document.kind in {"prescription", "invoice"}
    margin, stretch = rng.uniform(0.7, 2.2), rng.uniform(0.93, 1.05)
    face = _face(rng, document, form)
    printed = document.chars * face.half  # ems
    wide = printed + 2 * margin
    lowest, highest = (800, 1400) if form else (540, 1100)
    usual = min(max(wide * rng.randint(20, 38), lowest), highest)
    target = size or usual
    dots = not form and rng.random() < 0.3
    em = 24 if dots else max(12, round(target / wide / stretch))
    return Paper(
        face=face,
        em=em,
        printed=printed,
        margin=margin,
        leading=rng.uniform(1.3, 1.75),
        dots=dots,
        zoom=target / wide / stretch / em,
        stretch=stretch,
        tint=rng.choice(TINTS),
        ink=rng.choice(FORM_INKS if form else INKS),
    )


def _face(rng: random.Random, document: Document, form: bool) -> Face:
    style = (
        rng.choices(("serif", "sans", "mono", "any"), (6, 5, 3, 1))[0]
        if form
        else rng.choice(("mono", "sans", "mono", "sans", "serif"))
    )
    chinese = [font for font in installed(chinese=True) if font.style == style] or list(installed(chinese=True))
    latin = [font for font in installed(chinese=False) if font.style == style]
    mixed = latin and rng.random() < (0.3 if document.language == "zh" else 0.8)
    return Face(rng.choice(chinese), rng.choice(latin) if mixed else None)
