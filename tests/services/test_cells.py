"""What a spreadsheet would compute is defused; what it would show as it is stays as it is."""

import pytest

from hunyuanocr.services.csv_safety import csv_row, escape_cell


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "@SUM(1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "+1+1",
        "-1-2",
        "+86-21-5555",
        "-(5)",
        "＝1+1",
        "＋1",
        "－1",
        "＠a",
        "-2%+3",
    ],
)
def test_formulas(text: str) -> None:
    assert escape_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text",
    [
        "-5.00",
        "-1,234.50",
        "+3",
        "-¥5.00",
        "-5%",
        "-12.50 €",
        "+86 138 0013 8000",
        "021-5555",
        "5-2",
        "a=b",
        "（-5）",
        "¥36.80",
    ],
)
def test_plain_values(text: str) -> None:
    assert escape_cell(text) == text


@pytest.mark.parametrize(
    "text",
    ["91310000123456789", "6222021234567890123", "123456789012", "00012345", "02155551234", "12E45", "1e5", "+8613800138000"],
)
def test_digits_that_a_spreadsheet_would_change_stay_text(text: str) -> None:
    assert escape_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["13800138000", "12345678901", "0", "0.50", "36.80", "-0.5", "2026-11-20", "1,234,567.00", "A0012"]
)
def test_digits_that_a_spreadsheet_keeps_have_no_apostrophe(text: str) -> None:
    assert escape_cell(text) == text


def test_every_cell_is_quoted() -> None:
    assert csv_row(["x;=cmd|'/c calc'!A0", 'a "b"', None, 1]) == '"x;=cmd|\'/c calc\'!A0","a ""b""","","1"\r\n'


def test_what_is_no_text() -> None:
    assert escape_cell(None) == ""
    assert escape_cell([{"name": "=1"}]) == '[{"name": "=1"}]'
