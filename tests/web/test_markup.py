"""Tables and pictures as HTML: every value is there, marked as what it is, and nothing read from a page becomes markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from hunyuanocr.errors import PasswordProtected
from hunyuanocr.types import Doubt, Field, FieldType, Line, Page, ResultWarning
from web.preview_html import MAX_PREVIEWS, make_previews, render_pages
from web.result_html import first_marked, format_value, numbered, render_error, render_fields, render_text, render_warnings

BOX = ((10.0, 20.0), (30.0, 20.0), (30.0, 40.5), (10.0, 40.5))
HOSTILE = "<img src=x onerror=alert(1)>\"'{{value}}${1+1}`"


def money(value: Any = "¥36.80", **more: Any) -> Field:
    given: dict[str, Any] = {
        "normalized": {"amount": "36.80", "currency": "CNY"},
        "box": BOX,
        "page": 0,
        "confidence": 0.98,
        "grounded": True,
    }
    return Field("total_amount", FieldType.MONEY, value, **(given | more))


def items() -> Field:
    def row(name: Any) -> dict[Any, Any]:
        amount = Field("amount", FieldType.MONEY, "9.00", box=BOX, page=0)
        return {"name": Field("name", FieldType.NAME, name, box=BOX, page=0), "amount": amount}

    return Field("items", FieldType.ROWS, rows=(row("水"), {"name": Field("name", FieldType.NAME)}, row("面包")))


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.words: list[Any] = []
        self.feed(html)

    def handle_starttag(self, tag: Any, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: Any) -> None:
        self.words.append(data)

    def all(self, tag: str, **attributes: Any) -> list[Any]:
        return [a for t, a in self.found if t == tag and all(a.get(k) == v for k, v in attributes.items())]


def test_a_row_says_value_normalised_confidence_and_evidence() -> None:
    html = render_fields([money()], "zh")
    words = Tags(html).words
    for expected in ("总金额", "total_amount", "¥36.80", "36.80 CNY", "98%", "图上有"):
        assert expected in words
    assert Tags(html).all("tr", **{"data-field": "0", "tabindex": "0"})


def test_a_confidence_is_never_rounded_up_to_certainty() -> None:
    assert "99%" in render_fields([money(confidence=0.998)], "en")
    assert "100%" not in render_fields([money(confidence=0.998)], "en")


def test_what_is_not_on_the_page_is_marked_so() -> None:
    words = Tags(render_fields([money(grounded=False, box=None, confidence=None), money(None, box=None)], "en")).words
    assert "not found, please check" in words
    assert "not on the page" in words
    assert "–" in words
    assert "on the page" not in words


def test_rows_without_a_box_cannot_be_chosen() -> None:
    assert "data-field" not in render_fields([money(box=None)], "en")
    assert "Select a row" not in render_fields([money(box=None)], "en")


def test_the_first_box_is_shown_as_chosen() -> None:
    fields = [money(box=None), money(), money()]
    assert first_marked(fields) == "1"
    pressed = [a["data-field"] for a in Tags(render_fields(fields, "en")).all("tr") if a.get("aria-pressed") == "true"]
    assert pressed == ["1"]
    assert 'class="mark on" data-box="1"' in render_pages(make_previews([blank()]), 1, "en", (), fields, token="t")


def test_line_items_are_a_table_whose_cells_have_boxes() -> None:
    assert [key for key, _ in numbered([money(), items()])] == ["0", "1", "1-0-0", "1-0-1", "1-1-0", "1-2-0", "1-2-1"]
    tags = Tags(render_fields([items()], "zh"))
    assert tags.words.count("9.00") == 2
    assert "面包" in tags.words
    assert "–" in tags.words
    assert [a["data-field"] for a in tags.all("td") if "data-field" in a] == ["0-0-0", "0-0-1", "0-2-0", "0-2-1"]
    drawn = Tags(render_pages(make_previews([blank()]), 1, "zh", (), [items()], token="t")).all("polygon")
    assert [a["data-box"] for a in drawn] == ["0-0-0", "0-0-1", "0-2-0", "0-2-1"]


def test_columns_of_items_stand_in_the_order_of_a_receipt() -> None:
    row = {key: Field(key, FieldType.TEXT, key) for key in ("amount", "batch", "name", "quantity")}
    words = Tags(render_fields([Field("items", FieldType.ROWS, rows=(row,))], "en")).words
    assert words[-8:-4] == ["Name", "Quantity", "Amount", "batch"]


def test_the_page_is_named_when_there_are_several() -> None:
    assert "page 2" in render_fields([money(page=1)], "en", pages=3)
    assert "page" not in Tags(render_fields([money(page=0)], "en", pages=1)).words[-1].replace("on the page", "")


@pytest.mark.parametrize(
    ("normalized", "words"),
    [
        (None, "–"),
        ("2026-11-20", "2026-11-20"),
        ({"amount": "9.00", "currency": None}, "9.00"),
        ({"candidates": ["2026-03-04", "2026-04-03"]}, "2026-03-04 or 2026-04-03"),
        ({"a": "中"}, '{"a": "中"}'),
        (3, "3"),
    ],
)
def test_normalised_values_are_readable(normalized: Any, words: str) -> None:
    assert format_value(normalized, "en") == words


def test_nothing_that_is_read_becomes_markup() -> None:
    hostile = Field(HOSTILE, FieldType.TEXT, HOSTILE, HOSTILE, BOX, 0, 0.5, True)
    rows = Field(HOSTILE, FieldType.ROWS, rows=({HOSTILE: hostile},))
    line = Line(HOSTILE, BOX)
    html = [
        render_fields([hostile, rows], "en"),
        render_text(HOSTILE, "en"),
        render_pages(make_previews([blank()]), 1, "en", [line], [hostile, rows], token="t"),
        render_warnings([ResultWarning(HOSTILE, HOSTILE)], "en"),
        render_error(PasswordProtected(HOSTILE, hint=HOSTILE), "en"),
    ]
    for part in html:
        tags = Tags(part)
        assert not [a for _, a in tags.found if any(name.startswith("on") for name in a)]
        assert all(re.fullmatch(r"page/previews/t/\d+", a["src"]) for a in tags.all("img"))
        assert "{" not in part
        assert "$" not in part
        assert "`" not in part
        assert HOSTILE in "".join(tags.words) or any(HOSTILE in str(a) for _, a in tags.found)


def blank(width: int = 600, height: int = 300, index: int = 0) -> Page:
    return Page(np.full((height // 2, width // 2, 3), 200, np.uint8), width, height, index)


def test_boxes_are_drawn_in_the_pixels_of_the_original() -> None:
    html = render_pages(make_previews([blank()]), 1, "en", [Line("a", BOX)], [money()], token="t")
    tags = Tags(html)
    assert 'viewBox="0 0 600 300"' in html
    assert [a["points"] for a in tags.all("polygon")] == ["10,20 30,20 30,40.5 10,40.5"] * 2
    assert [a["class"] for a in tags.all("polygon")] == ["line", "mark on"]


def test_each_page_has_its_own_boxes() -> None:
    html = render_pages(make_previews([blank(), blank(index=1)]), 2, "en", [Line("a", BOX, page=1)], [money(page=1)], token="t")
    first, second = re.findall(r"<figure.*?</figure>", html)
    assert "polygon" not in first
    assert second.count("polygon") == 4


def test_of_many_pages_the_first_are_shown_and_it_is_said() -> None:
    many = [blank(index=i) for i in range(MAX_PREVIEWS + 3)]
    html = render_pages(make_previews(many), len(many), "en", token="t")
    assert html.count("<figure") == MAX_PREVIEWS
    assert f"first {MAX_PREVIEWS} pages" in html
    assert "pages are shown" not in render_pages(make_previews(many[:2]), 2, "en", token="t")


def test_text_is_copied_as_it_is_and_empty_text_is_said_so() -> None:
    assert Tags(render_text("a\n  b", "en")).words[-1] == "a\n  b"
    assert "No text" in render_text("", "en", "No text.")


def test_errors_say_what_to_do() -> None:
    html = render_error(PasswordProtected("The PDF asks for a password."), "en")
    assert 'data-code="pdf_password"' in html
    assert 'role="alert"' in html
    assert "Save the PDF without a password" in html
    assert "密码" in render_error(PasswordProtected("x"), "zh")


def test_an_unknown_name_is_shown_with_names_to_try() -> None:
    unknown = Field("totl", FieldType.TEXT, reason="unknown_field", suggestions=("total_amount", "date"))
    assert "Try: Total amount, Date" in render_fields([unknown], "en")
    assert "可以试试：总金额、日期" in render_fields([unknown], "zh")


def test_a_doubtful_value_is_not_shown_as_checked() -> None:
    value = Field("total", FieldType.MONEY, "571.04", grounded=True)
    doubt = Doubt("embedded_data_differs", "The electronic invoice inside the file declares another value: <571.40>.")
    assert "和文件里的电子发票或二维码不一致" in render_fields([replace(value, doubts=(doubt,))], "zh")
    html = render_fields([replace(value, doubts=(replace(doubt, code="new"),))], "en")
    assert "proof no" in html
    assert "&lt;571.40&gt;" in html
    assert "found on the page" not in html
    assert "proof yes" in render_fields([value], "en")
