"""Several papers in one picture and several documents in one file; counter-cases: one paper with columns, copies and slips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hunyuanocr.fields.documents import split_documents
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline.documents import resolve_documents, several_documents_warnings
from hunyuanocr.types import Line, PagesMode, PageValues, Quad, Reading
from tests.fields.pages import page


def receipt(name: str, date: str, total: str) -> list[Any]:
    goods = [[(0, "Rice 5kg"), (11, "8.00")], [(0, "Egg"), (11, "3.10")]]
    return [name, "12 Jalan Besar", f"Date {date}", *goods, [(0, "TOTAL"), (10, f"RM {total}")], [(0, "CASH"), (10, "RM 50.00")]]


ALAM = receipt("ALAM MART", "02-01-2025", "11.10")
BIRU = receipt("BIRU TRADING", "04-03-2025", "22.20")
HIJAU = receipt("HIJAU BAKERY", "05-06-2025", "3.30")


def moved(lines: Sequence[Line], right: float, down: float, degrees: float = 0.0) -> list[Line]:
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))

    def move(box: Quad) -> Quad:
        a, b, d, e = ((x * c - y * s + right, x * s + y * c + down) for x, y in box)
        return a, b, d, e

    return [replace(line, box=move(line.box)) for line in lines]


def side_by_side(*papers: Sequence[Any], gap: float = 150.0, tilts: Sequence[float] = (0, 0, 0)) -> list[Line]:
    lines: list[Line] = []
    for rows, tilt in zip(papers, tilts, strict=False):
        left = max((x for line in lines for x, _ in line.box), default=0.0) + gap
        paper = moved(page(rows), 0, 0, tilt)
        lines += moved(paper, left - min(x for line in paper for x, _ in line.box), 0)
    return sorted(lines, key=lambda line: line.box[0][1])  # as a reader returns them: row by row


def on_page(rows: Sequence[Any], number: int) -> list[Line]:
    return page(rows, number=number)


def totals(lines: Sequence[Line], pages: int = 1, mode: str = "auto") -> list[str | None]:
    task = parse_instruction("", fields=["total_amount"], pages=mode)
    found = resolve_documents(task, Reading("", tuple(lines)), lines, [(3000, 3000)] * pages)
    return [d.fields[0].value for d in found.documents] or [found.fields[0].value]


@pytest.mark.parametrize("tilts", [(0, 0, 0), (3, -4, 2), (-8, 6, 9)])
def test_three_receipts_side_by_side(tilts: Sequence[float]) -> None:
    assert totals(side_by_side(ALAM, BIRU, HIJAU, tilts=tilts)) == ["RM 11.10", "RM 22.20", "RM 3.30"]


def test_a_document_has_its_own_values_region_and_lines() -> None:
    lines = side_by_side(ALAM, BIRU)
    task = parse_instruction("", fields=["merchant", "date", "items"])
    found = resolve_documents(task, Reading("", tuple(lines)), lines, [(3000, 1000)])
    first, second = found.documents
    assert [f.value for f in second.fields[:2]] == ["BIRU TRADING", "04-03-2025"]
    assert found.fields == first.fields
    assert {f.document for f in second.fields} == {1}
    assert {cell.document for row in second.fields[2].rows or () for cell in row.values()} == {1}
    assert first.box is not None
    assert second.box is not None
    assert first.box[1][0] < second.box[0][0]
    assert [line.text for line in found.lines[:2]] == ["ALAM MART", "12 Jalan Besar"]
    assert (found.text or "").splitlines()[6:9] == ["CASH RM 50.00", "BIRU TRADING", "12 Jalan Besar"]
    assert [w.code for w in several_documents_warnings(found.documents)] == ["several_documents"]


def test_one_receipt_above_the_other() -> None:
    lines = [*page(ALAM), *moved(page(BIRU), 0, 600)]
    assert totals(lines) == ["RM 11.10", "RM 22.20"]


def test_four_receipts_in_two_rows() -> None:
    last = receipt("MERAH STORE", "09-09-2025", "7.70")
    lines = [*side_by_side(ALAM, BIRU), *moved(side_by_side(HIJAU, last), 0, 600)]
    assert sorted(map(str, totals(lines))) == ["RM 11.10", "RM 22.20", "RM 3.30", "RM 7.70"]


def test_the_columns_of_one_invoice_are_one_document() -> None:
    invoice = [
        [(0, "DELTA FREIGHT LTD"), (30, "INVOICE")], [(0, "Harbour Road 3"), (30, "Invoice No: 4711")],
        [(0, "Total weight: 120 kg"), (30, "Date: 2025-03-04")], [(0, "Contact: Ann Lee"), (30, "Total: 119.00")],
        [(0, "Phone: 03-7726 1234"), (30, "Due: 2025-04-04")],
    ]  # fmt: skip
    assert totals(page(invoice)) == ["119.00"]


def test_names_and_prices_of_one_receipt_are_one_document() -> None:
    rows = [
        "ALAM MART",
        "Date 02-01-2025",
        [(0, "Rice"), (40, "8.00")],
        [(0, "Egg"), (40, "3.10")],
        [(0, "TOTAL"), (40, "11.10")],
    ]
    assert totals(page([*rows, [(0, "Total items"), (40, "2")]])) == ["11.10"]


def test_a_card_slip_below_a_receipt_is_part_of_it() -> None:
    slip = ["ALAM MART", "Date 02-01-2025", "VISA SALE", [(0, "TOTAL"), (10, "RM 11.10")], "APPROVED"]
    assert totals([*page(ALAM), *moved(page(slip), 0, 600)]) == ["RM 11.10"]


def test_a_copy_beside_a_receipt_is_the_same_document() -> None:
    assert totals(side_by_side(ALAM, ALAM)) == ["RM 11.10"]


def test_pages_of_a_file() -> None:
    lines = [line for n, rows in enumerate((ALAM, BIRU, HIJAU)) for line in on_page(rows, n)]
    assert totals(lines, 3) == ["RM 11.10", "RM 22.20", "RM 3.30"]
    assert totals(lines, 3, "together") == ["RM 11.10"]
    assert [p.pages for p in split_documents(lines, 3, PagesMode.SEPARATE)] == [(0,), (1,), (2,)]


@pytest.mark.parametrize(
    "second",
    [
        ["DELTA FREIGHT LTD", "Page 2 of 2", "Terms and conditions", [(0, "TOTAL"), (10, "RM 11.10")]],  # a page number
        ["ALAM MART", "Date 02-01-2025", "continued", [(0, "Egg"), (11, "3.10")], [(0, "TOTAL"), (10, "RM 14.20")]],  # same head
        ["Terms and conditions", "Goods cannot be returned."],  # no document
    ],
)
def test_pages_of_one_document_stay_together(second: Sequence[Any]) -> None:
    assert len(split_documents([*on_page(ALAM, 0), *on_page(second, 1)], 2)) == 1


def test_an_invoice_whose_total_is_on_its_last_page_is_one_document() -> None:
    first = ["DELTA FREIGHT LTD", "Date 02-01-2025", [(0, "Cable"), (11, "8.00")]]
    last = ["DELTA FREIGHT LTD", "Date 02-01-2025", [(0, "Plug"), (11, "3.10")], [(0, "TOTAL"), (10, "RM 11.10")]]
    lines = [*on_page(first, 0), *on_page(last, 1)]
    assert totals(lines, 2) == ["RM 11.10"]
    assert totals(lines, 2, "separate") == [None, "RM 11.10"]


def test_a_blank_page_between_receipts_is_no_document() -> None:
    lines = [*on_page(ALAM, 0), *on_page(BIRU, 2)]
    assert [p.pages for p in split_documents(lines, 3)] == [(0, 1), (2,)]


def test_values_of_a_language_model_are_those_of_their_page() -> None:
    lines = [*on_page(ALAM, 0), *on_page(BIRU, 1)]
    pages = (PageValues(0, {"total_amount": "RM 11.10"}, {"total_amount": 0.9}), PageValues(1, {"total_amount": "22.20"}, {}))
    reading = Reading("", tuple(lines), values=pages[0].values, page_values=pages)
    task = parse_instruction("", fields=["total_amount"])
    found = resolve_documents(task, reading, lines, [(900, 900)] * 2)
    assert [d.fields[0].value for d in found.documents] == ["RM 11.10", "22.20"]
    mixed = Reading("", tuple(lines), values={"total_amount": "RM 22.20"})  # of a picture with both: the rules decide
    both = side_by_side(ALAM, BIRU)
    assert resolve_documents(task, mixed, both, [(3000, 900)]).fields[0].value == "RM 11.10"


def test_a_schema_holds_for_each_document_and_a_further_one_may_fail_it() -> None:
    schema = {"type": "object", "properties": {"total_amount": {"type": "number"}}, "required": ["total_amount"]}
    lines = [*on_page(ALAM, 0), *on_page(BIRU, 1), *on_page(["Notes"], 2)]
    found = resolve_documents(parse_instruction("", schema=schema, pages="separate"), Reading(""), lines, [(900, 900)] * 3)
    assert [d.answer for d in found.documents] == [{"total_amount": 11.1}, {"total_amount": 22.2}, None]
