"""The content of small receipts: rows of cells with the ground truth of their fields; amounts add up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from demo_model import lexicon
from synthesis import identities, lexicon_en

Side = Literal["left", "center", "right"]
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日", "%Y.%m.%d", "%Y-%m-%d")
FIELDS = tuple(lexicon.ASKED)
MAX_ROWS = 12


@dataclass(frozen=True)
class Cell:
    """A run of text; `fields` are (field, value within the text)."""

    text: str
    side: Side = "left"
    fields: tuple[tuple[str, str], ...] = ()
    large: bool = False


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Layout:
    """The layout of a receipt."""

    date_first: bool
    titled: bool
    apart: bool  # sums: label left, value right; otherwise in one run
    two_rows: bool  # items: name above the numbers
    rule: bool
    phone_last: bool

    def key(self) -> str:
        """Return a name, which decides whether the layout is held out."""
        return "layout:" + "".join("01"[value] for value in vars(self).values())


@dataclass
class Receipt:
    """Rows from top to bottom, None for a rule; `fields` as printed."""

    rows: Sequence[Row | None]

    def fields(self) -> dict[str, str]:
        """Return every printed field."""
        return {name: value for row in self.rows if row for cell in row for name, value in cell.fields}


def choose_layout(rng: random.Random, *, unseen: bool) -> Layout:
    """Choose a layout of the training data, or a held-out one."""
    while True:
        layout = Layout(*(rng.random() < 0.5 for _ in range(6)))
        if lexicon.held_out(layout.key()) is unseen:
            return layout


def shop(rng: random.Random, *, unseen: bool) -> str:
    """Choose a shop name of the training data, or a held-out one."""
    while True:
        if rng.random() < 0.2:
            name = f"{rng.choice(lexicon_en.STEMS_A[:40])} {rng.choice(lexicon.EN_KINDS)}"
        else:
            name = rng.choice(lexicon.STEMS_A) + rng.choice(lexicon.STEMS_B) + rng.choice(lexicon.KINDS)
        if lexicon.held_out(name) is unseen:
            return name


def receipt(rng: random.Random, *, unseen: bool = False, max_rows: int = MAX_ROWS) -> Receipt:
    """Create a receipt of at most `max_rows` rows. `unseen`: with a held-out shop and layout."""
    layout = choose_layout(rng, unseen=unseen)
    head, foot = _head(rng, layout, unseen=unseen), _foot(rng, layout)
    items, sums = _body(rng, layout, max_rows - len(head) - len(foot))
    rows: list[Row | None] = [*head, *items, *sums, *foot]
    if layout.rule:
        rows.insert(len(head) + len(items), None)
    return Receipt(rows)


def _value(rng: random.Random, name: str, value: str, extra: tuple[tuple[str, str], ...] = ()) -> Row:
    label = rng.choice(lexicon.LABELS[name])
    return (Cell(label + rng.choice(("：", ":", ": ")) + value, fields=extra or ((name, value),)),)


def _head(rng: random.Random, layout: Layout, *, unseen: bool) -> list[Row]:
    rows: list[Row] = []
    if rng.random() < 0.95:
        name = shop(rng, unseen=unseen)
        rows.append((Cell(name, "center", (("merchant", name),), large=rng.random() < 0.4),))
    if layout.titled:
        rows.append((Cell(rng.choice(lexicon.TITLES), "center"),))
    dated = [] if rng.random() < 0.1 else [_date(rng)]
    others = []
    if rng.random() < 0.5:
        others.append(_value(rng, "receipt_number", f"{rng.randrange(10**5, 10**8)}"))
    if rng.random() < 0.3:
        name = rng.choice(lexicon.SURNAMES) + rng.choice(lexicon.GIVEN) if rng.random() < 0.5 else f"{rng.randint(1, 999):03d}"
        others.append(_value(rng, "cashier", name))
    return rows + (dated + others if layout.date_first else others + dated)


def _date(rng: random.Random) -> Row:
    when = identities.moment(rng)
    day = when.strftime(rng.choice(DATES))
    roll = rng.random()
    if roll < 0.2:
        return (Cell(day, "center", (("date", day),)),)
    if roll < 0.6:
        return _value(rng, "date", day)
    hour = when.strftime("%H:%M")
    return _value(rng, "date", f"{day} {hour}", (("date", day), ("time", hour)))


def _body(rng: random.Random, layout: Layout, space: int) -> tuple[list[Row], list[Row]]:
    tail = 1 + (extra := rng.choice((0, 0, 1, 2)))
    each = 2 if layout.two_rows else 1
    count = max(1, min(rng.randint(1, 5), (space - tail) // each))
    items, sum_ = [], 0
    for _ in range(count):
        name, price = rng.choice(lexicon.EN_GOODS if rng.random() < 0.2 else lexicon.GOODS)
        cents, pieces = max(10, round(price * rng.uniform(60, 170))), rng.choice((1, 1, 1, 2, 3))
        sum_ += cents * pieces
        amount = _money(cents * pieces)
        if layout.two_rows:
            items += [(Cell(name),), (Cell(f"{pieces} x {_money(cents)}"), Cell(amount, "right"))]
        else:
            items.append((Cell(name if pieces == 1 else f"{name} x{pieces}"), Cell(amount, "right")))
    return items, _sums(rng, layout, sum_, extra)


def _sums(rng: random.Random, layout: Layout, cents: int, extra: int) -> list[Row]:
    sign = rng.choice(("", "", "￥", "¥"))
    pairs = []
    if extra == 1:
        cut = cents // rng.choice((10, 20))
        pairs.append(("discount", f"-{_money(cut)}"))
        cents -= cut
    pairs.append(("total_amount", sign + _money(cents)))
    if extra == 2:
        paid = -(-cents // 5000) * 5000
        pairs += [("paid_amount", sign + _money(paid)), ("change", sign + _money(paid - cents))]
    rows: list[Row] = []
    for name, value in pairs:
        if layout.apart:
            rows.append((Cell(rng.choice(lexicon.LABELS[name])), Cell(value, "right", ((name, value),))))
        else:
            rows.append(_value(rng, name, value))
    return rows


def _foot(rng: random.Random, layout: Layout) -> list[Row]:
    rows: list[Row] = []
    if rng.random() < 0.3:
        way = rng.choice(lexicon.PAYMENTS)
        rows.append(_value(rng, "payment_method", way))
    tel = [_value(rng, "phone", f"0{rng.randint(10, 29)}-{rng.randrange(2 * 10**7, 9 * 10**7)}")] if rng.random() < 0.3 else []
    thanks: list[Row] = [(Cell(rng.choice(lexicon.GREETINGS), "center"),)] if rng.random() < 0.6 else []
    return rows + (thanks + tel if layout.phone_last else tel + thanks)


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def noise(rng: random.Random, glyphs: str) -> Row:
    """Return a row of random characters, so that each occurs and none can be guessed from its context."""
    roll = rng.random()
    if roll < 0.35:
        return (Cell(str(rng.randrange(10 ** rng.randint(1, 8))), rng.choice(("left", "right", "center"))),)
    if roll < 0.5:
        return (Cell(rng.choice(lexicon.GOODS)[0]), Cell(_money(rng.randrange(10, 99999)), "right"))
    return (Cell("".join(rng.choice(glyphs) for _ in range(rng.randint(2, 12))), rng.choice(("left", "center"))),)


def dense(rng: random.Random, glyphs: str) -> Row:
    """Return a row that is full of random text from edge to edge."""
    text = ""
    while sum(1 + (ord(char) >= 0x2E80) for char in text) < 34:
        text += " " * rng.randint(0, 2) + "".join(cell.text for cell in noise(rng, glyphs)[:1])
    return (Cell(text),)
