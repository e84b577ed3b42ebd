"""What a model puts around Markdown and HTML goes; what was cut off is closed."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.output.markdown import close_tables, strip_code_fence, strip_coordinates, strip_math_delimiters


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("```html\n<table></table>\n```", "<table></table>"),
        ("```html\n<table>", "<table>"),
        ("```\nx\n```", "x"),
        ("```mermaid\ngraph TD\n```", "```mermaid\ngraph TD\n```"),
        ("a\n```html\nx\n```\nb", "a\n```html\nx\n```\nb"),
        ("```markdown\na\n```python\nb\n```\nc\n```", "```markdown\na\n```python\nb\n```\nc\n```"),
        ("  plain ", "plain"),
        ("", ""),
    ],
)
def test_fences(written: str, expected: str) -> None:
    assert strip_code_fence(written) == expected


def test_places_of_figures_go_and_print_stays() -> None:
    assert strip_coordinates("# Title\n(156,68),(783,758)\ntext (1,2),(3,4) here") == "# Title\ntext (1,2),(3,4) here"
    assert strip_coordinates("(156,68),(783,758)") == ""
    assert strip_coordinates("a\n\n  (156,68),(783,758)\n\nb") == "a\n\nb"


def test_an_answer_of_nothing_but_line_breaks_costs_no_time() -> None:
    """A model in a loop may write 60,000; they were looked at from each of them to the end: six seconds."""
    began = time.process_time()
    assert strip_coordinates("a" + "\n" * 100_000 + "b").count("\n") == 100_000
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("<table><tr><td>1</td></tr></table>", "<table><tr><td>1</td></tr></table>"),
        ("<table><tr><td>1</td><td>2", "<table><tr><td>1</td><td>2</td></tr></table>"),
        ('<table><tr><td rowspan="', "<table><tr></tr></table>"),
        ("<table><tr><td>1</t", "<table><tr><td>1</td></tr></table>"),
        ("no table < here", "no table < here"),
        ("<table><td>1</tr></table> 3 < 4", "<table><td>1</tr></table> 3 < 4"),
    ],
)
def test_tables_are_closed(written: str, expected: str) -> None:
    assert close_tables(written) == expected


@given(st.text(alphabet='<>/tabledhr ="1\n', max_size=80))
def test_closing_is_done_once(written: Any) -> None:
    assert close_tables(close_tables(written)) == close_tables(written)


@pytest.mark.parametrize("written", ["$$x^2$$", "\\[x^2\\]", "$x^2$", "\\(x^2\\)", "```latex\nx^2\n```", " x^2 "])
def test_formulas_are_bare(written: str) -> None:
    assert strip_math_delimiters(written) == "x^2"


@pytest.mark.parametrize("written", ["$a$ and $b$", "$$", "$", "", "a"])
def test_other_signs_stay(written: str) -> None:
    assert strip_math_delimiters(written) == written
