"""The content of a synthetic document: rows of cells, with marks for the parts that are values of fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]
Kind = Literal["receipt", "prescription", "invoice", "parcel"]
Align = Literal["left", "center", "right"]
Art = Literal["solid", "dashed", "double", "stars", "barcode", "qr"]


@dataclass(frozen=True)
class Mark:
    """Characters `start`…`end` of a cell's text are the value of `field` (`items.0.name` for a line item's part)."""

    field: str
    start: int
    end: int


@dataclass(frozen=True)
class Cell:
    """A run of text. `x` is its left, centre or right edge (0…1 of the printed width), `width` its maximum width."""

    text: str
    x: float = 0.0
    align: Align = "left"
    width: float = 1.0
    scale: float = 1.0
    bold: bool = False
    marks: tuple[Mark, ...] = ()
    line_from: int | None = None  # letters from here on are on a drawn line, as in a form


@dataclass(frozen=True)
class Row:
    """Cells next to each other, or graphics (a rule, a bar code). `space` is extra space below, in ems."""

    cells: tuple[Cell, ...] = ()
    art: Art | None = None
    space: float = 0.0
    grid: tuple[float, ...] = ()  # vertical lines of a table at these shares of the width, horizontal lines above and below


@dataclass(frozen=True)
class Document:
    """The content of one document; all values in `fields` and `items` are as printed, None when they are not printed."""

    kind: Kind
    variant: str
    language: Language
    chars: int  # half-width letters to a line
    rows: tuple[Row, ...]
    fields: Mapping[str, str | None]
    items: tuple[Mapping[str, str | None], ...]
    unlabelled: tuple[str, ...]
    cents: Mapping[str, int]
    seal: str | None = None  # the words of a red seal at the foot, or None

    @property
    def labelled(self) -> bool:
        """Whether total and date have labels; a shop's name in the heading needs none."""
        return not {"total_amount", "date"} & set(self.unlabelled)
