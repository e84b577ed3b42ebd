"""Generated invoices, forms, tables of results, and pages of plain text."""

from __future__ import annotations

from synthesis.ranker.sheet import LAYOUTS, Sheet
from synthesis.ranker.totals import totals
from synthesis.ranker.values import decimal
from synthesis.ranker.words import (
    COLUMNS,
    FAREWELLS,
    FIELDS,
    GOODS,
    RESULT_COLUMNS,
    TITLES,
    cased,
    drawn,
    invented,
    noun,
    other_label,
)

_ON_FORMS = tuple(f for f in FIELDS if f not in ("merchant", "seller"))
_PARTICULARS = {  # share of invoices that have them
    "invoice_number": 0.9,
    "date": 0.9,
    "due_date": 0.6,
    "order_number": 0.25,
    "delivery_date": 0.15,
    "cashier": 0.1,
}
_OF_PATIENTS = ("patient", "gender", "age", "bed_number", "medical_record_number")
_OF_TESTS = ("department", "doctor", "date", "specimen", "specimen_number", "report_date")


def invoice(sheet: Sheet) -> None:
    """Print an invoice: seller, particulars, buyer, items, totals, bank account."""
    rng, values = sheet.rng, sheet.values
    width = rng.uniform(55, 90)
    title = rng.choice(["INVOICE", "Invoice", *TITLES[sheet.language]])
    sheet.put(title, rng.choice([0, width * 0.7, width * 0.4]), h=rng.choice([1, 2]))
    sheet.y += 2.2
    top = sheet.y
    _party(sheet, "seller", 0, width, 0.8 if sheet.language == "zh" else 0.25)
    if sheet.chance(0.6):
        sheet.y += 1.3 * sheet.field("phone", values.phone(), 0, 8, "inline")
    if sheet.chance(0.6):
        sheet.y += 1.3 * sheet.field("tax_number", values.tax_number(), 0, 10, rng.choice(["inline", "left"]))
    _particulars(sheet, top, width)
    if sheet.chance(0.75):
        _party(sheet, "buyer", rng.choice([0, 0, width * 0.5]), width, 0.9)
        if sheet.chance(0.25):
            sheet.pair(sheet.label("tax_number"), values.tax_number(), 0, 10, "inline")
            sheet.y += 1.3
    sheet.y += 1
    subtotal = _rows(sheet, width)
    totals(sheet, width, subtotal, 3)
    _account(sheet)


def _particulars(sheet: Sheet, top: float, width: float) -> None:
    """Print numbers and dates below the seller, which begins at `top`, or at its right."""
    rng, bottom = sheet.rng, sheet.y
    at_right = sheet.chance(0.5)
    sheet.y = top if at_right else bottom + 1
    fields = [name for name, share in _PARTICULARS.items() if sheet.chance(share)]
    if sheet.language == "zh" and sheet.chance(0.3):
        fields.append("invoice_code")
    if sheet.chance(0.25) and len(fields) > 1:
        sheet.y = bottom + 1
        _in_columns(sheet, fields, width)
    else:
        x = width * 0.55 if at_right else rng.choice([0, width * 0.55])
        sheet.block(fields, x, width - x, rng.choice(["inline", "left", "left", "right", "above"]), rng.randint(0, 4))
    sheet.y = max(bottom, sheet.y) + 1


def _party(sheet: Sheet, field: str, x: float, width: float, labelled: float) -> None:
    rng = sheet.rng
    name = sheet.values.firm() if field == "seller" or sheet.chance(0.5) else sheet.values.person()
    if sheet.chance(labelled):
        sheet.y += 1.4 * sheet.field(field, name, x, x + 10, rng.choice(["inline", "left", "above"]))
    else:
        at = x if field == "buyer" else rng.choice([0, 0, width * 0.6])
        sheet.note(field, sheet.put(name, at, h=rng.choice([1, 1.3])), name)
        sheet.y += 1.6
    if field == "seller":
        sheet.known["merchant"] = sheet.known["seller"]
    for line in sheet.values.address():
        sheet.put(line, x)
        sheet.y += 1.3


def _in_columns(sheet: Sheet, fields: list[str], width: float) -> None:
    """Print labels in one row and their values in the next."""
    for n, name in enumerate(fields):
        x = width * n / len(fields)
        value = sheet.values.of(name)
        sheet.put(sheet.label(name), x)
        sheet.note(name, sheet.put(value, x + sheet.rng.uniform(-0.4, 0.4), sheet.y + 1.5), value)
    sheet.y += 3


def _rows(sheet: Sheet, width: float) -> float:
    rng, money = sheet.rng, sheet.values.money
    columns = rng.choice(COLUMNS.get(sheet.language, COLUMNS["en"]))
    xs = [width * 0.88 * n / (len(columns) - 1) for n in range(len(columns))]
    for x, name in zip(xs, columns, strict=True):
        sheet.put(name, x)
    sheet.y += 1.5
    subtotal = 0.0
    for _ in range(rng.choices([1, 2, 3, 5, 8], [4, 4, 3, 2, 1])[0]):
        quantity, price = rng.randint(1, 20), round(rng.uniform(1, 300), 2)
        subtotal += quantity * price
        name = " ".join(rng.choice(GOODS) if sheet.chance(0.5) else noun(rng, sheet.language) for _ in range(rng.randint(1, 4)))
        cells = [name, str(quantity), money(price, sign=False), money(quantity * price, sign=False)]
        for x, text in zip(xs, cells[: len(xs) - 1] + cells[-1:], strict=False):
            sheet.put(text, x)
        sheet.y += 1.4
    sheet.y += 1
    return subtotal


def _account(sheet: Sheet) -> None:
    if sheet.chance(0.45):
        for field in sheet.rng.sample(["iban", "bic", "bank_name", "bank_account"], sheet.rng.randint(1, 3)):
            sheet.y += 1.3 * sheet.field(field, sheet.values.of(field), 0, 9, sheet.rng.choice(["inline", "left", "inline"]))
    if sheet.chance(0.3):
        sheet.put(drawn(sheet.rng, "pay_soon") if sheet.chance(0.07) else sheet.rng.choice(FAREWELLS), 0)


def form(sheet: Sheet) -> None:
    """Print a form: labels and values in one to three columns, some without a value, some slipped against their labels."""
    rng = sheet.rng
    width, columns = rng.uniform(28, 70), rng.choice([1, 1, 2, 2, 3])
    layout = rng.choice(LAYOUTS) if sheet.chance(0.8) else "inline"
    layout = "left" if layout == "label_after" and sheet.chance(0.7) else layout
    if sheet.chance(0.6):
        name = sheet.values.firm()
        sheet.note("merchant", sheet.put(name, width * 0.3, h=1.5), name)
        sheet.y += 2
    slip = rng.gauss(0, 0.35) if layout == "shifted" else 0.0
    step = width / columns
    for n in range(rng.randint(3, 16)):
        x = n % columns * step
        end = x + step - 1 if layout == "right" else x + max(6, step * 0.45)
        before = len(sheet.lines)
        _cell(sheet, x, end, rng.choice(["inline", layout, layout, layout]))
        if slip and len(sheet.lines) == before + 2:
            left, top, right, bottom = sheet.lines[-1].box
            sheet.lines[-1].box = (left, top + slip, right, bottom + slip)
        if n % columns == columns - 1:
            sheet.y += 1.5 * (2.2 if layout == "above" else 1)


def _cell(sheet: Sheet, x: float, end: float, layout: str) -> None:
    field = sheet.rng.choice(_ON_FORMS)
    if sheet.chance(0.06):
        sheet.put(sheet.label(field) + ":", x)  # without a value
    elif sheet.chance(0.5):
        if field not in sheet.known:
            sheet.field(field, sheet.values.of(field), x, end, layout)
    else:
        sheet.some_other(x, end, layout)


def results(sheet: Sheet) -> None:
    """Print a table of results, or a table of one row below its headers."""
    rng = sheet.rng
    width = rng.uniform(40, 70)
    name = sheet.values.firm()
    sheet.note(rng.choice(["hospital", "merchant"]), sheet.put(name, width * 0.3, h=1.4), name)
    sheet.y += 2
    fields = rng.sample(_OF_PATIENTS + _OF_TESTS, rng.randint(0, 6))
    sheet.block(fields, 0, width, "inline", rng.randint(0, 2))
    sheet.y += 1
    if sheet.chance(0.6):
        _result_rows(sheet, width)
    else:
        _single_row(sheet)
    for field in ("tester", "date", "phone", "cashier"):
        if field not in sheet.known and sheet.chance(0.35):
            sheet.y += 1.4 * sheet.field(field, sheet.values.of(field), rng.choice([0, width * 0.5]), width, "inline")


def _result_rows(sheet: Sheet, width: float) -> None:
    rng, columns = sheet.rng, sheet.rng.choice(RESULT_COLUMNS)
    xs = [width * n / len(columns) for n in range(len(columns))]
    for x, name in zip(xs, columns, strict=True):
        sheet.put(name, x)
    sheet.y += 1.5
    for _ in range(rng.randint(3, 14)):
        words = other_label(rng, sheet.language)
        if words in sheet.other:
            continue
        value = drawn(rng, "sign_of_result") + decimal(rng, 200, rng.randint(0, 2)) + drawn(rng, "unit_of_result")
        number = f"{rng.randint(1, 20)} " if sheet.chance(0.15) else ""
        sheet.put(number + cased(words, sheet.style.case), xs[0])
        sheet.note_other(words, sheet.put(value, xs[1], sheet.y + rng.gauss(0, 0.1)), value)
        for x, text in zip(xs[2:], ("g/L", f"{rng.randint(0, 9)}-{rng.randint(10, 99)}", "-"), strict=False):
            if sheet.chance(0.9):
                sheet.put(text, x)
        sheet.y += 1.4


def _single_row(sheet: Sheet) -> None:
    x = 0.0
    for _ in range(sheet.rng.randint(3, 6)):
        words, value = other_label(sheet.rng, sheet.language), sheet.values.other()
        if words in sheet.other:
            continue
        sheet.put(cased(words, sheet.style.case), x)
        sheet.note_other(words, sheet.put(value, x + sheet.rng.uniform(-0.3, 0.3), sheet.y + 1.5), value)
        x += max(len(words), len(value)) * 0.6 + 3
    sheet.y += 4


def plain_text(sheet: Sheet) -> None:
    """Print a page that answers nothing: a sign, a letter, a menu."""
    rng = sheet.rng
    for _ in range(rng.randint(1, 18)):
        words = [_word(sheet) for _ in range(rng.randint(1, 9))]
        text = "".join(words) if sheet.language in ("zh", "zh-Hant", "ja") else cased(" ".join(words), rng.randint(0, 3))
        if sheet.chance(0.15):
            text += " " + sheet.values.other()
        sheet.put(text, rng.uniform(0, 20), h=rng.choice([1, 1, 1.5, 3]))
        sheet.y += rng.choice([1.4, 2, 4])


def _word(sheet: Sheet) -> str:
    rng, language = sheet.rng, sheet.language
    return rng.choice([noun(rng, language), invented(rng, language), *GOODS[:4]])
