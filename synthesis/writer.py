"""Write a document row by row in one style, and collect the ground truth from its marks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from synthesis.document import Art, Cell, Language, Mark, Row
from synthesis.labels import labels

Place = Literal["inline", "apart", "tab", "above"]
Entry = tuple[str, str, tuple[tuple[str, str], ...]]  # label, value, (field, part of the value)…
ITEM_KEYS = ("name", "quantity", "unit_price", "amount")


DATES = {
    "zh": (
        *("%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日", "%Y-%m-%d", "%Y.%m.%d", "%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日"),
        *("%Y年{m}月{d}日", "%Y/{m}/{d}", "%Y-{m}-{d}", "%Y%m%d", "%Y年{m}月{d}日", "%y-%m-%d", "%y/%m/%d"),
    ),
    "en": (
        *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y", "%Y-%m-%d", "%d/%m/%y"),
        *("%d-%b-%y", "%d.%m.%Y", "%B {d}, %Y", "%d-%b-%Y", "{d}/{m}/%Y", "%d %B %Y"),
    ),
}
TIMES = {"zh": ("%H:%M:%S", "%H:%M", "%H:%M:%S"), "en": ("%H:%M:%S", "%H:%M", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p")}
COLONS = {"zh": ("：", ":", "：", ": ", " ", "："), "en": (":", ": ", " : ", " ", ": ")}
SYMBOLS = {"zh": ("￥", "¥", "", "", "RMB ", "", "CNY "), "en": ("$", "RM", "RM ", "", "£", "S$", "€", "", "USD ")}


@dataclass(frozen=True)
class Style:
    """The style of a document: its signs and positions, chosen once for consistency."""

    language: Language
    chars: int  # half-width letters per line: 32 on a 58 mm roll, 48 on an 80 mm roll
    colon: str  # between a label and its value in one run
    info: Place  # position of the values of dates, numbers, names
    sums: Place  # position of the values of totals
    rule: Art
    symbol: str  # before marked amounts: "￥", "$", ""
    unit: str  # after marked amounts: "元" or ""
    thousands: bool
    date: str  # strftime, {m} and {d} without leading zero
    time: str


def choose_style(rng: random.Random, language: Language) -> Style:
    """Choose a style. English dates are day first, month first or ISO."""
    symbol = rng.choice(SYMBOLS[language])
    return Style(
        language=language,
        chars=rng.choice((32, 32, 38, 42, 48)),
        colon=rng.choice(COLONS[language]),
        info=rng.choices(("inline", "apart", "tab", "above"), (7, 2, 3, 0.4))[0],
        sums=rng.choices(("inline", "apart", "tab", "above"), (3, 7, 1.5, 0.4))[0],
        rule=rng.choice(("solid", "dashed", "dashed", "double", "stars", "dashed")),
        symbol=symbol,
        unit="元" if language == "zh" and not symbol and rng.random() < 0.25 else "",
        thousands=rng.random() < (0.25 if language == "zh" else 0.5),
        date=rng.choice(DATES[language]),
        time=rng.choice(TIMES[language]),
    )


@dataclass
class Writer:
    """Appends rows to a document. The truth comes from marks; marking a field twice is an error."""

    rng: random.Random
    style: Style
    underlined: bool = False  # a form: labelled values are on a line
    rows: list[Row] = field(default_factory=list)

    def label(self, key: str) -> str:
        """Return a random label of a field."""
        return self.rng.choice(labels(self.style.language)[key])

    def money(self, cents: int, *, plain: bool = False) -> str:
        """Return an amount as this document prints it; `plain`: without the currency."""
        sign = "-" if cents < 0 else ""
        whole, rest = divmod(abs(cents), 100)
        number = f"{whole:,}.{rest:02d}" if self.style.thousands else f"{whole}.{rest:02d}"
        return sign + number if plain else f"{sign}{self.style.symbol}{number}{self.style.unit}"

    def row(self, *cells: Cell, space: float = 0.0, grid: tuple[float, ...] = ()) -> None:
        """Write cells next to each other; `grid` are the positions of a table's vertical lines."""
        self.rows.append(Row(cells, space=space, grid=grid))

    def table_of(self, entries: Sequence[Entry], count: int) -> None:
        """Write labels and values in `count` columns; a long one extends into the next column."""
        cells: list[Cell] = []
        column = 0
        for label, value, fields in entries:
            text = label + self.style.colon + value
            room = sum(2 if ord(char) >= 0x2E80 else 1 for char in text) + 2
            columns = min(count, -(-room * count // self.style.chars))
            if column + columns > count:
                self.row(*cells, space=0.15)
                cells, column = [], 0
            cells.append(self.run(label, value, fields, x=column / count))
            column += columns
        if cells:
            self.row(*cells, space=0.15)

    def art(self, art: Art, space: float = 0.0) -> None:
        """Write graphics: a rule, a bar code …"""
        self.rows.append(Row(art=art, space=space))

    def rule(self) -> None:
        """Write this document's rule."""
        self.art(self.style.rule)

    def line(
        self,
        text: str,
        name: str | None = None,
        *,
        value: str | None = None,
        like: Cell | None = None,
        scale: float = 1.0,
        bold: bool = False,
    ) -> None:
        """Write a separate line, aligned `like` a cell; `value` (default: all of `text`) is the value of field `name`."""
        like = like or Cell("")
        self.row(Cell(text, like.x, like.align, scale=scale, bold=bold, marks=marked(text, name, value)))

    def pair(
        self,
        label: str,
        value: str,
        fields: Sequence[tuple[str, str]] = (),
        *,
        place: Place | None = None,
        scale: float = 1.0,
        bold: bool = False,
    ) -> None:
        """Write a label and its value. `fields` are (field, part of `value`): usually one, two for a date with a time."""
        place = place or self.style.info
        if place == "inline":
            self.row(self.run(label, value, fields, scale=scale, bold=bold))
            return
        colon = self.style.colon.strip()
        marks = tuple(mark for name, part in fields for mark in marked(value, name, part))
        head = Cell(label + colon, scale=scale, bold=bold)
        if place == "above":
            self.row(head)
            self.row(Cell(value, scale=scale, bold=bold, marks=marks))
        elif place == "apart":
            self.row(head, Cell(value, 1.0, "right", scale=scale, bold=bold, marks=marks))
        else:
            self.row(head, Cell(value, 0.36, scale=scale, bold=bold, marks=marks, width=0.64))

    def run(
        self,
        label: str,
        value: str,
        fields: Sequence[tuple[str, str]] = (),
        *,
        x: float = 0.0,
        scale: float = 1.0,
        bold: bool = False,
    ) -> Cell:
        """Return label and value as one run of text."""
        head = label + self.style.colon
        marks = tuple(
            Mark(m.field, m.start + len(head), m.end + len(head)) for name, part in fields for m in marked(value, name, part)
        )
        return Cell(
            head + value, x, scale=scale, bold=bold, marks=marks, width=1.0 - x, line_from=len(head) if self.underlined else None
        )


def marked(text: str, name: str | None, value: str | None = None) -> tuple[Mark, ...]:
    """Return the mark of `value` (default: all) in `text`; no mark without a name."""
    if name is None:
        return ()
    start = 0 if value is None else text.index(value)
    return (Mark(name, start, start + len(text if value is None else value)),)


def truth(rows: Sequence[Row]) -> tuple[dict[str, str | None], list[dict[str, str | None]]]:
    """Return (fields, line items) of the marks. Raises ValueError if a field is marked twice."""
    fields: dict[str, str | None] = {}
    items: dict[int, dict[str, str | None]] = {}
    for cell in (cell for row in rows for cell in row.cells):
        for mark in cell.marks:
            value = cell.text[mark.start : mark.end]
            parts = mark.field.split(".")
            home = items.setdefault(int(parts[1]), dict.fromkeys(ITEM_KEYS)) if parts[0] == "items" else fields
            if home.get(parts[-1]) is not None:
                raise ValueError(f"{mark.field} is marked twice")
            home[parts[-1]] = value
    return fields, [items[number] for number in sorted(items)]
