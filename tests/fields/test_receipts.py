"""The method on real receipts, with perfect lines: what is lost here is not the reader's fault."""

import json
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.fields import extract_fields
from hunyuanocr.fields.values.normalize import comparable
from hunyuanocr.types import Line
from tests.fields.pages import page, spec, values

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data" / "sroie-dev"


def transcript(path: Path) -> list[Line]:
    """x1,y1,…,x4,y4,text a line."""
    lines = []
    for row in path.read_text(encoding="utf-8").splitlines():
        *numbers, text = row.split(",", 8)
        if len(numbers) == 8 and text.strip():
            n = [float(v) for v in numbers]
            lines.append(Line(text, ((n[0], n[1]), (n[2], n[3]), (n[4], n[5]), (n[6], n[7]))))
    return lines


@pytest.mark.receipts
@pytest.mark.parametrize("half", [0, 1])
def test_fields_of_real_receipts(half: int) -> None:
    if not FOLDER.is_dir():
        pytest.skip("the shared receipts (../shared/data/sroie-dev) are not here")
    right = dict.fromkeys(("total", "date", "company"), 0)
    files = sorted(FOLDER.glob("*.json"))[half::2]
    for file in files:
        truth = json.loads(file.read_text(encoding="utf-8"))
        specs = [spec(key) for key in right]
        for field in extract_fields(transcript(file.with_suffix(".csv")), specs, [(1000, 2000)]):
            expected = comparable(truth[field.key], field.type)
            right[field.key] += field.value is not None and comparable(field.value, field.type) == expected
            assert field.value is None or field.grounded
            assert field.text_confidence is None  # the transcript has none, and none is made up
    shares = {key: count / len(files) for key, count in right.items()}
    assert shares["total"] >= 0.93
    assert shares["date"] >= 0.96
    assert shares["company"] >= 0.85


@pytest.mark.parametrize(
    "rows",
    [
        [[(0, "CHAPTER SEVEN", 1.4)], "The rain had stopped before dawn, and the", "harbour lay as still as a sheet of tin."],
        [[(0, "SPEED", 1.5)], [(0, "LIMIT", 1.5)], "50"],
        [[(3, "FRESH MARKET", 1.5)], "Wash your hands", "with soap and water"],
        [[(4, "中山东路", 1.5)], "小心地滑", "禁止停车"],
    ],
)
def test_a_page_that_is_no_receipt_has_no_merchant(rows: list[Any]) -> None:
    assert values(page(rows), "merchant", "total amount") == {"merchant": None, "total amount": None}


def test_a_short_receipt_has_a_merchant() -> None:
    assert values(page([[(0, "HOTEL AZUR")], "Total CHF 36.80"]), "merchant") == {"merchant": "HOTEL AZUR"}
    assert values(page(["Merchant: Azur", "Thank you"]), "merchant") == {"merchant": "Azur"}


def test_a_word_for_shop_belongs_to_its_name_and_a_price_does_not() -> None:
    lines = ["KEDAI ALAM", "12 Jalan Besar", "Date 02-01-2025", [(0, "TOTAL"), (10, "RM 11.10")]]
    assert values(page(lines), "merchant") == {"merchant": "KEDAI ALAM"}
    assert values(page(["Kedai: Alam Maju", *lines[1:]]), "merchant") == {"merchant": "Alam Maju"}
    assert values(page(["TOKO MAJU", "Beras 5kg   75.00", "Total   75.00"]), "merchant") == {"merchant": "TOKO MAJU"}
