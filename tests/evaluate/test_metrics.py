"""The measures themselves: right on readings that are right, and low on those that are not."""

import json
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.errors import InvalidValue
from hunyuanocr.evaluate import LabelledDocument, Outcome, load_dataset, summarise
from hunyuanocr.evaluate.calibration import Stated, calibration
from hunyuanocr.evaluate.metrics import (
    LineCounts,
    bounding_box,
    count_lines,
    iou,
    is_mixed,
    match_lines,
    value_in_box,
    value_on_page,
)
from hunyuanocr.types import Field, FieldType, Line, Result, TaskKind


def quad(
    left: Any, top: int, right: int, bottom: int
) -> tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def line(text: str, left: int = 0, top: int = 0, right: int = 100, bottom: int = 20, page: int = 0) -> Line:
    return Line(text, quad(left, top, right, bottom), 0.9, page)


def test_iou() -> None:
    a = bounding_box(quad(0, 0, 10, 10))
    assert iou(a, a) == 1.0
    assert iou(a, bounding_box(quad(5, 0, 15, 10))) == pytest.approx(1 / 3)
    assert iou(a, bounding_box(quad(20, 20, 30, 30))) == 0.0


def test_a_perfect_reading_has_no_error() -> None:
    truth = [line("合计 Total", top=0, bottom=20), line("36.80", top=30, bottom=50)]
    assert count_lines(truth, truth) == LineCounts(2, 2, 2, 2, 11, 0, 1, 1, 2, 13, 0)


def test_a_missing_line_costs_all_its_characters_and_an_extra_one_precision() -> None:
    truth = [line("ABCDE", top=0, bottom=20), line("XYZ", top=30, bottom=50)]
    read = [line("ABCDF", top=1, bottom=21), line("noise", top=200, bottom=220)]
    counts = count_lines(truth, read)
    assert (counts.matched, counts.read, counts.exact, counts.edits, counts.characters) == (1, 2, 0, 1 + 3, 8)


def test_spaces_signs_and_case_count_in_the_literal_measures_only() -> None:
    counts = count_lines([line("Total: -3.20 EUR")], [line("TOTAL 3.20EUR")])
    assert (counts.exact, counts.edits) == (1, 0)
    assert (counts.literal, counts.literal_edits, counts.literal_characters) == (0, 7, 16)
    assert count_lines([line("Café  au lait")], [line("Cafe\u0301 au lait")]).literal == 1


def test_lines_of_different_pages_do_not_match() -> None:
    assert match_lines([line("A", page=0)], [line("A", page=1)]) == []


def test_each_line_is_matched_once() -> None:
    truth = [line("A", 0, 0, 100, 20)]
    read = [line("A", 0, 0, 100, 20), line("A", 0, 1, 100, 21)]
    assert match_lines(truth, read) == [(0, 0)]


def test_mixed_script() -> None:
    assert is_mixed("可口可乐 Coca-Cola 500ml")
    assert not is_mixed("可口可乐 500")
    assert not is_mixed("Coca-Cola")


def test_a_value_stands_in_its_box_only() -> None:
    truth = [line("合计 ¥36.80", 0, 0, 200, 20), line("找零 63.20", 0, 40, 200, 60)]
    assert value_in_box("¥36.80", quad(100, 0, 200, 20), 0, truth)
    assert not value_in_box("¥36.80", quad(100, 40, 200, 60), 0, truth)
    assert not value_in_box("¥36.80", quad(100, 0, 200, 20), 1, truth)
    assert value_on_page("63.20", None, 0, truth)
    assert not value_on_page("SOMETHING ELSE", None, 0, truth)
    assert not value_on_page("—", None, 0, truth)


def test_a_misread_letter_of_two_is_no_invention() -> None:
    truth = [line("黄瓜", 0, 0, 100, 20), line("白菜", 0, 40, 100, 60)]
    assert value_on_page("黃瓜", quad(0, 0, 100, 20), 0, truth)
    assert not value_on_page("黃瓜", quad(0, 40, 100, 60), 0, truth)
    assert not value_on_page("番茄", quad(0, 0, 100, 20), 0, truth)


def outcome(
    tmp_path: Path,
    value: str | None,
    box: tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]] | None,
    grounded: bool,
    expected: str | None = "¥36.80",
) -> Any:
    truth = (line("合计 ¥36.80", 0, 0, 200, 20), line("找零 63.20", 0, 40, 200, 60))
    field = Field("total", FieldType.MONEY, value, box=box, page=0 if box else None, grounded=grounded)
    result = Result("1", TaskKind.EXTRACT, "", truth, (field,), None, ((200, 60),), "ppocr", "m", 1.0)
    return Outcome(LabelledDocument(tmp_path / "a.jpg", truth, {"total": expected}, None), result, 0.5)


def test_summary_counts_right_wrong_null_and_absent(tmp_path: Path) -> None:
    right = outcome(tmp_path, "36.80元", quad(100, 0, 200, 20), True)
    wrong = outcome(tmp_path, "63.20", quad(0, 40, 200, 60), True)
    silent = outcome(tmp_path, None, None, False)
    absent_null = outcome(tmp_path, None, None, False, expected=None)
    absent_said = outcome(tmp_path, "63.20", quad(0, 40, 200, 60), True, expected=None)
    rates = summarise([right, wrong, silent, absent_null, absent_said])["fields"]["total"]
    assert (rates["precision"], rates["recall"], rates["printed"], rates["null_accuracy"]) == (0.3333, 0.3333, 3, 0.5)


def test_summary_finds_inventions_and_wrong_boxes(tmp_path: Path) -> None:
    invented = outcome(tmp_path, "ABCDEFG", quad(0, 0, 200, 20), True)
    misplaced = outcome(tmp_path, "¥36.80", quad(0, 40, 200, 60), True)
    honest = outcome(tmp_path, "ABCDEFG", None, False)
    evidence = summarise([invented, misplaced, honest])["evidence"]
    assert evidence["nowhere_on_page_but_grounded"] == 1
    assert evidence["grounded_stands_in_box"] == 0.0
    assert evidence["answered"] == 3
    assert evidence["grounded"] == 0.6667


def test_a_failed_document_is_listed_and_counts_as_silent(tmp_path: Path) -> None:
    good = outcome(tmp_path, "36.80", quad(100, 0, 200, 20), True)
    figures = summarise([good, Outcome(good.sample, None, 0.1, "reader_failed: …")])
    assert list(figures["failed"].values()) == ["reader_failed: …"]
    assert figures["fields"]["total"]["recall"] == 0.5


def test_load_reads_truth_and_names_broken_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").write_bytes(b"no truth")
    (tmp_path / "a.csv").write_text("1,2,3,2,3,4,1,4,MILK, 2 L\n\n")
    truth = {"total": "9.00", "phone": None, "_meta": {"kind": "receipt"}, "items": [{"name": "MILK"}]}
    (tmp_path / "a.json").write_text(json.dumps(truth))
    (sample,) = load_dataset(tmp_path)
    assert sample.lines is not None
    assert sample.lines[0].text == "MILK, 2 L"
    assert sample.fields == {"total": "9.00", "phone": None}
    assert sample.items == ({"name": "MILK"},)
    assert sample.meta == {"kind": "receipt"}
    (tmp_path / "a.csv").write_text("1,2,3\n")
    with pytest.raises(InvalidValue, match=r"a\.csv, line 1"):
        load_dataset(tmp_path)
    with pytest.raises(InvalidValue, match="not a folder"):
        load_dataset(tmp_path / "nowhere")


def test_any_of_several_values_is_right(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    truth = {"Vendor": ["ACME", "ACME Ltd"], "Gate": "B12", "Seat": [], "items": [{"name": "tea"}]}
    (tmp_path / "a.json").write_text(json.dumps(truth))
    (sample,) = load_dataset(tmp_path)
    assert (sample.accepted("Vendor"), sample.accepted("Gate"), sample.accepted("Seat")) == (("ACME", "ACME Ltd"), ("B12",), ())
    fields = tuple(Field(key, FieldType.TEXT, value) for key, value in (("Vendor", "Acme Ltd"), ("Gate", "B13"), ("Seat", None)))
    result = Result("1", TaskKind.EXTRACT, "", (), fields, None, ((200, 60),), "ppocr", "m", 1.0)
    rates = summarise([Outcome(sample, result, 0.5)])["fields"]
    assert (rates["Vendor"]["recall"], rates["Gate"]["recall"], rates["Seat"]["null_accuracy"]) == (1.0, 0.0, 1.0)


def test_calibration_looks_bad_where_it_is() -> None:
    honest = (
        [Stated(0.9, False, True)] * 9 + [Stated(0.9, False, False)] + [Stated(0.1, True, False)] * 9 + [Stated(0.1, True, True)]
    )
    boastful = [Stated(0.99, False, right) for right in (True, False) * 10]
    good, bad = calibration(honest), calibration(boastful)
    assert good is not None
    assert bad is not None
    assert (good["ece"], good["auroc"], good["caught"], good["doubted"]) == (0.0, 0.9, 0.9, 0.5)
    assert (bad["ece"], bad["auroc"], bad["caught"], bad["doubted"]) == (0.49, 0.5, 0.0, 0.0)
    assert good["trade_off"][-1]["caught"] == 0.9
    assert calibration([]) is None


def test_truth_of_the_users_own_folder_is_read_or_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    record = tmp_path / "a.json"
    rows = [{"名称": "茶", "金额": 9.5, "数量": None}]
    record.write_text("\ufeff" + json.dumps({"总金额": 9.5, "明细": rows}), encoding="utf-8")
    (sample,) = load_dataset(tmp_path)
    assert sample.fields == {"总金额": "9.5"}
    assert sample.items == ({"name": "茶", "amount": "9.5", "quantity": None},)
    for broken in ('{"items": ["tea"]}', "[]", '{"_meta": 7}', "{"):
        record.write_text(broken)
        with pytest.raises(InvalidValue, match=r"a\.json"):
            load_dataset(tmp_path)
    record.write_bytes('{"店名": "茶"}'.encode("gbk"))
    with pytest.raises(InvalidValue, match=r"a\.json is not JSON in UTF-8"):
        load_dataset(tmp_path)
    record.write_text("{}")
    (tmp_path / "a.csv").write_bytes("1,2,3,2,3,4,1,4,茶\n".encode("gbk"))
    with pytest.raises(InvalidValue, match=r"a\.csv is not UTF-8"):
        load_dataset(tmp_path)
