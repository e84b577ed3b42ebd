"""The sums of generated receipts and invoices."""

from __future__ import annotations

from dataclasses import dataclass

from synthesis.ranker.sheet import Sheet
from synthesis.ranker.words import cased, drawn, label

_ROW = 1.3  # height of a row


@dataclass(frozen=True)
class Place:
    """Where labels and amounts are printed: x of the labels, width of the page, layout of the pairs."""

    x: float
    width: float
    layout: str

    @property
    def amounts(self) -> float:
        """The x of the amounts: their right end in the layout `right`."""
        return self.width if self.layout == "right" else self.width * 0.6


def totals(sheet: Sheet, width: float, subtotal: float, count: int) -> None:
    """Print subtotal, discount, tax, total, payment and change, and amounts that resemble the total."""
    rng = sheet.rng
    layout = rng.choice(["right", "right", "right", "left", "inline"])
    place = Place(rng.choice([0.0, 0.0, width * 0.3]), width, layout)
    tax = subtotal * rng.choice([0.05, 0.06, 0.0825, 0.1, 0.19, 0.2])
    total = _before_total(sheet, place, subtotal, tax)
    if sheet.chance(0.92):
        _total(sheet, place, total, count)
    if sheet.chance(0.55):
        paid = rng.choice([total, total, -(-total // 10) * 10, -(-total // 50) * 50])
        _amount(sheet, place, "paid_amount", paid)
        if paid != total or sheet.chance(0.3):
            _amount(sheet, place, "change", paid - total)
    if "tax_amount" in sheet.known and sheet.chance(0.3):
        _tax_summary(sheet, width, subtotal, tax)


def _before_total(sheet: Sheet, place: Place, subtotal: float, tax: float) -> float:
    """Print what the total consists of, and return it."""
    above = [("subtotal", subtotal)] if sheet.chance(0.6) else []
    total = subtotal
    for field, share, amount in (
        ("discount", 0.15, -subtotal * 0.1),
        ("service_charge", 0.1, subtotal * 0.1),
        ("tax_amount", 0.55, tax),
        ("tip", 0.08, sheet.rng.uniform(1, 9)),
        ("shipping_fee", 0.03, 5.0),
    ):
        if sheet.chance(share):
            above.append((field, amount))
            total += amount
    if sheet.chance(0.08):
        sheet.rng.shuffle(above)
    for field, amount in above:
        _amount(sheet, place, field, abs(amount) if field == "discount" and sheet.chance(0.5) else amount)
    return total


def _total(sheet: Sheet, place: Place, total: float, count: int) -> None:
    """Print the total, perhaps below the number of items, and perhaps rounded from another total above it."""
    rng = sheet.rng
    words = sheet.label("total_amount")
    if sheet.chance(0.12):
        _pair(sheet, place, cased(drawn(rng, "count"), sheet.style.case), str(count))
    if sheet.chance(0.2):
        words += drawn(rng, "total_end")
    if sheet.language in ("en", "id") and sheet.chance(0.2):
        _before_rounding(sheet, place, total)
        words = cased(drawn(rng, "total_rounded"), sheet.style.case)
    height, printed = rng.choice([1, 1, 1.5]), sheet.values.money(total)
    rows = sheet.field("total_amount", printed, place.x, place.amounts, place.layout, h=height, words=words)
    sheet.y += _ROW * height * rows


def _before_rounding(sheet: Sheet, place: Place, total: float) -> None:
    before = total + sheet.rng.choice([-0.02, -0.01, 0.01, 0.02])
    words = cased(drawn(sheet.rng, "total_before_rounding"), sheet.style.case)
    _pair(sheet, place, words, sheet.values.money(before))
    difference = f"{total - before:.2f}"
    sheet.note("rounding", _pair(sheet, place, label(sheet.rng, "rounding", "en"), difference), difference)


def _pair(sheet: Sheet, place: Place, words: str, value: str) -> int:
    """Print a label and its value, move down, and return the line of the value."""
    line, _ = sheet.pair(words, value, place.x, place.width, place.layout)
    sheet.y += _ROW
    return line


def _amount(sheet: Sheet, place: Place, field: str, amount: float) -> None:
    words = sheet.label(field)
    if field == "tax_amount" and sheet.chance(0.35):
        words += drawn(sheet.rng, "tax_end")
    value = sheet.values.money(amount)
    sheet.y += _ROW * sheet.field(field, value, place.x, place.amounts, place.layout, words=words)


def _tax_summary(sheet: Sheet, width: float, subtotal: float, tax: float) -> None:
    rng, money = sheet.rng, sheet.values.money
    title = "GST Summary" if sheet.language in ("en", "id") else sheet.label("tax_amount")
    header = (title, drawn(rng, "tax_base_column"), drawn(rng, "tax_column"))
    amounts = (drawn(rng, "tax_class"), money(subtotal, sign=False), money(tax, sign=False))
    for row in (header, amounts):
        for n, text in enumerate(row):
            sheet.put(text, width * 0.4 * n)
        sheet.y += _ROW
