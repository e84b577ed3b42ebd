"""A value is grounded where it stands and nowhere else; an invented one never is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.fields import extract_fields, ground_values
from hunyuanocr.types import FieldSpec, FieldType, Line
from tests.fields.pages import page, spec
from tests.fields.test_associate import MALAYSIAN, SUPERMARKET


def ground(values: dict[Any, Any], lines: list[Line], confidences: Any = None) -> dict[Any, Any]:
    return {f.key: f for f in ground_values(values, [spec(k) for k in values], lines, confidences or {})}


def test_a_models_values_are_typed_and_placed() -> None:
    lines = page(SUPERMARKET)
    found = ground({"总金额": "36.80", "日期": "2026-11-20", "商户": "华盛生活超市"}, lines, {"总金额": 0.9})
    assert all(f.grounded for f in found.values())
    assert found["总金额"].normalized == {"amount": "36.80", "currency": None}
    assert found["总金额"].text_confidence == 0.9
    assert found["日期"].text_confidence is None
    assert min(found[key].confidence for key in ("总金额", "日期")) > 0.8
    assert found["商户"].alternatives[0].value == "华盛生活超市（南门店）"
    assert found["日期"].box[0][0] > lines[4].box[0][0]  # the date alone, not its label
    assert found["日期"].box[1][0] < lines[4].box[1][0]  # nor the time behind it


@pytest.mark.parametrize(
    ("key", "invented"),
    [
        ("总金额", "36.90"),
        ("总金额", "6.80"),
        ("总金额", "136.80"),
        ("总金额", "¥1000"),
        ("日期", "2026-11-19"),
        ("日期", "2025-11-20"),
        ("商户", "永辉超市"),
        ("小票号", "2026112000188"),
        ("小票号", "11200018"),
        ("电话", "13800001111"),
        ("收银员", "王"),
        ("时间", "18:43"),
        ("药品", "阿司匹林"),
    ],
)
def test_an_invented_value_is_never_grounded(key: Any, invented: Any) -> None:
    field = ground({key: [{"name": invented}] if key == "药品" else invented}, page(SUPERMARKET))[key]
    assert not field.grounded
    assert field.box is None or field.rows


def test_the_form_of_a_value_may_differ_from_the_page() -> None:
    found = ground({"date": "2018-03-12", "total": "20.65", "company": "Kedai Buku Seri Mutiara Sdn. Bhd."}, page(MALAYSIAN))
    assert all(f.grounded for f in found.values())


def test_a_misread_letter_does_not_unground_a_name_but_a_wrong_digit_does() -> None:
    lines = page(["MUTIARA BOOKSTORE 24 HOURS"])
    assert ground({"company": "MUTIARA BOOKST0RE 24 HOURS"}, lines)["company"].grounded is False
    assert ground({"company": "MUTIARA B0OKSTORE"}, page(["MUTIARA BOOKSTORE"]))["company"].grounded is False
    assert ground({"company": "MUTIARE BOOKSTORE 24 HOURS"}, lines)["company"].grounded
    assert not ground({"company": "MUTIARA BOOKSTORE 25 HOURS"}, lines)["company"].grounded


def test_of_several_places_the_labelled_one_is_taken() -> None:
    lines = page([[(0, "小计"), (20, "36.80")], [(0, "合计"), (20, "36.80")], [(0, "微信支付"), (20, "36.80")]])
    assert ground({"总金额": "36.80"}, lines)["总金额"].box == lines[3].box


def test_a_value_over_several_lines() -> None:
    found = ground({"address": "NO 12, JALAN BUNGA RAYA 3, 43000 KAJANG, SELANGOR"}, page(MALAYSIAN))["address"]
    assert found.grounded
    assert found.box[2][1] - found.box[0][1] > 60


def test_rows_are_grounded_cell_by_cell() -> None:
    good = {"name": "苹果", "quantity": "1.70", "amount": "17.00"}
    bad = {"name": "香蕉", "quantity": "1.70", "amount": "17.00"}
    lines = page(SUPERMARKET)
    assert ground({"items": [good]}, lines)["items"].grounded
    field = ground({"items": [good, bad]}, lines)["items"]
    assert not field.grounded
    assert [cell.grounded for cell in field.rows[1].values()] == [False, True, True]


def test_money_as_an_object_is_understood() -> None:
    field = ground({"total": {"amount": "20.65", "currency": "MYR"}}, page(MALAYSIAN))["total"]
    assert field.grounded
    assert field.normalized == {"amount": "20.65", "currency": "MYR"}


def test_a_line_the_reader_was_unsure_of_proves_nothing() -> None:
    lines = [Line(line.text, line.box, 0.4) for line in page(MALAYSIAN)]
    field = extract_fields(lines, [spec("total")], [(1000, 2000)])[0]
    assert (field.value, field.text_confidence, field.grounded) == ("RM 20.65", 0.4, False)
    assert field.confidence <= 0.5
    assert "weak_letters" in {doubt.code for doubt in field.doubts}


def test_no_value_no_lines() -> None:
    assert ground({"总金额": None, "日期": ""}, page(SUPERMARKET))["日期"].value is None
    assert not ground({"总金额": "36.80"}, [])["总金额"].grounded
    assert ground_values({}, [FieldSpec("total")], page(SUPERMARKET), {})[0].value is None


def test_rows_may_have_a_clients_columns_and_confidences_of_their_own() -> None:
    row = {"description": "苹果", "qty": "1.70", "price": None, "total": "17.00", "fresh": True}
    expected, confidences = [FieldSpec("lines", "items", FieldType.ROWS)], {"lines": 0.9, "lines/0/total": 0.4}
    (field,) = ground_values({"lines": [row, {}, None]}, expected, page(SUPERMARKET), confidences)
    (cells,) = field.rows
    assert {k: (c.type, c.grounded, c.confidence) for k, c in cells.items()} == {
        "description": (FieldType.NAME, True, 0.9),
        "qty": (FieldType.QUANTITY, True, 0.9),
        "total": (FieldType.MONEY, True, 0.4),
        "fresh": (FieldType.TEXT, False, 0.9),
    }
    assert field.confidence == 0.4


def test_an_object_of_the_clients_own_is_grounded_where_all_its_words_stand() -> None:
    lines = page(SUPERMARKET)
    good = ground({"shop": {"name": "华盛生活超市", "sums": [36.8, None], "open": True}}, lines)["shop"]
    assert good.grounded
    assert good.normalized == {"name": "华盛生活超市", "sums": [36.8, None], "open": True}
    assert good.box is not None
    bad = ground({"shop": {"name": "华盛生活超市", "sums": [36.9]}}, lines)["shop"]
    assert (bad.grounded, bad.box, bad.normalized["sums"]) == (False, None, [36.9])


def test_true_and_false_are_values_and_never_proved() -> None:
    field = ground({"paid": False}, page(["false"]))["paid"]
    assert (field.value, field.normalized, field.grounded) == ("false", False, False)


def test_a_list_of_words_is_rows_of_names() -> None:
    field = ground({"words": ["苹果", None, "香蕉"]}, page(SUPERMARKET))["words"]
    assert [(row["name"].value, row["name"].grounded) for row in field.rows] == [("苹果", True), ("香蕉", False)]


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["总金额", "date", "items", "地址", "phone", "x"]), anything)
def test_whatever_a_model_writes_becomes_a_field(key: Any, value: Any) -> None:
    field = ground({key: value}, page(SUPERMARKET[:4]))[key]
    assert field.key == key
    assert field.value is None or isinstance(field.value, str)


@given(
    st.text(alphabet="abcdeABC123.,¥ 元合计", min_size=1, max_size=12),
    st.text(alphabet="abcdeABC123.,¥ 元合计", min_size=1, max_size=12),
    st.sampled_from(list(FieldType)),
)
def test_a_grounded_value_has_a_box_inside_its_line(value: Any, text: Any, type: Any) -> None:
    line = Line(text, ((10, 10), (110, 10), (110, 30), (10, 30)), 0.5)
    field = ground_values({"x": value}, [FieldSpec("x", None, type)], [line], {})[0]
    if field.grounded and field.box:
        assert all(10 <= x <= 110 and 10 <= y <= 30 for x, y in field.box)
