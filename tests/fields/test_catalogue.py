"""A field is found by every word that people use for it, and by none that they do not."""

import pytest

from hunyuanocr.fields.catalogue import DOCUMENTS, KNOWN, lookup
from hunyuanocr.types import FieldType


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("total_amount", "total_amount"),
        ("total", "total_amount"),
        ("Total Amount", "total_amount"),
        ("TOTALS", "total_amount"),
        ("总金额", "total_amount"),
        ("合计", "total_amount"),
        ("应付", "total_amount"),
        ("实付", "total_amount"),
        ("药费", "total_amount"),
        ("总 计", "total_amount"),
        ("amount", "total_amount"),
        ("the total", "total_amount"),
        ("company", "merchant"),
        ("商户名称", "merchant"),
        ("vendor", "merchant"),
        ("date", "date"),
        ("日期", "date"),
        ("开票日期", "date"),
        ("打印日期", "print_date"),
        ("due-date", "due_date"),
        ("收款", "paid_amount"),
        ("找零", "change"),
        ("余额", "balance"),
        ("balance", "balance"),
        ("商品", "items"),
        ("medicines", "items"),
        ("line_items", "items"),
        ("药品", "items"),
        ("患者姓名", "patient"),
        ("姓名", "name"),
        ("运单号", "tracking_number"),
        ("交易时间", "datetime"),
        ("时间", "time"),
        ("Total (RM)", "total_amount"),
        ("invoiceNo", "invoice_number"),
        ("addresses", "address"),
    ],
)
def test_words_name_their_field(words: str, name: str) -> None:
    assert lookup(words).name == name


@pytest.mark.parametrize("words", ["", "   ", "colour of the car", "颜色", "totally", "x"])
def test_other_words_name_none(words: str) -> None:
    assert lookup(words) is None


def test_every_canonical_name_finds_itself() -> None:
    assert {name: lookup(name).name for name in KNOWN} == {name: name for name in KNOWN}


def test_every_document_asks_for_known_fields() -> None:
    assert {name for fields in DOCUMENTS.values() for name in fields} <= KNOWN.keys()


def test_types_fit_what_the_fields_hold() -> None:
    assert KNOWN["total_amount"].type is FieldType.MONEY
    assert KNOWN["birth_date"].type is FieldType.DATE
    assert KNOWN["items"].type is FieldType.ROWS
    assert KNOWN["recipient_phone"].type is FieldType.PHONE


def test_every_field_has_a_name_in_both_languages() -> None:
    assert all(field.zh and field.en for field in KNOWN.values())
