"""Text that is found but cannot be read: unknown scripts, mirror images, tiny letters; readable pages have no warning."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from hunyuanocr.backends.ppocr.ocr import PageReader
from hunyuanocr.backends.ppocr.scripts import PPOCR_V6, known_scripts
from hunyuanocr.config import PpocrSettings
from hunyuanocr.types import Page, ResultWarning
from tests.backends.contract import text_page

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
ENGLISH = ["SUNRISE GROCERY", "12 Garden Road", "Whole bread 12.00", "Fresh milk 8.50", "TOTAL 20.50"]
FOREIGN = {
    "Russian": ["МАГАЗИН БЕРЁЗА", "ул. Садовая, 8", "Хлеб бородинский  48.00", "Щётка жёлтая  72.00", "ИТОГО 120.00"],
    "Greek": ["ΚΑΤΑΣΤΗΜΑ ΤΡΟΦΙΜΩΝ", "Οδός Ερμού 14", "Ψωμί ολικής 2,40", "Γάλα φρέσκο 1,90", "ΣΥΝΟΛΟ 4,30"],
    "Arabic": ["متجر النخيل", "شارع الملك فهد", "خبز عربي 12.00", "المجموع 20.50"],
    "Hebrew": ["חנות הזית", "רחוב הרצל 8", "לחם מלא 12.00", "סך הכל 20.50"],
}
READABLE = {
    "English": ENGLISH,
    "Vietnamese": ["CỬA HÀNG HOA SEN", "Đường Nguyễn Huệ", "Bánh mì 12.000", "TỔNG CỘNG 20.500"],
    "Turkish": ["GÜNEŞ MARKET", "Çiğdem Sokağı No 8", "Ekmek 12,00", "TOPLAM 20,50"],
    "numbers": ["12.50", "8.00", "20.50"],
}


@pytest.fixture(scope="module")
def reader() -> PageReader:
    return PageReader(PpocrSettings())


def drawn(lines: list[str], size: int = 34) -> Page:
    if not FONT.is_file():
        pytest.skip("needs DejaVu Sans (Debian: fonts-dejavu-core)")
    font = ImageFont.truetype(str(FONT), size)
    width, high = max(int(font.getlength(line)) for line in lines) + 80, int(size * 1.5)
    image = Image.new("RGB", (width, high * len(lines) + 80), "white")
    for n, line in enumerate(lines):
        ImageDraw.Draw(image).text((40, 40 + n * high), line, font=font, fill=(20, 20, 20))
    return Page(np.asarray(image), *image.size)


def codes(reader: PageReader, page: Page) -> list[str]:
    return [notice.code for notice in reader.read_page(page).notices]


@pytest.mark.parametrize("language", FOREIGN)
def test_a_script_that_the_reader_does_not_know(reader: PageReader, language: str) -> None:
    assert codes(reader, drawn(FOREIGN[language])) == ["script_not_supported"]


@pytest.mark.parametrize("language", READABLE)
def test_readable_text_has_no_warning(reader: PageReader, language: str) -> None:
    assert codes(reader, drawn(READABLE[language])) == []


def test_a_foreign_name_on_a_readable_page_has_no_warning(reader: PageReader) -> None:
    assert codes(reader, drawn([*ENGLISH, "МАГАЗИН БЕРЁЗА"])) == []


def test_a_mirror_image(reader: PageReader) -> None:
    page = drawn(ENGLISH)
    for mirrored in (page.pixels[:, ::-1], page.pixels[::-1]):
        assert codes(reader, Page(np.ascontiguousarray(mirrored), page.width, page.height)) == ["looks_mirrored"]


def test_tiny_letters(reader: PageReader) -> None:
    page = text_page(ENGLISH, size=40)
    small = cv2.resize(page.pixels, None, fx=0.12, fy=0.12, interpolation=cv2.INTER_AREA)
    assert codes(reader, Page(np.asarray(small, dtype=np.uint8), page.width, page.height)) == ["letters_too_small"]


def test_a_blurred_photo_is_not_taken_for_a_foreign_script(reader: PageReader) -> None:
    page = drawn(FOREIGN["Russian"])
    blurred = Page(page.pixels, page.width, page.height, notices=(ResultWarning("blurry", "The photo is blurred."),))
    assert codes(reader, blurred) == []


def test_scripts_are_those_of_the_recogniser(reader: PageReader) -> None:
    assert reader.scripts == PPOCR_V6
    assert known_scripts(frozenset("abcZйéЖяאש")) == ("Latin", "Cyrillic", "Hebrew")
