"""Which amount is the total: by its label, by arithmetic, by where and how large it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.line_items.columns import Item
from hunyuanocr.fields.line_items.extract import item_amounts
from hunyuanocr.fields.rules.page_analysis import Amount, PageAnalysis
from hunyuanocr.fields.values.money import find_money

# What each feature of an amount is worth. A label alone is enough (a total that is printed as one); without a label the sums must
# say so, or the amount must stand alone, below the items, larger than what stands around it.
_WEIGHTS = {
    "label": 3.0,  # the best label that names it as the total, 0 … 1
    "labelled": 0.8,  # that label is sure
    "other": -2.5,  # the best label that names it as something else, 0 … 1
    "paid_less_change": 1.6,
    "items_sum": 1.2,
    "subtotal_and_tax": 1.2,
    "rounded": 1.2,  # the total after cash is rounded to five cents
    "before_payment": 0.6,  # the last amount above what was paid
    "repeated": 0.3,  # printed more than once
    "largest": 0.4,  # no larger amount but what was paid
    "height": 0.5,  # letters larger than the page's usual ones, 0 … 1
    "alone": 0.7,  # nothing else in its row, below the items
    "only": 0.7,  # no other amount is on the page
    "currency": 0.2,
    "late": -1.0,  # below the change, or in a summary of taxes
}
_MIN_SCORE = 1.15
_SUMMARY = re.compile(r"summary|analysis|税率.{0,80}税额|tax\s*code|积分", re.IGNORECASE)
_EXACT = Decimal(0)
_ROUNDING = Decimal("0.05")  # cash is rounded to five cents in Malaysia
_MAX_ROUNDING = Decimal("0.99")  # an amount called rounding that is larger is the rounded total


@dataclass(frozen=True)
class Candidate:
    """An amount with its features, all between 0 and 1."""

    amount: Amount
    features: dict[str, float]

    @property
    def score(self) -> float:
        """The features, weighed."""
        return sum(_WEIGHTS[name] * value for name, value in self.features.items())


def choose_total(page: PageAnalysis, items: Sequence[Item]) -> tuple[TextSegment, float] | None:
    """The total's place and its score, or None where nothing on the page is one."""
    rated = [c for c in _candidates(page, items) if c.score >= _MIN_SCORE]
    best = max(rated, key=lambda c: c.score, default=None)
    if best is None:
        return None
    # The same amount in digits is of more use than in words (壹佰零陆圆整).
    in_digits = [c for c in rated if c.amount.money.amount == best.amount.money.amount and re.search(r"\d", c.amount.cell.text)]
    best = max(in_digits, key=lambda c: c.score, default=best)
    return best.amount.cell, best.score


def _claims(page: PageAnalysis, cell: TextSegment) -> tuple[float, float]:
    """How strongly labels call this amount the total, and something else."""
    links = [link for link in page.links if link.cell.line == cell.line and link.cell.start == cell.start]
    names = {"total_amount"}
    if any(m.amount > _MAX_ROUNDING and m.amount.as_tuple().exponent != 0 for _, m in find_money(cell.text)):
        names.add("rounding")
    own = max((link.score for link in links if link.field in names), default=0.0)
    other = max((link.score for link in links if not names & link.label.fields.keys()), default=0.0)
    return own, other


def _linked(page: PageAnalysis, name: str, least: float = 0.45) -> list[Decimal]:
    found = []
    for link in page.links:
        if link.field == name and link.score >= least:
            found += [a.money.amount for a in page.amounts if a.cell.line == link.cell.line and a.cell.start == link.cell.start]
    return found


def _near(value: Decimal, targets: Iterable[Decimal], tolerance: Decimal = _EXACT) -> bool:
    return any(abs(value - target) <= tolerance for target in targets)


def _targets(page: PageAnalysis, items: Sequence[Decimal]) -> dict[str, list[Decimal]]:
    """What the total must be if the page's own sums are right."""
    paid, change = [abs(p) for p in _linked(page, "paid_amount")], [abs(c) for c in _linked(page, "change")]
    subtotal = _linked(page, "subtotal") or ([sum(items, Decimal(0))] if len(items) > 1 else [])
    rounding = [r for r in _linked(page, "rounding") if abs(r) <= _MAX_ROUNDING]
    extra = sum((sum(set(_linked(page, name))) for name in ("tax_amount", "service_charge")), Decimal(0))
    less = sum({abs(d) for d in _linked(page, "discount")}, Decimal(0))
    return {
        "paid_less_change": [p - c for p in paid for c in change if p > c],
        "items_sum": [s for s in (sum(items, Decimal(0)), sum(items, Decimal(0)) - less) if items and s > 0],
        "subtotal_and_tax": [s + extra - less for s in subtotal if extra or less] + _sums_across(page),
        "rounded": [t + sign * r for t in _linked(page, "total_amount", 0.3) for r in rounding if r for sign in (1, -1)],
    }


def _sums_across(page: PageAnalysis) -> list[Decimal]:
    """Of rows that a total's label begins and that hold two amounts, their sum: 合计 100.00 6.00 on an invoice."""
    rows = {link.label.cell.row for link in page.links if link.field == "total_amount" and link.label.cell.row == link.cell.row}
    across = [[a.money.amount for a in page.amounts if a.cell.row == row and a.printed_as_money] for row in rows]
    return [sum(found, Decimal(0)) for found in across if len(found) == 2]


def _candidates(page: PageAnalysis, rows_of_items: Sequence[Item]) -> list[Candidate]:
    items, last_item = item_amounts(rows_of_items), max((item.last_row for item in rows_of_items), default=-1)
    in_items = {(c.line, c.start) for item in rows_of_items for cells in item.columns.values() for c in cells}
    amounts = [a for a in page.amounts if a.money.amount > 0]
    targets = _targets(page, items)
    claims = {id(a): _claims(page, a.cell) for a in amounts}
    free = [a for a in amounts if a.printed_as_money and (a.cell.line, a.cell.start) not in in_items]
    largest = max((a.money.amount for a in free if claims[id(a)][0] >= claims[id(a)][1]), default=Decimal(0))
    late = _late_row(page)
    payment = _row_before_payment(page)
    times = Counter(a.money.amount for a in amounts)
    different = len({a.money.amount for a in free})
    rows: dict[int, int] = {}
    for row, cells in enumerate(page.layout.rows):
        rows[row] = sum(any(c.isalnum() for c in cell.text) for cell in cells)
    candidates = []
    for a in amounts:
        own, other = claims[id(a)]
        if not a.printed_as_money and own < 0.4:
            continue
        value, row = a.money.amount, a.cell.row
        whole_line = a.cell.end - a.cell.start >= len(page.lines[a.cell.line].text.strip()) - 1
        an_item = own == 0 and (a.cell.line, a.cell.start) in in_items
        features = {
            "label": own,
            "labelled": float(own >= 0.6 and own > other),
            "other": other if other > own else 0.0,
            "paid_less_change": float(_near(value, targets["paid_less_change"])),
            "items_sum": float(_near(value, targets["items_sum"]) and not an_item),
            "subtotal_and_tax": float(_near(value, targets["subtotal_and_tax"], _ROUNDING)),
            "rounded": float(_near(value, targets["rounded"])),
            "before_payment": float(row == payment and not an_item),
            "repeated": float(times[value] > 1),
            "largest": float(value == largest),
            "height": min(max(a.cell.h / page.layout.height - 1.1, 0.0), 1.0),
            "alone": float(rows[row] == 1 and whole_line and row > max(last_item, len(page.layout.rows) // 3) and other < 0.3),
            "only": float(different == 1 and whole_line and not an_item),
            "currency": float(a.money.currency is not None),
            "late": float(row > late),
        }
        candidates.append(Candidate(a, features))
    return candidates


def _row_before_payment(page: PageAnalysis) -> int:
    """The row of the last amount above the first payment, the rounding of cash aside; -1 where nothing is paid."""
    paid = min((link.cell.row for link in page.links if link.field == "paid_amount" and link.score >= 0.5), default=-1)
    other = {link.cell.row for link in page.links if link.field == "change"}
    other |= {a.cell.row for a in page.amounts if abs(a.money.amount) <= _MAX_ROUNDING}
    return max((a.cell.row for a in page.amounts if a.cell.row < paid and a.cell.row not in other), default=-1)


def _late_row(page: PageAnalysis) -> int:
    """The row after which amounts no longer speak of the sale: that of the change, or a heading of a summary."""
    rows = [link.cell.row for link in page.links if link.field == "change" and link.score >= 0.5]
    rows += [c.row for row in page.layout.rows for c in row if _SUMMARY.search(c.text)]
    return min((r for r in rows if r > len(page.layout.rows) // 4), default=len(page.layout.rows))
