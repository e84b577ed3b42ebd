"""What a spreadsheet would compute is defused; what it would show as it is stays as it is."""

import pytest

from hunyuanocr.services.csv_safety import escape_cell


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
def test_formulas(text):
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
def test_plain_values(text):
    assert escape_cell(text) == text


def test_what_is_no_text():
    assert escape_cell(None) == ""
    assert escape_cell([{"name": "=1"}]) == '[{"name": "=1"}]'
