"""The method on real receipts, with perfect lines: what is lost here is not the reader's fault."""

import json
from pathlib import Path

import pytest

from hunyuanocr.fields import extract_fields
from hunyuanocr.fields.values.normalize import comparable
from hunyuanocr.types import Line
from tests.fields.pages import spec

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
            assert field.confidence is None  # the transcript has none, and none is made up
    shares = {key: count / len(files) for key, count in right.items()}
    assert shares["total"] >= 0.93
    assert shares["date"] >= 0.96
    assert shares["company"] >= 0.85
