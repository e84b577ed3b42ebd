"""Names that are neither known nor printed are said to be unknown, with suggestions; printed names are fields of the client."""

from typing import Any

import pytest

from hunyuanocr.fields import extract_fields
from hunyuanocr.fields.catalogue import KNOWN, lookup, suggest
from hunyuanocr.fields.unknown import is_printed, mark_unknown, unknown_field_warnings
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import Field, Line

PAGE = ("CORNER CAFE", "2025-03-05", "Patient code: 7788", "車牌號：粵B12345", "Locker", "TOTAL 5.50")


def lines(*texts: str) -> list[Line]:
    return [
        Line(text, ((0.0, 40.0 * n), (300.0, 40.0 * n), (300.0, 40.0 * n + 30), (0.0, 40.0 * n + 30)), 0.9)
        for n, text in enumerate(texts)
    ]


def read(*names: str, only_misspelt: bool = False) -> dict[str, Field]:
    specs = parse_instruction(fields=names).fields
    page = lines(*PAGE)
    fields = extract_fields(page, specs, [(300, 300)])
    return {field.key: field for field in mark_unknown(fields, specs, page, only_misspelt=only_misspelt)}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("totl amuont", "total_amount"),
        ("grnd total", "total_amount"),
        ("invoice nubmer", "invoice_number"),
        ("mechant", "merchant"),
        ("总额金", "total_amount"),
        ("開票日其", "date"),
        ("celkem", "total_amount"),
        ("итого", "total_amount"),
        ("合計金額は", "total_amount"),
    ],
)
def test_misspelt_or_foreign_name_is_unknown_and_has_suggestions(name: Any, suggestion: Any) -> None:
    field = read(name)[name]
    assert (field.value, field.reason) == (None, "unknown_field")
    assert suggestion in field.suggestions
    assert all(lookup(known) is KNOWN[known] for known in field.suggestions)


def test_known_name_that_the_page_lacks_is_not_unknown() -> None:
    fields = read("tracking number", "税额", "Fax")
    assert "unknown_field" not in {field.reason for field in fields.values()}


def test_printed_name_is_a_field_of_the_client_in_either_script() -> None:
    fields = read("Patient code", "车牌号", "車牌號", "locker", "patient_code")
    assert {key: field.value for key, field in fields.items()} == {
        "Patient code": "7788",
        "车牌号": "粵B12345",
        "車牌號": "粵B12345",
        "locker": fields["locker"].value,
        "patient_code": "7788",
    }
    assert "unknown_field" not in {field.reason for field in fields.values()}


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("patient code", True),
        ("PatientCode", True),
        ("ocker", False),
        ("corner", True),
        ("牌号", True),
        ("牌照", False),
        ("!", False),
    ],
)
def test_printed_name_is_found_at_the_boundaries_of_words(name: Any, printed: Any) -> None:
    assert is_printed(name, lines(*PAGE)) is printed


def test_language_model_understands_other_names_but_not_misspelt_ones() -> None:
    fields = read("plate owner", "totl amount", only_misspelt=True)
    assert [field.reason for field in fields.values()] == ["not_printed", "unknown_field"]


def test_one_warning_names_all_unknown_fields() -> None:
    fields = list(read("totl", "dat", "total").values())
    (warning,) = unknown_field_warnings(fields)
    assert warning.code == "unknown_field"
    assert "'totl' (try total_amount" in warning.message
    assert "'dat' (try date" in warning.message
    assert unknown_field_warnings([fields[2]]) == ()


def test_suggestions_are_few_and_never_empty() -> None:
    for name in ("totl", "姓", "???", "x" * 200, "ありがとう"):
        assert 1 <= len(suggest(name)) <= 5
