"""Choose the total of a document: by its label, by arithmetic, and by position and size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal

from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.line_items.columns import Item
from hunyuanocr.fields.line_items.extract import item_amounts
from hunyuanocr.fields.rules.page_analysis import Amount, PageAnalysis
from hunyuanocr.fields.values.money import find_money

# The weights of an amount's features. A certain label alone is sufficient. Without a label, the sums must match, or the amount
# must be alone in its row, below the items, and larger than others.
_WEIGHTS = {
    "label": 3.0,  # score of the best label for the total, 0 … 1
    "labelled": 0.8,  # that score is high
    "other": -2.5,  # score of the best label for something else, 0 … 1
    "paid_less_change": 1.6,
    "items_sum": 1.2,
    "subtotal_and_tax": 1.2,
    "rounded": 1.2,  # the total after cash is rounded to five cents, or with the tip
    "superseded": -2.0,  # a total that is printed again later, rounded or with the tip
    "zero": -1.5,  # an amount that is still due after the payment is often zero
    "negative": -0.5,  # the total of a refund
    "before_payment": 0.6,  # the last amount above the payment
    "repeated": 0.3,  # printed more than once
    "largest": 0.4,  # the largest amount except for payments
    "height": 0.5,  # letters taller than the page's median, 0 … 1
    "alone": 0.7,  # alone in its row, below the items
    "only": 0.7,  # the only amount on the page
    "currency": 0.2,
    "late": -1.0,  # below the change, or in a tax summary
}
_MIN_SCORE = 1.15
_SUMMARY = re.compile(r"summary|analysis|税率.{0,80}税额|tax\s*code|积分", re.IGNORECASE)
_EXACT = Decimal(0)
_ROUNDING = Decimal("0.05")  # cash is rounded to five cents in Malaysia
_MAX_ROUNDING = Decimal("0.99")  # a larger amount with the label "rounding" is the rounded total


@dataclass(frozen=True)
class Candidate:
    """An amount with its features, all between 0 and 1."""

    amount: Amount
    features: dict[str, float]

    @property
    def score(self) -> float:
        """The weighted sum of the features."""
        return sum(_WEIGHTS[name] * value for name, value in self.features.items())


def choose_total(page: PageAnalysis, items: Sequence[Item]) -> tuple[TextSegment, float] | None:
    """Return the total's segment and its score, or None if the page has none."""
    rated = [c for c in _candidates(page, items) if c.score >= _MIN_SCORE]
    best = max(rated, key=lambda c: c.score, default=None)
    if best is None:
        return None
    # The same amount in digits is preferred to Chinese numerals (壹佰零陆圆整).
    in_digits = [c for c in rated if c.amount.money.amount == best.amount.money.amount and re.search(r"\d", c.amount.cell.text)]
    best = max(in_digits, key=lambda c: c.score, default=best)
    return best.amount.cell, best.score


def _label_scores(page: PageAnalysis, cell: TextSegment) -> tuple[float, float]:
    """Return the scores of the best label for the total, and of the best label for something else."""
    links = [link for link in page.links if link.cell.line == cell.line and link.cell.start == cell.start]
    names = {"total_amount"}
    if any(m.amount > _MAX_ROUNDING and m.amount.as_tuple().exponent != 0 for _, m in find_money(cell.text, page.style)):
        names.add("rounding")
    own = max((link.score for link in links if link.field in names), default=0.0)
    other = max((link.score for link in links if not names & link.label.fields.keys()), default=0.0)
    return own, other


def _linked(page: PageAnalysis, name: str, min_score: float = 0.45) -> list[Decimal]:
    """Return the amounts with a label of the field."""
    found = []
    for link in page.links:
        if link.field == name and link.score >= min_score:
            found += [a.money.amount for a in page.amounts if a.cell.line == link.cell.line and a.cell.start == link.cell.start]
    return found


def _near(value: Decimal, targets: Iterable[Decimal], tolerance: Decimal = _EXACT) -> bool:
    return any(abs(value - target) <= tolerance for target in targets)


def _targets(page: PageAnalysis, items: Sequence[Decimal]) -> dict[str, list[Decimal]]:
    """Return the possible totals by each sum on the page."""
    paid, change = [abs(p) for p in _linked(page, "paid_amount")], [abs(c) for c in _linked(page, "change")]
    subtotal = _linked(page, "subtotal") or ([sum(items, Decimal(0))] if len(items) > 1 else [])
    rounding = [r for r in _linked(page, "rounding") if abs(r) <= _MAX_ROUNDING]
    extra = sum((sum(set(_linked(page, name))) for name in ("tax_amount", "service_charge")), Decimal(0))
    less = sum({abs(d) for d in _linked(page, "discount")}, Decimal(0))
    return {
        "paid_less_change": [p - c for p in paid for c in change if p > c],
        "items_sum": [s for s in (sum(items, Decimal(0)), sum(items, Decimal(0)) - less) if items and s > 0],
        "subtotal_and_tax": [s + extra - less for s in subtotal if extra or less] + _sums_across(page),
        "rounded": [v for t in _linked(page, "total_amount", 0.3) for v in _final(t, rounding, _linked(page, "tip"))],
    }


def _final(total: Decimal, rounding: Iterable[Decimal], tips: Iterable[Decimal]) -> list[Decimal]:
    """Return the amounts that may be payable in the end: the total rounded, or with the tip."""
    return [total + sign * r for r in rounding if r for sign in (1, -1)] + [total + tip for tip in tips if tip > 0]


def _sums_across(page: PageAnalysis) -> list[Decimal]:
    """Return the sums of rows with a label of the total and two amounts: 合计 100.00 6.00 on an invoice."""
    rows = {link.label.cell.row for link in page.links if link.field == "total_amount" and link.label.cell.row == link.cell.row}
    across = [[a.money.amount for a in page.amounts if a.cell.row == row and a.printed_as_money] for row in rows]
    return [sum(found, Decimal(0)) for found in across if len(found) == 2]


@dataclass(frozen=True)
class _Context:
    """What the features of an amount are compared with: the other amounts, the rows and the items of the page."""

    page: PageAnalysis
    targets: Mapping[str, Sequence[Decimal]]
    item_starts: Set[tuple[int, int]]  # line and start of each segment of an item
    last_item_row: int
    largest: Decimal
    late_row: int
    payment_row: int
    counts: Mapping[Decimal, int]
    is_only: bool
    row_sizes: Sequence[int]  # segments with text in each row
    superseded: Set[Decimal]

    def features(self, amount: Amount, own: float, other: float) -> dict[str, float]:
        """Return the features of an amount; `own` and `other` are the scores of its labels."""
        value, cell, layout = amount.money.amount, amount.cell, self.page.layout
        whole_line = cell.end - cell.start >= len(self.page.lines[cell.line].text.strip()) - 1
        is_item = own == 0 and (cell.line, cell.start) in self.item_starts
        below_items = cell.row > max(self.last_item_row, len(layout.rows) // 3)
        return {
            "label": own,
            "labelled": float(own >= 0.6 and own > other),
            "other": other if other > own and not self._is_proved(value) else 0.0,
            "paid_less_change": float(_near(value, self.targets["paid_less_change"])),
            "items_sum": float(_near(value, self.targets["items_sum"]) and not is_item),
            "subtotal_and_tax": float(_near(value, self.targets["subtotal_and_tax"], _ROUNDING)),
            "rounded": float(_near(value, self.targets["rounded"])),
            "superseded": float(value in self.superseded),
            "zero": float(value == 0),
            "negative": float(value < 0),
            "before_payment": float(cell.row == self.payment_row and not is_item),
            "repeated": float(self.counts[value] > 1),
            "largest": float(value == self.largest),
            "height": min(max(cell.h / layout.height - 1.1, 0.0), 1.0),
            "alone": float(self.row_sizes[cell.row] == 1 and whole_line and below_items and other < 0.3),
            "only": float(self.is_only and whole_line and not is_item),
            "currency": float(amount.money.currency is not None),
            "late": float(cell.row > self.late_row),
        }

    def _is_proved(self, value: Decimal) -> bool:
        """Return whether a total that is rounded or has a tip is also cash less change: "amount to be paid" is no payment."""
        return _near(value, self.targets["paid_less_change"]) and _near(value, self.targets["rounded"])


def _may_be_total(amount: Amount, own: float, other: float) -> bool:
    """Return whether the amount is positive, or zero or negative with a label of the total: that of a voucher or a refund."""
    value = amount.money.amount
    loose = amount.cell.text[:1] in "-−–" and amount.cell.text[1:2].isspace()  # TOTAL - 12.50
    return value > 0 or (own >= 0.5 and own > other and (value == 0 or not loose))


def _superseded(page: PageAnalysis, amounts: Sequence[Amount], targets: Mapping[str, Sequence[Decimal]]) -> set[Decimal]:
    """Return the totals that are printed again further down, rounded or with the tip, with a label or as cash less change."""
    rounding, tips = [r for r in _linked(page, "rounding") if abs(r) <= _MAX_ROUNDING], _linked(page, "tip")
    last_row: dict[Decimal, int] = {}
    for amount in amounts:
        last_row[amount.money.amount] = max(amount.cell.row, last_row.get(amount.money.amount, 0))
    payable = {v: last_row[v] for v in (*_linked(page, "total_amount", 0.3), *targets["paid_less_change"]) if v in last_row}
    if not payable or not (rounding or tips):
        return set()
    return {
        a.money.amount
        for a in amounts
        if any(payable.get(final, -1) > a.cell.row for final in _final(a.money.amount, set(rounding), set(tips)))
    }


def _candidates(page: PageAnalysis, items: Sequence[Item]) -> list[Candidate]:
    item_starts = {(c.line, c.start) for item in items for cells in item.columns.values() for c in cells}
    scores = {id(a): _label_scores(page, a.cell) for a in page.amounts}
    amounts = [a for a in page.amounts if _may_be_total(a, *scores[id(a)])]
    targets = _targets(page, item_amounts(items, page.style))
    free = [a for a in amounts if a.printed_as_money and (a.cell.line, a.cell.start) not in item_starts]
    context = _Context(
        page,
        targets,
        item_starts,
        last_item_row=max((item.last_row for item in items), default=-1),
        largest=max((a.money.amount for a in free if scores[id(a)][0] >= scores[id(a)][1]), default=Decimal(0)),
        late_row=_late_row(page),
        payment_row=_row_before_payment(page),
        counts=Counter(a.money.amount for a in amounts),
        is_only=len({a.money.amount for a in free}) == 1,
        row_sizes=[sum(any(c.isalnum() for c in cell.text) for cell in row) for row in page.layout.rows],
        superseded=_superseded(page, amounts, targets),
    )
    labelled = [a for a in amounts if a.printed_as_money or scores[id(a)][0] >= 0.4]
    return [Candidate(a, context.features(a, *scores[id(a)])) for a in labelled]


def _row_before_payment(page: PageAnalysis) -> int:
    """Return the row of the last amount above the first payment, without cash rounding; -1 if there is no payment."""
    paid = min((link.cell.row for link in page.links if link.field == "paid_amount" and link.score >= 0.5), default=-1)
    other = {link.cell.row for link in page.links if link.field == "change"}
    other |= {a.cell.row for a in page.amounts if abs(a.money.amount) <= _MAX_ROUNDING}
    return max((a.cell.row for a in page.amounts if a.cell.row < paid and a.cell.row not in other), default=-1)


def _late_row(page: PageAnalysis) -> int:
    """Return the row after which amounts do not belong to the sale: that of the change, or of a summary's heading."""
    rows = [link.cell.row for link in page.links if link.field == "change" and link.score >= 0.5]
    rows += [c.row for row in page.layout.rows for c in row if _SUMMARY.search(c.text)]
    return min((r for r in rows if r > len(page.layout.rows) // 4), default=len(page.layout.rows))
