"""The renderer: the same document for the same seed, boxes on ink, a truth that stands on the paper."""

import json
import math
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from synthesis import fonts
from synthesis.fonts import KNOWN, FontsMissing
from synthesis.render import Rendered, app, render

try:
    fonts.installed(chinese=True)
except FontsMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(scope="module")
def clean() -> list[Rendered]:
    return [render(20, index, clean=True, size=640) for index in range(30)]


def texts(rendered: Rendered) -> list[str]:
    return [text for text, _ in rendered.lines]


def values(rendered: Rendered) -> dict[str, str | None]:
    return {key: value for key, value in rendered.truth.items() if not key.startswith("_") and key != "items"}


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_a_document_depends_on_seed_and_index_only() -> None:
    assert render(7, 3).image.tobytes() == render(7, 3).image.tobytes()
    assert render(7, 3).truth == render(7, 3).truth
    assert render(7, 3).truth != render(8, 3).truth
    assert render(7, 3).truth != render(7, 4).truth


def test_clean_has_the_same_content_and_no_degradations() -> None:
    for index in range(6):
        photographed, flat = render(5, index), render(5, index, clean=True)
        assert texts(photographed) == texts(flat)
        assert values(photographed) == values(flat)
        assert flat.truth["_meta"]["degradations"] == []


def test_count_does_not_change_documents_and_the_files_have_their_form(tmp_path: Path) -> None:
    for count, folder in ((1, "one"), (2, "two")):
        result = CliRunner().invoke(app, ["--count", str(count), "--seed", "9", str(tmp_path / folder)])
        assert result.exit_code == 0, result.output
    for ending in (".jpg", ".csv", ".json"):
        assert (tmp_path / f"one/0000{ending}").read_bytes() == (tmp_path / f"two/0000{ending}").read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["0000.csv", "0000.jpg", "0000.json"]
    truth = json.loads((tmp_path / "two/0001.json").read_text("utf-8"))
    assert truth["_meta"]["seed"] == 9
    assert truth["_meta"]["index"] == 1
    picture = cv2.imread(str(tmp_path / "two/0001.jpg"))
    for line in (tmp_path / "two/0001.csv").read_text("utf-8").splitlines():
        *corners, text = line.split(",", 8)
        xs, ys = [int(v) for v in corners[::2]], [int(v) for v in corners[1::2]]
        assert len(corners) == 8
        assert text
        assert 0 <= min(xs) < max(xs) <= picture.shape[1]
        assert 0 <= min(ys) < max(ys) <= picture.shape[0]


def test_boxes_hold_ink_and_hold_all_of_it(clean: list[Rendered]) -> None:
    for rendered in clean[:12]:
        grey = rendered.image.min(axis=2).astype(int)
        paper = int(np.median(grey))
        for text, quad in rendered.lines:
            left, top, right, bottom = (
                math.floor(quad[0][0]),
                math.floor(quad[0][1]),
                math.ceil(quad[2][0]),
                math.ceil(quad[2][1]),
            )
            ink = grey[top:bottom, left:right] < paper - 60
            assert ink.any(), text
            around = grey[top:bottom, max(0, left - 3) : left] < paper - 90  # a rule may run right below the box
            assert not around.any(), f"{text}: ink left of its box"


def test_a_field_box_lies_in_its_lines(clean: list[Rendered]) -> None:
    for rendered in clean:
        spans = np.array([[*quad.min(axis=0), *quad.max(axis=0)] for _, quad in rendered.lines])
        for name, quad in rendered.truth["_boxes"].items():
            (left, top), (right, bottom) = np.min(quad, axis=0), np.max(quad, axis=0)
            touched = spans[(spans[:, 1] < bottom) & (spans[:, 3] > top) & (spans[:, 0] < right) & (spans[:, 2] > left)]
            assert len(touched), name
            assert touched[:, 0].min() - 2 <= left <= right <= touched[:, 2].max() + 2, name


def in_box(rendered: Rendered, name: str) -> str:
    """The text of the lines that a field's box touches."""
    (left, top), (right, bottom) = np.min(rendered.truth["_boxes"][name], axis=0), np.max(rendered.truth["_boxes"][name], axis=0)
    boxes = ((text, quad.min(axis=0), quad.max(axis=0)) for text, quad in rendered.lines)
    return squeezed(
        "".join(text for text, low, high in boxes if low[0] < right and high[0] > left and low[1] < bottom and high[1] > top)
    )


def test_values_stand_in_their_boxes_and_nulls_have_none(clean: list[Rendered]) -> None:
    nulls = 0
    for rendered in clean:
        asked = dict(values(rendered))
        for number, item in enumerate(rendered.truth["items"]):
            assert set(item) == {"name", "quantity", "unit_price", "amount"}
            assert item["name"]
            asked |= {f"items.{number}.{key}": value for key, value in item.items() if value is not None}
        for name, value in asked.items():
            if value is None:
                nulls += 1
                assert name not in rendered.truth["_boxes"]
            else:
                assert squeezed(value) in in_box(rendered, name), name
    assert nulls > 2 * len(clean)


# signs of a field that a document asked for in vain must not show
TELLTALE = {
    "phone": r"电话|TEL|Tel|Phone|热线",
    "tax_number": r"税号|纳税人|GST Reg|VAT No|Tax ID",
    "change": r"找零|找回|CHANGE|Change",
    "patient": r"姓名|患者|Patient",
    "doctor": r"医师：|医师:|医生|Doctor|Physician",
    "diagnosis": r"诊断|Diagnosis|Dx",
    "balance": r"余额|Balance|Bal\b",
    "print_date": r"打印|补打|Print",
    "time": r"\d\d:\d\d",
}


def test_a_field_that_is_null_leaves_no_trace(clean: list[Rendered]) -> None:
    for rendered in clean:
        page = "\n".join(texts(rendered))
        for name, sign in TELLTALE.items():
            if name in rendered.truth and rendered.truth[name] is None:
                assert not re.search(sign, page), (name, page)


def test_a_third_has_no_labels_and_the_record_says_which(clean: list[Rendered]) -> None:
    bare = [rendered for rendered in clean if not rendered.truth["_meta"]["labelled"]]
    assert len(clean) / 6 < len(bare) < len(clean) / 2
    for rendered in bare:
        lines = {squeezed(text) for text in texts(rendered)}
        for name in rendered.truth["_meta"]["unlabelled"]:
            value = squeezed(rendered.truth[name])
            assert any(line == value or (name == "date" and value in line and ":" in line) for line in lines), (name, value)


def test_amounts_add_up(clean: list[Rendered]) -> None:
    for rendered in clean:
        cents = rendered.truth["_meta"]["cents"]
        if not cents:
            continue
        added = cents["items"] - cents["discount"] + cents["service"] + cents["fee"] + cents["tax"] - cents["rounding"]
        assert added == cents["total"] == cents["paid"] - cents["change"]
        amounts = [item["amount"] for item in rendered.truth["items"]]
        if amounts and None not in amounts:
            assert sum(in_cents(amount) for amount in amounts) == cents["items"]
        if rendered.truth["total_amount"] is not None:
            assert in_cents(rendered.truth["total_amount"]) == cents["total"]


def in_cents(printed: str) -> int:
    return int(re.sub(r"\D", "", printed))


def test_both_languages_and_kinds_come_and_one_can_be_chosen(clean: list[Rendered]) -> None:
    seen = {(rendered.truth["_meta"]["kind"], rendered.truth["_meta"]["language"]) for rendered in clean}
    assert seen == {(kind, language) for kind in ("receipt", "prescription") for language in ("zh", "en")}
    assert {render(1, index, clean=True, language="zh").truth["_meta"]["language"] for index in range(6)} == {"zh"}


@pytest.fixture(scope="module")
def others() -> list[Rendered]:
    return [render(30, index, clean=True, size=700, kind=kind) for kind in ("invoice", "parcel") for index in range(12)]


def test_invoices_and_parcels_tell_the_truth_too(others: list[Rendered]) -> None:
    test_values_stand_in_their_boxes_and_nulls_have_none(others)
    test_a_field_that_is_null_leaves_no_trace(others)
    test_amounts_add_up(others)
    assert {r.truth["_meta"]["language"] for r in others} == {"zh", "en"}
    for rendered in others:
        kind, asked = rendered.truth["_meta"]["kind"], values(rendered)
        needed = {"invoice": ("total_amount", "seller", "invoice_number"), "parcel": ("tracking_number", "recipient_address")}[
            kind
        ]
        assert all(asked[name] for name in needed)
        if kind == "invoice" and asked.get("tax_amount"):
            assert in_cents(asked["subtotal"]) + in_cents(asked["tax_amount"]) == in_cents(asked["total_amount"])


def test_kinds_can_be_chosen_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    assert {render(2, index, clean=True, kind="slip").truth["_meta"]["variant"] for index in range(3)} == {"card_slip"}
    result = CliRunner().invoke(app, ["--kind", "novel", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "invoice" in result.output


def test_size_sets_the_width_of_the_paper(clean: list[Rendered]) -> None:
    assert all(abs(rendered.image.shape[1] - 640) <= 32 for rendered in clean)


def test_other_fonts_on_the_machine_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = render(3, 1, clean=True)
    source = next(path for folder in fonts.FOLDERS for path in folder.rglob("DejaVuSans.ttf"))
    for name in ("LiberationSans-Regular.ttf", "LiberationMono-Regular.ttf", "wqy-zenhei.ttc", "uming.ttc", "ukai.ttc"):
        shutil.copy(source, tmp_path / name)
    monkeypatch.setattr(fonts, "FOLDERS", (tmp_path, *fonts.FOLDERS))
    fonts.font_files.cache_clear()
    after = render(3, 1, clean=True)
    assert np.array_equal(after.image, before.image)
    assert after.truth == before.truth


def test_without_chinese_fonts_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "KNOWN", tuple(font for font in KNOWN if not font.chinese))
    with pytest.raises(FontsMissing, match="apt install fonts-noto-cjk"):
        render(1, 0)
    result = CliRunner().invoke(app, ["--count", "1", str(tmp_path)])
    assert result.exit_code == 1
    assert "apt install" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--language", "fr"], ["--size", "10"], ["--seed", "-1"]])
def test_bad_options_are_refused(arguments: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, [*arguments, str(tmp_path / "out")]).exit_code == 2
