"""The forms of printed values: signs, whole numbers, the habits of a page, currencies, totals, check digits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from hunyuanocr.fields.field_builder import field_from_value
from hunyuanocr.fields.values.currencies import currency, is_currency
from hunyuanocr.fields.values.finders import find_values
from hunyuanocr.fields.values.identifiers import IdentifierKind, find_valid, has_form, identifier_kind, is_valid
from hunyuanocr.fields.values.money import find_money
from hunyuanocr.fields.values.normalize import normalize
from hunyuanocr.fields.values.style import PageStyle
from hunyuanocr.types import FieldType
from tests.fields.pages import ask, page, values

JAPANESE = PageStyle.of(["喫茶みどり", "小計 ¥500"])
CHINESE = PageStyle.of(["王记面馆", "牛肉面 18.00"])
TAIWAN = PageStyle.of(["好日子商行", "統一編號 12345678"])
AMERICAN = PageStyle.of(["DINER", "AUSTIN TX 78701", "TOTAL 12.40"])
INDONESIAN = PageStyle.of(["Beras 75.000", "Gula 17.500", "Total 92.500"])
GERMAN = PageStyle.of(["Tisch 1.234,50", "Stuhl 99,00"])
ENGLISH = PageStyle.of(["Tea 1.50", "Cake 2.50"])


def amounts(text: str, style: PageStyle = ENGLISH) -> list[tuple[str, str]]:
    return [(span.text, str(money.amount)) for span, money in find_money(text, style)]


# -- signs ----------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (": -2.25", "-2.25"),
        ("+1.50", "+1.50"),
        ("<5 mg/L", "<5 mg/L"),
        ("≤ 0.01", "≤ 0.01"),
        ("±0.5 mm", "±0.5 mm"),
        ("：−3.2", "−3.2"),
        ("- Tan Ah Kow", "Tan Ah Kow"),
        ("-- 12", "12"),
        (": ABC-12", "ABC-12"),
        ("= 7.36", "7.36"),
    ],
)
def test_a_sign_before_digits_is_a_part_of_a_text(text: Any, found: Any) -> None:
    assert [s.text for s in find_values(text, FieldType.TEXT)] == [found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RM -13.80", [("RM -13.80", "-13.80")]),
        ("(49.90)", [("(49.90)", "-49.90")]),
        ("12.50-", [("12.50-", "-12.50")]),
        ("Total-12.50", [("12.50", "12.50")]),
        ("Fees +9.50", [("+9.50", "9.50")]),
        ("Tel: +60 31", [("60", "60"), ("31", "31")]),
    ],
)
def test_the_sign_of_an_amount(text: Any, found: Any) -> None:
    assert amounts(text) == found


@pytest.mark.parametrize(
    ("text", "type", "normal"),
    [
        ("-5%", FieldType.PERCENT, "-5"),
        ("+5 %", FieldType.PERCENT, "5"),
        ("-18.5 C", FieldType.QUANTITY, {"number": "-18.5", "unit": "C"}),
        ("4.1 mmol/L", FieldType.QUANTITY, {"number": "4.1", "unit": "mmol/L"}),
        ("<5 mg/L", FieldType.QUANTITY, None),
    ],
)
def test_the_sign_of_a_quantity(text: Any, type: Any, normal: Any) -> None:
    assert normalize(text, type) == normal


# -- whole numbers --------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1 234,56", "1234.56"),
        ("1 176 EUR", "1176"),
        ("EUR 1 176", "1176"),
        ("12 345 678.90", "12345678.90"),
        ("1,23,456.00", "123456.00"),
        ("35.50000", "35.50000"),
        ("1'234.50", "1234.50"),
        ("1.234.567,89", "1234567.89"),
    ],
)
def test_a_number_is_taken_whole(text: Any, amount: Any) -> None:
    assert [a for _, a in amounts(text)] == [amount]


@pytest.mark.parametrize(
    "text",
    [
        "VAT 232 153 895", "25.12.2018", "192.168.1.10", "1.2.3", "31-12-2022", "14:22", "00:15:47", "1.6152669123",
        "03-2093", "(113925-U)", "5412 3456 7890 1234", "09 88 77 66 55", "GB-123-4567-89",
    ],
)  # fmt: skip
def test_a_piece_of_a_longer_number_is_no_amount(text: Any) -> None:
    assert amounts(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2 350,00 700,00", ["2", "350.00", "700.00"]),
        ("2 150 300", ["2", "150", "300"]),
        ("1 120.00 120.00", ["1", "120.00", "120.00"]),
        ("Children 12 £5.00", ["12", "5.00"]),
    ],
)
def test_numbers_in_a_row_are_not_one_number(text: Any, found: Any) -> None:
    assert [a for _, a in amounts(text)] == found


# -- the habits of a page -------------------------


@pytest.mark.parametrize(
    ("text", "style", "amount"),
    [
        ("92.500", INDONESIAN, "92500"),
        ("92.500", ENGLISH, "92.500"),
        ("92.500", GERMAN, "92500"),
        ("1,234", ENGLISH, "1234"),
        ("1,759", GERMAN, "1.759"),
        ("0.522", INDONESIAN, "0.522"),
        ("Rp 25.000", PageStyle.of(["Nasi Rp 25.000"]), "25000"),
        ("1 500", PageStyle.of(["Summa 12 500 kr"]), "1500"),
    ],
)
def test_three_digits_after_a_mark_are_read_as_the_page_writes(text: Any, style: Any, amount: Any) -> None:
    assert [a for _, a in amounts(text, style)] == [amount]


def test_weights_with_three_decimals_are_no_thousands() -> None:
    assert not PageStyle.of(["0.522 kg", "1.245 kg", "Total 12.50"]).point_groups
    assert not PageStyle.of(["1.245", "2.371"]).point_groups


def test_a_total_of_an_indonesian_receipt_is_thousands() -> None:
    rows = ["TOKO MAJU", [(0, "Beras 5kg"), (20, "75.000")], [(0, "Gula 1kg"), (20, "17.500")], [(0, "Total"), (20, "92.500")]]
    assert ask(page(rows), "total")["total"].normalized == {"amount": "92500.00", "currency": None}


# -- currencies -----------------------------------


@pytest.mark.parametrize(
    ("text", "printed", "code"),
    [
        ("Total CHF 36.80", "CHF 36.80", "CHF"),
        ("Total 36,80 zł", "36,80 zł", "PLN"),
        ("Total kr 120,00", "kr 120,00", None),
        ("Total Rs. 1,236.00", "Rs. 1,236.00", "INR"),
        ("Total THB 236.00", "THB 236.00", "THB"),
        ("Suma 36,80 TRY", "36,80 TRY", "TRY"),
        ("₫45.000", "₫45.000", "VND"),
        ("50,00 EURO", "50,00 EURO", "EUR"),
        ("R$ 12,50", "R$ 12,50", "BRL"),
    ],
)
def test_the_currency_is_kept_as_printed(text: Any, printed: Any, code: Any) -> None:
    assert [(s.text, m.currency) for s, m in find_money(text)] == [(printed, code)]


@pytest.mark.parametrize(
    "text", ["CUP 3", "PEN 2", "5 Ft.Lauderdale", "BND1167", "DH1167", "TOP 40", "ALL 12.00", "Mo.-Fr. 08.30", "R 12.00"]
)
def test_a_word_or_a_code_is_no_currency(text: Any) -> None:
    assert [m.currency for _, m in find_money(text) if m.currency] == []


def test_signs_of_several_currencies_are_read_by_the_page() -> None:
    assert (currency("¥", JAPANESE), currency("¥", CHINESE)) == ("JPY", "CNY")
    assert (currency("元", TAIWAN), currency("元", CHINESE)) == ("TWD", "CNY")
    assert (currency("$", PageStyle.of(["All prices in AUD"])), currency("$", AMERICAN)) == ("AUD", "USD")
    assert is_currency("R", PageStyle.of(["R 12.50", "R14.00"]), before=True)
    assert not is_currency("R", PageStyle.of(["R 12.50", "R14.00", "RM 5.00"]), before=True)


# -- totals ---------------------------------------


@pytest.mark.parametrize(
    ("rows", "total"),
    [
        (["SUNRISE GROCERY", "Date: 14-08-2025", "REFUND TOTAL RM -13.80", "CASH REFUND RM 13.80"], "-13.80"),
        (["和顺粮油店", "销售退货单", "大米 5kg 1 -36.80", "合计: -36.80"], "-36.80"),
        (["SHOE BOX", "RETURN", "Boots -49.90", "TOTAL (49.90)"], "-49.90"),
        (["SUNRISE GROCERY", "Milk 5.00", "Voucher -5.00", "TOTAL RM 0.00"], "0.00"),
        (["CAFE NORD", "Coffee 4.00", "Cake 5.00", "Total 9.00", "Card 9.00", "Balance due 0.00"], "9.00"),
        (["TOOL HUT", "Hammer 12.50", "Discount -2.50", "TOTAL 10.00"], "10.00"),
        (["MINI MART", "Total 25.44", "Rounding 0.01", "Amount To Be Paid 25.45", "CASH 50.00", "CHANGE 24.55"], "25.45"),
        (["GRILL", "Steak 40.00", "Subtotal 40.00", "Tax 3.20", "Total 43.20", "Tip 8.00", "Total with tip 51.20"], "51.20"),
        (["MINI MART", "Total 25.44", "CASH 50.00", "CHANGE 24.56"], "25.44"),
    ],
)
def test_the_last_payable_amount_is_the_total(rows: Any, total: Any) -> None:
    normal = ask(page(rows), "total amount")["total amount"].normalized
    assert Decimal(normal["amount"]) == Decimal(total)


# -- printed, but not understood ------------------


@pytest.mark.parametrize(
    ("row", "asked", "value"),
    [
        ("Date: 31/02/2025", "date", "31/02/2025"),
        ("Due date: 2O25-13-05", "due date", "2O25-13-05"),
        ("Tax: 1Z.5O", "tax", "1Z.5O"),
        ("Tax: included", "tax", None),
        ("Due date: on request", "due date", None),
    ],
)
def test_a_value_that_is_not_understood_is_given_as_printed(row: Any, asked: Any, value: Any) -> None:
    field = ask(page(["SHOP", row]), asked)[asked]
    assert (field.value, field.normalized) == (value, None)


# -- numbers with check digits --------------------


def test_a_number_without_the_form_of_an_iban_is_none() -> None:
    rows = ["DELTA FREIGHT LTD", "Account Number: 998877665544332"]
    assert values(page(rows), "IBAN", "account number") == {"IBAN": None, "account number": "998877665544332"}
    rows = ["Account Number: 998877665544332", "Bank DE88 2008 0000 0970 3757 00"]
    assert values(page(rows), "IBAN")["IBAN"] == "DE88 2008 0000 0970 3757 00"


def test_forms_and_check_digits() -> None:
    assert is_valid(IdentifierKind.IBAN, "DE88 2008 0000 0970 3757 00")
    assert has_form(IdentifierKind.IBAN, "DE88 2008 0000 0970 3757 01")  # one letter may be misread
    assert not is_valid(IdentifierKind.IBAN, "DE88 2008 0000 0970 3757 01")
    assert is_valid(IdentifierKind.GTIN, "4006381333931")
    assert not has_form(IdentifierKind.GTIN, "12345")
    assert is_valid(IdentifierKind.CARD, "4111 1111 1111 1111")
    assert has_form(IdentifierKind.CARD, "**** **** 1234")
    assert has_form(IdentifierKind.VAT, "DE 136 695 976")
    assert not has_form(IdentifierKind.VAT, "19%")
    assert [s.text for s in find_valid("TVA FR 40 303265045 Paris", IdentifierKind.VAT)] == ["FR 40 303265045"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [("IBAN", "iban"), ("VAT ID", "vat"), ("USt-IdNr.", "vat"), ("EAN", "gtin"), ("VAT amount", None), ("total", None)],
)
def test_the_kind_of_number_that_is_asked(words: Any, kind: Any) -> None:
    found = identifier_kind(words)
    assert (found.value if found else None) == kind


# -- values of a model ----------------------------


@pytest.mark.parametrize(
    ("value", "line", "grounded"),
    [
        ("-2.25", "SPH -2.25", True),
        ("2.25", "SPH -2.25", False),
        ("-2.25", "SPH 2.25", False),
        ("1.50", "SPH +1.50", True),
        ("<5", "CRP <5", True),
        ("5", "CRP <5", False),
        ("736", "pH 7.36", False),
        ("7.36", "pH 7.36", True),
        ("1234", "Code 1,234", True),
    ],
)
def test_a_value_with_another_sign_or_decimal_mark_is_not_on_the_page(value: Any, line: Any, grounded: Any) -> None:
    field = field_from_value("x", FieldType.TEXT, value, lines=page([line]), confidence=None)
    assert field.grounded is grounded
