"""QR and bar codes: found where they are, understood if their form is certain, and a cross-check of the printed values."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import zxingcpp
from numpy.typing import NDArray
from PIL import Image

from hunyuanocr.config import PipelineSettings, PpocrSettings, Settings
from hunyuanocr.images import Cancellation, WorkCancelled, find_codes
from hunyuanocr.images.payloads import declared_by_codes, parse_payload
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.result_schema import OcrResponse
from hunyuanocr.store.result_codec import decode_result, encode_result
from hunyuanocr.types import Code, Field, Page, Result
from tests.support.fake_backend import FakeBackend, picture
from web.result_html import render_codes

PAPER = "01,04,4200161350,00015045,165106.00,20160501,48114255542168294433,DBFE,"
DIGITAL = "01,32,,24312000000012345678,36.8,20240105,,1A2B"
EPC = "BCD\n002\n1\nSCT\n\nBei Spiel GmbH\nDE89370400440532013000\nEUR571.4\n\n\nRE-2014"
BOX = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
Pixels = NDArray[np.uint8]


def drawn(content: str | bytes, kind: str = "QRCode", scale: int = 3) -> Pixels:
    """A code with its margin, gray."""
    barcode = zxingcpp.create_barcode(content, getattr(zxingcpp.BarcodeFormat, kind))
    return np.asarray(barcode.to_image(scale=scale), dtype=np.uint8)


def page_with(*codes: tuple[Pixels, int, int], size: tuple[int, int] = (600, 800), factor: int = 1) -> Page:
    """A white page with codes at (x, y); the original is larger by `factor`."""
    pixels = np.full((*size, 3), 255, np.uint8)
    for image, x, y in codes:
        pixels[y : y + image.shape[0], x : x + image.shape[1]] = image[..., None]
    return Page(pixels, size[1] * factor, size[0] * factor)


def found(*pages: Page) -> list[tuple[str, str]]:
    return [(code.format, code.text) for code in find_codes(pages)]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("QRCode", "https://example.org/?a=1"), ("DataMatrix", "LOT 4711"), ("Aztec", "TICKET 7"), ("PDF417", "M1DESMARAIS/LUC"),
        ("EAN13", "5901234123457"), ("Code128", "SF1382947561024"), ("Code39", "ABC-1234"), ("ITF", "10012345678902"),
    ],
)  # fmt: skip
def test_codes_of_usual_formats_are_found(kind: str, content: str) -> None:
    assert found(page_with((drawn(content, kind), 40, 30))) == [(kind, content)]


def test_a_page_without_codes_has_none() -> None:
    lines = np.full((600, 800), 255, np.uint8)
    lines[::24, 60:500] = 0  # rules of a form
    noise = np.random.default_rng(1).integers(0, 256, (400, 400), dtype=np.uint8)
    assert found(page_with((lines, 0, 0)), page_with((noise, 0, 0)), page_with()) == []


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_box_is_in_pixels_of_the_original_clockwise_from_the_top_left(turns: int, mirrored: bool) -> None:
    code = np.rot90(drawn("upright", scale=4), turns)
    image = np.ascontiguousarray(code[:, ::-1] if mirrored else code)
    (result,) = find_codes([page_with((image, 100, 50), factor=2)])
    dark = np.argwhere(image < 128)
    top, left = dark.min(axis=0) + np.array((50, 100))
    bottom, right = dark.max(axis=0) + np.array((51, 101))
    expected = [(left, top), (right, top), (right, bottom), (left, bottom)]
    assert np.abs(np.array(result.box) / 2 - np.array(expected)).max() <= 2


def test_codes_come_by_page_from_top_to_bottom() -> None:
    one = page_with((drawn("low"), 10, 300), (drawn("high"), 300, 20))
    two = Page(page_with((drawn("next"), 0, 0)).pixels, 800, 600, index=1)
    codes = find_codes([one, two])
    assert [(code.text, code.page) for code in codes] == [("high", 0), ("low", 0), ("next", 1)]


def test_a_crowd_of_codes_is_bounded() -> None:
    code = drawn("x", scale=2)
    crowd = np.tile(code, (1200 // code.shape[0], 1200 // code.shape[1]))
    assert len(find_codes([page_with((crowd, 0, 0), size=(1300, 1300))])) == 100


def test_a_cancelled_search_ends() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(WorkCancelled):
        find_codes([page_with()], cancellation)


@pytest.mark.parametrize(
    "content", [b"a\x00b\x1b]0;x\x07", "A\x01\u202egpj.exe", "=HYPERLINK(1)\x0c", "7" * 7089, "<script>alert(1)</script>"]
)
def test_a_hostile_payload_is_only_text(content: str | bytes) -> None:
    (code,) = find_codes([page_with((drawn(content, scale=2), 0, 0))])
    assert code.meaning is None
    assert not any(ord(c) < 32 or 0x202A <= ord(c) <= 0x202E for c in code.text)
    html = render_codes([code], "en")
    assert "<script" not in html
    assert "href" not in html
    assert len(html) < 1000


def test_the_page_shows_codes_as_text_in_both_languages() -> None:
    codes = [Code("QRCode", "https://example.org", BOX), Code("EAN13", "5901234123457", BOX)]
    html = render_codes(codes, "zh") + render_codes(codes, "en")
    for words in ("二维码", "条码", "QR code", "Bar code", "https://example.org", "5901234123457"):
        assert words in html
    assert "<a" not in html
    assert render_codes([], "en") == ""


def test_the_code_of_a_paper_invoice() -> None:
    assert parse_payload(PAPER) == {
        "kind": "fapiao", "type": "04", "code": "4200161350", "number": "00015045", "amount": "165106.00", "tax_included": False,
        "date": "2016-05-01", "check_code": "48114255542168294433",
    }  # fmt: skip


def test_the_code_of_a_fully_digitalised_invoice() -> None:
    assert parse_payload(DIGITAL) == {
        "kind": "fapiao", "type": "32", "code": None, "number": "24312000000012345678", "amount": "36.80", "tax_included": True,
        "date": "2024-01-05", "check_code": None,
    }  # fmt: skip


def test_a_payment_code() -> None:
    assert parse_payload(EPC) == parse_payload(EPC.replace("\n", "\r\n") + "\r\n") == {
        "kind": "epc_payment", "name": "Bei Spiel GmbH", "iban": "DE89370400440532013000", "bic": None, "amount": "571.40",
        "currency": "EUR", "purpose": None, "reference": "RE-2014",
    }  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        "", "https://example.org/01,32", "01,32,", "5901234123457",
        DIGITAL.replace("20240105", "20240230"),  # no such day
        DIGITAL.replace(",,", ",4200161350,", 1),  # a code and a number of the new form
        PAPER.replace("4200161350", ""),
        PAPER.replace("165106.00", "1e9"), PAPER.replace("165106.00", "165,106.00"), PAPER.replace("04", "٠٤"),
        EPC.replace("DE89", "DE88"),  # wrong check digits
        EPC.replace("EUR571.4", "USD571.4"), EPC.replace("EUR571.4", "EUR-1"), EPC.replace("SCT", "SDD"),
        EPC.replace("002", "001"),  # the first version requires a BIC
        EPC + "x" * 400, EPC + "\n" * 3 + "x\ny\nz", "BCD\n" * 6,
    ],
)  # fmt: skip
def test_other_payloads_have_no_meaning(payload: str) -> None:
    assert parse_payload(payload) is None


def codes(*payloads: str) -> list[Code]:
    return [Code("QRCode", payload, BOX, meaning=parse_payload(payload)) for payload in payloads]


def test_only_values_of_certain_meaning_are_declared() -> None:
    assert declared_by_codes(codes(DIGITAL)) == {
        "invoice_number": "24312000000012345678", "date": "2024-01-05", "total_amount": "36.80",
    }  # fmt: skip
    assert declared_by_codes(codes(PAPER)) == {
        "invoice_code": "4200161350", "invoice_number": "00015045", "date": "2016-05-01", "subtotal": "165106.00",
    }  # fmt: skip
    assert {"subtotal", "total_amount"}.isdisjoint(declared_by_codes(codes(PAPER.replace("01,04", "01,03"))))
    assert declared_by_codes(codes(EPC)) == {"iban": "DE89370400440532013000", "total_amount": "571.40"}
    assert declared_by_codes(codes("https://example.org")) == {}


def test_codes_of_several_invoices_declare_nothing() -> None:
    assert declared_by_codes(codes(DIGITAL, PAPER)) == {}
    assert declared_by_codes(codes(DIGITAL, DIGITAL))["total_amount"] == "36.80"  # one code on each page


def png(*payloads: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(page_with(*((drawn(p), 20 + 200 * n, 20) for n, p in enumerate(payloads))).pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def reader() -> FakeBackend:
    return FakeBackend()


@pytest_asyncio.fixture(params=[False, True], ids=["", "small memory"])
async def pipeline(reader: FakeBackend, request: pytest.FixtureRequest) -> AsyncIterator[Pipeline]:
    settings = Settings(ppocr=PpocrSettings(small_memory=request.param), pipeline=PipelineSettings(cache_mb=0))
    pipeline = Pipeline(reader, settings)
    await pipeline.start()
    yield pipeline
    await pipeline.close()


async def read(pipeline: Pipeline, data: bytes, names: Sequence[str] = ()) -> tuple[Result, dict[str, Field]]:
    task = parse_instruction(fields=list(names)) if names else parse_instruction(task="read")
    result = await pipeline.run(Request(data, task))
    return result, {field.key: field for field in result.fields}


async def test_an_answer_has_the_codes_and_a_record_keeps_them(pipeline: Pipeline) -> None:
    result, _ = await read(pipeline, png(DIGITAL, "https://example.org/x"))
    answer = OcrResponse.of(decode_result(json.loads(json.dumps(encode_result(result))))).model_dump(mode="json")
    assert [set(code) for code in answer["codes"]] == [{"format", "text", "box", "page", "meaning"}] * 2
    assert [code["meaning"] and code["meaning"]["amount"] for code in answer["codes"]] == ["36.80", None]
    result, _ = await read(pipeline, picture())
    assert OcrResponse.of(result).model_dump(mode="json")["codes"] == []


@pytest.mark.parametrize(
    ("text", "payload", "value", "doubtful"),
    [
        ("合计 ¥36.80", DIGITAL, "¥36.80", False),
        ("合计 ¥38.60", DIGITAL, "¥38.60", True),
        ("合计 ¥38.60\n价税 ¥36.80", DIGITAL, "¥36.80", False),  # selected among the printed values
        ("合计 ¥38.60", PAPER, "¥38.60", False),  # its amount is without tax
        ("合计 ¥38.60", "https://example.org", "¥38.60", False),
        ("Total 571.40 EUR", EPC, "571.40 EUR", False),
        ("Total 57.40 EUR", EPC, "57.40 EUR", True),
    ],
)
async def test_a_code_is_a_cross_check_of_the_print(
    pipeline: Pipeline, reader: FakeBackend, text: str, payload: str, value: str, doubtful: bool
) -> None:
    reader.text = text
    _, fields = await read(pipeline, png(payload), ["total_amount"])
    assert fields["total_amount"].value == value
    assert [doubt.code for doubt in fields["total_amount"].doubts][:1] == ["embedded_data_differs"] * doubtful


async def test_a_declared_value_that_is_not_printed_is_not_answered(pipeline: Pipeline, reader: FakeBackend) -> None:
    reader.text = "电子发票"
    _, fields = await read(pipeline, png(DIGITAL), ["invoice_number", "total_amount"])
    assert [field.value for field in fields.values()] == [None, None]


async def test_a_search_that_fails_does_not_fail_the_request(
    pipeline: Pipeline, reader: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_more: Any) -> Callable[[], None]:
        raise RuntimeError

    monkeypatch.setattr(zxingcpp, "read_barcodes", fail)
    reader.text = "hello"
    result, _ = await read(pipeline, png(DIGITAL))
    assert (result.text, result.codes) == ("hello", ())
