"""Generated receipts: heading, particulars and items in many orders; `totals` prints their sums."""

from __future__ import annotations

from synthesis.ranker.sheet import Sheet
from synthesis.ranker.totals import totals
from synthesis.ranker.words import CHINESE, COLUMNS, EAST_ASIAN, FAREWELLS, GOODS, TITLES, cased, drawn, invented

_PARTICULARS = {  # share of receipts that have them
    "receipt_number": 0.45,
    "invoice_number": 0.25,
    "cashier": 0.45,
    "terminal": 0.2,
    "table_number": 0.15,
    "order_number": 0.15,
    "buyer": 0.08,
    "member_number": 0.06,
}


def receipt(sheet: Sheet) -> None:
    """Print a receipt."""
    rng = sheet.rng
    width = rng.uniform(22, 42)
    if sheet.chance(0.3):
        sheet.centred(cased(rng.choice(TITLES[sheet.language]), sheet.style.case), width)
    heading(sheet, width)
    late = sheet.chance(0.3)
    if not late:
        particulars(sheet, width)
    sheet.y += rng.choice([0, 0.5, 1])
    subtotal, count = items(sheet, width)
    sheet.y += rng.choice([0, 0.5, 1])
    totals(sheet, width, subtotal, count)
    if sheet.chance(0.2):
        card_slip(sheet, width)
    if late:
        sheet.y += 1
        particulars(sheet, width)
    for _ in range(rng.choice([0, 1, 2, 3])):
        sheet.centred(drawn(rng, "last_line") if sheet.chance(0.07) else rng.choice(FAREWELLS), width)


def heading(sheet: Sheet, width: float) -> None:
    """Print the shop: its name on one or two lines, numbers of registration, address, telephone."""
    rng, values = sheet.rng, sheet.values
    centre = sheet.chance(0.7)
    if sheet.chance(0.9):
        _shop(sheet, width, centre=centre)
        if sheet.chance(0.3):
            others = [values.firm(), f"({values.code()})", *(drawn(rng, "registration") for _ in range(5))]
            sheet.centred(rng.choice(others), width, centre=centre)
    for line in values.address() if sheet.chance(0.8) else ():
        sheet.centred(line if sheet.chance(0.92) else f"{sheet.label('address')}: {line}", width, centre=centre)
    if sheet.chance(0.65):
        _phones(sheet, width, centre=centre)
    if sheet.chance(0.45):
        number = values.tax_number()
        text = sheet.label("tax_number") + rng.choice([": ", " ", ":", " : "]) + number
        sheet.note("tax_number", sheet.centred(text, width, centre=centre), number)
    sheet.y += rng.choice([0, 1])


def _shop(sheet: Sheet, width: float, *, centre: bool) -> None:
    rng = sheet.rng
    name, height = sheet.values.firm(), rng.choice([1, 1, 1.4, 1.8])
    if sheet.chance(0.4 if sheet.language in (*CHINESE, "vi") else 0.04):
        sheet.y += 1.4 * sheet.field("merchant", name, 0, 8, rng.choice(["inline", "left"]))
    elif sheet.chance(0.25):
        more = sheet.values.firm() if sheet.chance(1 / 3) else drawn(rng, "second_name")
        more = more.upper() if name.isupper() else more
        first = sheet.centred(name, width, height, centre=centre)
        second = sheet.centred(more, width, height, centre=centre)
        sheet.continued.append((first, second))
        sheet.known["merchant"] = [(first, f"{name} {more}")]
    else:
        sheet.note("merchant", sheet.centred(name, width, height, centre=centre), name)


def _phones(sheet: Sheet, width: float, *, centre: bool) -> None:
    phone, fax = sheet.values.phone(), sheet.values.phone() if sheet.chance(0.15) else ""
    text = phone
    if sheet.chance(0.65):
        text = sheet.label("phone") + sheet.rng.choice([": ", " ", ":", "."]) + phone
    if fax:
        text += f"  {sheet.label('fax')}: {fax}"
    line = sheet.centred(text, width, centre=centre)
    sheet.note("phone", line, phone)
    if fax:
        sheet.note("fax", line, fax)


def particulars(sheet: Sheet, width: float) -> None:
    """Print date, time, numbers and names."""
    rng = sheet.rng
    fields = [name for name, share in _PARTICULARS.items() if sheet.chance(share)]
    layout = rng.choice(["inline", "inline", "inline", "left", "right", "above"])
    if sheet.chance(0.92) and "date" not in sheet.known:
        form = rng.random()
        if form < 0.35:
            _moment_in_one_line(sheet, width)
        elif form < 0.55:
            _moment_in_two_lines(sheet, width)
        else:
            fields += ["date", "time"] if sheet.chance(0.6) else ["date"]
    sheet.block(fields, 0, width, layout, rng.choice([0, 0, 1, 2, 3]))


def _moment_in_one_line(sheet: Sheet, width: float) -> None:
    rng = sheet.rng
    day, clock = sheet.values.date(), sheet.values.time()
    text = rng.choice([f"{day} {clock}", f"{clock} {day}", f"{day}  {clock}", f"{day}{clock}", f"{day},{clock}"])
    if sheet.chance(0.4):
        text = sheet.label("date") + rng.choice([": ", " ", ":"]) + text
    elif sheet.chance(0.2):
        text += " " + drawn(rng, "number_after_moment")
    line = sheet.put(text, rng.choice([0, 0, width * 0.2]))
    sheet.y += 1.3
    sheet.note("date", line, day)
    sheet.note("time", line, clock)


def _moment_in_two_lines(sheet: Sheet, width: float) -> None:
    """Print date and time in one row as two lines without labels."""
    day, clock = sheet.values.date(), sheet.values.time()
    sheet.note("date", sheet.put(day, 0), day)
    line = sheet.put(clock, width, right=True) if sheet.chance(0.7) else sheet.put(clock, 9)
    sheet.note("time", line, clock)
    sheet.y += 1.3


def items(sheet: Sheet, width: float) -> tuple[float, int]:
    """Print the items and return the sum of their amounts and their number."""
    rng, money = sheet.rng, sheet.values.money
    if sheet.chance(0.3):
        columns = rng.choice(COLUMNS.get(sheet.language, COLUMNS["en"]))
        for n, name in enumerate(columns):
            sheet.put(cased(name, sheet.style.case), width * 0.9 * n / (len(columns) - 1))
        sheet.y += 1.3
    total, form = 0.0, rng.random()
    count = rng.choices([1, 2, 3, 4, 6, 9, 14, 20], [4, 4, 4, 4, 3, 2, 1, 0.5])[0]
    for _ in range(count):
        price, quantity = round(rng.uniform(*rng.choice([(1, 9), (2, 40), (5, 200)])), 2), rng.randint(1, 4)
        total += price
        name = _goods(sheet)
        sheet.put(f"{quantity} {name}" if form < 0.3 else name, 0)
        if 0.3 <= form < 0.5:
            sheet.y += 1.25
            sheet.put(f"{quantity} x {money(price / quantity)}", 1)
        elif form >= 0.5 and sheet.chance(0.4):
            sheet.put(str(quantity), width * 0.6)
        sheet.put(money(price) + drawn(rng, "after_price"), width, sheet.y + rng.gauss(0, 0.1), right=True)
        sheet.y += 1.3
    return total, count


def _goods(sheet: Sheet) -> str:
    rng = sheet.rng
    if sheet.language in EAST_ASIAN:
        return "".join(invented(rng, sheet.language) for _ in range(rng.randint(1, 2)))
    english = sheet.language in ("en", "id")
    words = [rng.choice(GOODS) if english or sheet.chance(0.3) else invented(rng, "en") for _ in range(rng.randint(1, 3))]
    return cased(" ".join(words), sheet.style.case)


def card_slip(sheet: Sheet, width: float) -> None:
    """Print the particulars of a payment by card, with amounts and numbers that answer little."""
    rng = sheet.rng
    authorization = drawn(rng, "authorization")
    lines = [authorization, drawn(rng, "card"), "Tip: ________", "Total: ________"]
    lines += [drawn(rng, name) for name in ("card_reference", "card_terminal", "card_entry", "card_merchant")]
    for line in rng.sample(lines, rng.randint(1, 5)):
        number = sheet.put(line, 0 if sheet.chance(0.7) else width * 0.2)
        if line == authorization:
            sheet.note("authorization_code", number, line[-6:])
        sheet.y += 1.3
