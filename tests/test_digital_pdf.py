"""PDFs with a text layer are read from it; OCR reads what the layer lacks, and replaces a layer that is wrong."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from hunyuanocr.backends.ppocr.backend import PpocrBackend
from hunyuanocr.config import ImageSettings, PipelineSettings, Settings
from hunyuanocr.images import open_pages
from hunyuanocr.images.einvoice import parse_einvoice
from hunyuanocr.images.text_layer import text_lines
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.loadtest.receipts import draw_text
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.types import Field, Result
from tests.support.pdf import HEIGHT, WIDTH, Text, pdf

INVOICE: list[Text] = [
    ("Bei Spiel GmbH", 40, 40),
    ("Invoice No: RE-2014/O0l1I", 40, 70),
    ("Date: 2014-07-03", 40, 95),
    ("Total", 40, 120),
    ("571.04", 300, 120),
]
CII = """
<rsm:CrossIndustryInvoice xmlns:rsm="r" xmlns:ram="a" xmlns:udt="u">
  <rsm:ExchangedDocument>
    <ram:ID>{number}</ram:ID>
    <ram:IssueDateTime><udt:DateTimeString format="102">20140703</udt:DateTimeString></ram:IssueDateTime>
  </rsm:ExchangedDocument>
  <ram:SellerTradeParty>
    <ram:Name>Bei Spiel GmbH</ram:Name>
    <ram:SpecifiedTaxRegistration><ram:ID schemeID="FC">1/2</ram:ID></ram:SpecifiedTaxRegistration>
    <ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">DE1</ram:ID></ram:SpecifiedTaxRegistration>
  </ram:SellerTradeParty>
  <ram:SpecifiedTradeSettlementHeaderMonetarySummation>
    <ram:GrandTotalAmount>{total}</ram:GrandTotalAmount>
  </ram:SpecifiedTradeSettlementHeaderMonetarySummation>
</rsm:CrossIndustryInvoice>
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pipeline() -> AsyncIterator[Pipeline]:
    settings = Settings(pipeline=PipelineSettings(cache_mb=0))
    pipeline = Pipeline(PpocrBackend(settings.ppocr), settings)
    await pipeline.start()
    yield pipeline
    await pipeline.close()


async def read(pipeline: Pipeline, data: bytes, *names: str) -> tuple[Result, dict[str, Field]]:
    task = parse_instruction(fields=list(names)) if names else parse_instruction(task="read")
    result = await pipeline.run(Request(data, task))
    return result, {field.key: field for field in result.fields}


def test_the_layer_has_each_run_with_its_box() -> None:
    (page,) = open_pages(pdf(INVOICE), ImageSettings())
    lines = {line.text: line.box for line in page.text_layer}
    assert list(lines) == [text for text, _, _ in INVOICE]
    scale = page.width / WIDTH
    (left, top), _, (right, bottom), _ = lines["571.04"]
    assert left == pytest.approx(300 * scale, abs=3 * scale)
    assert right == pytest.approx(345 * scale, abs=4 * scale)
    assert top < 120 * scale < bottom + 3 * scale
    assert bottom - top == pytest.approx(13 * scale, abs=4 * scale)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_the_boxes_of_a_rotated_page_are_those_of_the_drawn_page(rotation: int) -> None:
    (page,) = open_pages(pdf(INVOICE, rotation=rotation), ImageSettings())
    assert (page.width > page.height) == (rotation == 180) == (WIDTH > HEIGHT and rotation == 180)
    for line in page.text_layer:
        (left, top), _, (right, bottom), _ = line.box
        assert 0 <= left < right <= page.width
        assert 0 <= top < bottom <= page.height


def test_text_that_is_not_printed_is_not_in_the_layer() -> None:
    (page,) = open_pages(pdf([], hidden=[("invisible", 40, 60)]), ImageSettings())
    assert page.text_layer == ()


@pytest.mark.parametrize(("text", "kept"), [("\ue000\ue001\ufffd", False), ("Tel \ue000 12 34 56 78 90", True)])
def test_characters_without_a_meaning(text: str, kept: bool) -> None:
    """Fonts of some programs map all letters to private characters; one symbol is no reason to distrust the others."""
    drawn = np.zeros((50, 200, 3), np.uint8)
    drawn[::2] = 255
    lines = text_lines([(text, 5.0, 5.0, 190.0, 40.0)], drawn, 200, 50, 0)
    assert [line.text for line in lines] == (["Tel 12 34 56 78 90"] if kept else [])


@pytest.mark.asyncio(loop_scope="module")
async def test_a_digital_invoice_is_read_exactly(pipeline: Pipeline) -> None:
    """OCR confuses O with 0, and l with 1 and I."""
    result, fields = await read(pipeline, pdf(INVOICE), "invoice number", "date", "total amount")
    assert fields["invoice number"].value == "RE-2014/O0l1I"
    assert fields["total amount"].value == "571.04"
    assert fields["total amount"].grounded
    assert [line.text for line in result.lines] == [text for text, _, _ in INVOICE]
    assert result.text.splitlines()[-1] == "Total 571.04"


@pytest.mark.asyncio(loop_scope="module")
async def test_ocr_reads_the_picture_on_a_digital_page(pipeline: Pipeline) -> None:
    stamp = Image.open(io.BytesIO(draw_text(["PAID 2024-11-20"]))).convert("RGB")
    result, _ = await read(pipeline, pdf(INVOICE, picture=stamp))
    texts = [line.text for line in result.lines]
    assert texts.count("Total") == 1
    assert any("2024-11-20" in text for text in texts)


WRONG: list[Text] = [("XQZV KWJB 99.10", 60, 200 + 20 * n) for n in range(4)]


@pytest.mark.parametrize("layer", ["hidden", "covered"])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_layer_over_a_scan_is_replaced_by_ocr(pipeline: Pipeline, layer: str) -> None:
    """A scanner's own OCR may be wrong, and so may text under a picture: both lie on ink."""
    scan = Image.open(io.BytesIO(draw_text(["TOTAL 36.80"]))).convert("RGB")
    data = pdf([], picture=scan, hidden=WRONG) if layer == "hidden" else pdf([], picture=scan, covered=WRONG)
    result, _ = await read(pipeline, data)
    assert "99.10" not in result.text
    assert "36.80" in result.text


@pytest.mark.asyncio(loop_scope="module")
async def test_one_hidden_amount_on_a_digital_invoice_is_not_read(pipeline: Pipeline) -> None:
    result, fields = await read(pipeline, pdf(INVOICE, hidden=[("Total 9571.04", 40, 150)]), "total amount")
    assert fields["total amount"].value == "571.04"
    assert "9571" not in result.text


def test_text_that_is_drawn_twice_is_one_line() -> None:
    (page,) = open_pages(pdf([("TOTAL", 40, 60), ("TOTAL", 40.4, 60)]), ImageSettings())
    assert [line.text for line in page.text_layer] == ["TOTAL"]


def test_a_page_with_thousands_of_texts_is_left_to_ocr() -> None:
    """The time and memory of what follows depend on the number of lines and their length."""
    crowd: list[Text] = [(f"{n}", n % 40 * 10, n // 40 * 9 + 9) for n in range(1200)]
    (page,) = open_pages(pdf(crowd), ImageSettings())
    assert page.text_layer == ()
    (page,) = open_pages(pdf([("x" * 5000, 0, 60)]), ImageSettings())
    assert max((len(line.text) for line in page.text_layer), default=0) <= 400


@pytest.mark.parametrize(("number", "total", "doubtful"), [("RE-2014/O0l1I", "571.04", False), ("RE-2014/O0l1I", "571.40", True)])
@pytest.mark.asyncio(loop_scope="module")
async def test_the_print_is_answered_and_a_different_e_invoice_is_a_doubt(
    pipeline: Pipeline, number: str, total: str, doubtful: bool
) -> None:
    xml = CII.format(number=number, total=total).encode()
    _, fields = await read(pipeline, pdf(INVOICE, files={"factur-x.xml": xml}), "total amount", "invoice number")
    assert fields["total amount"].value == "571.04"
    assert [doubt.code for doubt in fields["total amount"].doubts][:1] == ["embedded_data_differs"] * doubtful
    assert fields["invoice number"].doubts == ()


@pytest.mark.asyncio(loop_scope="module")
async def test_an_e_invoice_selects_among_printed_values(pipeline: Pipeline) -> None:
    """Two numbers without a label: the declared one is the invoice's."""
    texts: list[Text] = [("Bei Spiel GmbH", 40, 40), ("4711-A", 40, 80), ("4712-B", 40, 110), ("Total 5.00", 40, 140)]
    xml = CII.format(number="4712-B", total="5.00").encode()
    _, fields = await read(pipeline, pdf(texts, files={"invoice.xml": xml}), "invoice number")
    assert fields["invoice number"].value == "4712-B"
    _, fields = await read(pipeline, pdf(texts), "invoice number")
    assert fields["invoice number"].value != "4712-B"


def test_formats_of_e_invoices() -> None:
    assert parse_einvoice(CII.format(number="7", total="1.00").encode()) == {
        "invoice_number": "7", "date": "2014-07-03", "total_amount": "1.00", "seller": "Bei Spiel GmbH", "tax_number": "DE1",
    }  # fmt: skip
    ubl = (
        b'<Invoice xmlns="i" xmlns:c="c"><c:ID>8</c:ID><c:IssueDate>2024-01-02</c:IssueDate><c:LegalMonetaryTotal>'
        b"<c:TaxInclusiveAmount>12.00</c:TaxInclusiveAmount></c:LegalMonetaryTotal></Invoice>"
    )
    assert parse_einvoice(ubl) == {"invoice_number": "8", "date": "2024-01-02", "total_amount": "12.00"}


@pytest.mark.parametrize(
    "data",
    [b"", b"<a/>", b"<CrossIndustryInvoice>", b'<!DOCTYPE a [<!ENTITY b "c">]><Invoice><ID>&b;</ID></Invoice>', b"<Invoice/>"],
)
def test_other_data_are_no_e_invoice(data: bytes) -> None:
    assert parse_einvoice(data) == {}
