"""Both languages are complete, and what a tap asks for is understood."""

import re
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr import errors
from hunyuanocr.backends.base import CPU_TASKS
from hunyuanocr.error_texts import error_text
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import ResultWarning, TaskKind
from web.i18n import PRESETS, TEXT, escape_html, field_label, negotiate_language, presets, translate, warning_text


def family(base: Any = errors.HunyuanOcrError) -> list[Any]:
    return [base, *(c for child in base.__subclasses__() for c in family(child))]


@pytest.mark.parametrize("key", TEXT)
def test_every_word_is_there_in_both_languages(key: Any) -> None:
    zh, en = TEXT[key]
    assert zh
    assert en
    assert re.search(r"[一-鿿]", zh), "the Chinese is Chinese"
    assert not re.search(r"[一-鿿]", en)
    assert zh.count("{}") == en.count("{}")


@pytest.mark.parametrize("error", [c for c in family() if c.__module__.startswith("hunyuanocr.errors")])
def test_every_error_speaks_chinese(error: Any) -> None:
    what, hint = error_text(error("The English message."), "zh")
    assert re.search(r"[一-鿿]", what)
    assert re.search(r"[一-鿿]", hint)
    assert error_text(error("The English message."), "en") == ("The English message.", error.hint)


def test_an_unknown_error_speaks_for_itself() -> None:
    class Odd(errors.HunyuanOcrError):
        code = "odd"

    assert error_text(Odd("Odd.", hint="Do this."), "zh") == ("Odd.", "Do this.")
    assert warning_text(ResultWarning("odd", "Odd."), "zh") == "Odd."


def test_a_notice_names_its_page_when_it_is_not_the_first() -> None:
    assert warning_text(ResultWarning("blurry", "Blurred.", page=2), "zh").startswith("第 3 页")
    assert warning_text(ResultWarning("blurry", "Blurred.", page=0), "en") == "Blurred."


@pytest.mark.parametrize("language", ["zh", "en"])
def test_presets_are_instructions_that_are_understood(language: Any) -> None:
    tasks = [parse_instruction(words) for words in PRESETS[language]]
    assert {t.kind for t in tasks} == {TaskKind.EXTRACT, TaskKind.READ, TaskKind.PARSE, TaskKind.TRANSLATE}
    for task in tasks:
        assert all(spec.name for spec in task.fields), "a preset asks for known fields only"
    assert [s.name for s in tasks[0].fields] == ["total_amount"]
    assert [t.kind for t in tasks] == [parse_instruction(words).kind for words in PRESETS["zh"]]


def test_only_what_the_reader_can_do_is_offered() -> None:
    assert presets("en", CPU_TASKS) == list(PRESETS["en"][:5])
    assert presets("zh", frozenset(TaskKind)) == list(PRESETS["zh"])
    assert presets("zh", {TaskKind.TRANSLATE}) == ["翻译成英文"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9", "en"),
        ("en;q=0.5, zh;q=0.8", "zh"),
        ("fr-FR, zh-TW;q=0.3", "zh"),
        ("ZH", "zh"),
        ("fr", "en"),
        ("", "en"),
        (None, "en"),
        ("zh;q=0.5.5, en;q=.2", "zh"),
        ("zhx, en", "en"),
        (";;q=,,", "en"),
    ],
)
def test_the_browser_chooses_the_language(header: str | None, language: str) -> None:
    assert negotiate_language(header) == language


def test_names_of_fields() -> None:
    assert field_label("total_amount", "zh") == "总金额"
    assert field_label("total_amount", "en") == "Total amount"
    assert field_label("name", "zh") == "姓名"
    assert field_label("name", "zh", column=True) == "名称", "of an item, not of a person"
    assert field_label("上车时间", "zh") == field_label("上车时间", "en") == "上车时间"
    assert field_label("quantity", "zh") == "quantity", "a column of items only"


def test_safe_leaves_nothing_that_a_browser_or_a_template_would_run() -> None:
    assert escape_html('<b onclick="x">\'&') == "&lt;b onclick=&quot;x&quot;&gt;&#x27;&amp;"
    assert not set("{}$`") & set(escape_html("{{value}} ${alert(1)} `x`"))


def test_say_chooses_the_language() -> None:
    assert (translate("copy", "zh"), translate("copy", "en")) == ("复制", "Copy")


def test_every_warning_that_the_code_can_give_is_there_in_chinese() -> None:
    root = Path(__file__).parent.parent.parent
    sources = [*(root / "hunyuanocr").rglob("*.py"), *(root / "api").rglob("*.py")]
    codes = {code for path in sources for code in re.findall(r'ResultWarning\(\s*"(\w+)"', path.read_text(encoding="utf-8"))}
    assert {"blurry", "glare", "low_resolution"} <= codes
    for code in codes | {"script_not_supported", "looks_mirrored", "letters_too_small"}:
        assert warning_text(ResultWarning(code, "English."), "zh") != "English.", code
