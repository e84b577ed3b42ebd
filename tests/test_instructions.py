"""Sentences and parameters → tasks."""

from typing import Any

import pytest

from hunyuanocr.errors import InvalidSchema, InvalidValue, UnknownTask
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import EvidenceMode, FieldType, TaskKind


def keys(sentence: str) -> list[str]:
    task = parse_instruction(sentence)
    assert task.kind is TaskKind.EXTRACT, (sentence, task.kind)
    return [spec.key for spec in task.fields]


@pytest.mark.parametrize(
    "sentence",
    [
        "提取总金额",
        "请提取总金额",
        "请帮我提取这张小票上的总金额",
        "总金额",
        "总金额是多少？",
        "这张发票的总金额是多少",
        "合计多少钱",
        "多少钱",
        "帮我看看这张单子一共多少钱",
        "how much did I pay?",
        "总金额(含税)",
        "extract total amount",
        "Extract the total amount.",
        "total",
        "what is the total?",
        "What's the grand total on this receipt?",
        "please give me the total as json",
        "how much is the total",
        "提取图片中的: ['总金额'] 的字段内容，并按照 JSON 格式返回。",
        "输出 总金额 的值。",
        "提取总金额，用JSON返回",
        "read the total",
    ],
)
def test_one_known_field_however_it_is_asked(sentence: str) -> None:
    assert keys(sentence) == ["total_amount"]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("提取总金额和日期", ["total_amount", "date"]),
        ("请提取商户、日期和总金额", ["merchant", "date", "total_amount"]),
        ("extract the fields: merchant, date, total", ["merchant", "date", "total_amount"]),
        (
            "Please extract the merchant name, the date and the total amount from this receipt as JSON",
            ["merchant", "date", "total_amount"],
        ),
        ("识别发票号码和开票日期以及税额", ["invoice_number", "date", "tax_amount"]),
        ("总金额，总金额和合计", ["total_amount"]),
        ("患者姓名 及 药费", ["patient", "total_amount"]),
        ("get phone & address", ["phone", "address"]),
        ("把日期和总金额提取出来", ["date", "total_amount"]),
        ("how much is the tax?", ["tax_amount"]),
        ("日期是多少，一共多少钱", ["date", "total_amount"]),
        ("提取以下字段：\n1. 总金额\n2. 日期\n3、商户", ["total_amount", "date", "merchant"]),
        ("Extract the following: 1. total 2. date 3. merchant", ["total_amount", "date", "merchant"]),
        ('返回 {"total": "", "date": "", "店名": ""}', ["total_amount", "date", "merchant"]),
        ("发票号码/开票日期", ["invoice_number", "date"]),
        ("提取發票號碼和總金額", ["invoice_number", "total_amount"]),
        ("提取总金额，不要其他内容", ["total_amount"]),
        ("只返回总金额的数字", ["total_amount"]),
        ("谁是收银员", ["cashier"]),
        ("Extract the total and nothing else", ["total_amount"]),
        ("How much tax was charged?", ["tax_amount"]),
        ("What is the name of the merchant?", ["merchant"]),
        ("get me the phone number of the hospital", ["phone"]),
        ("提取表格中的总金额", ["total_amount"]),
        ("total with tax", ["total_amount", "tax_amount"]),
        ("提取所有药品名称和数量", ["items"]),
        ("提取商品名称、数量、单价和总价", ["items", "total_amount"]),
        ("提取药品和规格", ["items"]),
        ("总金额和数量", ["total_amount", "数量"]),
    ],
)
def test_several_known_fields(sentence: str, expected: list[str]) -> None:
    assert keys(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("提取车牌号", ["车牌号"]),
        ("车牌号", ["车牌号"]),
        ("plate number", ["plate number"]),
        ("提取车牌号和总金额", ["车牌号", "total_amount"]),
        ("extract the table number", ["table_number"]),
        ("提取 km/h", ["km/h"]),
        ("总和", ["总和"]),
        ("提取图片中的: ['单价','上车时间'] 的字段内容，并按照 JSON 格式返回。", None),
        ("extract 'terms and conditions code'", None),
    ],
)
def test_unknown_fields_keep_the_persons_word(sentence: str, expected: list[str] | None) -> None:
    got = keys(sentence)
    if expected is not None:
        assert got == expected
    else:
        assert got


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("", TaskKind.READ),
        ("识别全部文字", TaskKind.READ),
        ("提取图中的文字。", TaskKind.READ),
        ("提取文字", TaskKind.READ),
        ("请帮我识别一下这张图", TaskKind.READ),
        ("please read this receipt", TaskKind.READ),
        ("extract everything", TaskKind.READ),
        ("提取所有信息", TaskKind.READ),
        ("read all text", TaskKind.READ),
        ("读一下", TaskKind.READ),
        ("Extract all fields", TaskKind.READ),
        ("extract text", TaskKind.READ),
        ("OCR", TaskKind.READ),
        ("What does it say?", TaskKind.READ),
        ("检测并识别图片中的文字，将文本坐标格式化输出。", TaskKind.SPOT),
        ("give me the text with bounding boxes", TaskKind.SPOT),
        ("translate this menu", TaskKind.TRANSLATE),
        ("把菜单翻译成英文", TaskKind.TRANSLATE),
        ("table to HTML", TaskKind.TABLE),
        ("把图中的表格解析为 HTML。", TaskKind.TABLE),
        ("识别图片中的公式，用 LaTeX 格式表示。", TaskKind.FORMULA),
        ("convert the equation", TaskKind.FORMULA),
        ("解析图中的图表，对于流程图使用 Mermaid 格式表示，其他图表使用 Markdown 格式表示。", TaskKind.CHART),
        ("convert this page to markdown", TaskKind.PARSE),
        ("提取图片中的字幕。", TaskKind.SUBTITLES),
        ("Is this receipt from a restaurant that still exists today or not?", TaskKind.FREE),
        ("这个药怎么吃", TaskKind.FREE),
        ("hello", TaskKind.FREE),
        ("😀😀", TaskKind.FREE),
        ("图中有几个人", TaskKind.FREE),
        ("summarize this receipt", TaskKind.FREE),
        ("这张照片里的人在做什么并且他们为什么看起来那么高兴", TaskKind.FREE),
    ],
)
def test_kinds(sentence: str, kind: TaskKind) -> None:
    assert parse_instruction(sentence).kind is kind


@pytest.mark.parametrize(
    ("sentence", "language"),
    [
        ("translate this menu", "en"),
        ("翻译这个菜单", "zh"),
        ("把菜单翻译成英文", "en"),
        ("translate from Chinese into French", "fr"),
        ("translate into English from Chinese", "en"),
        ("Translate to Malay please", "ms"),
        ("译为日语", "ja"),
    ],
)
def test_language_of_a_translation(sentence: str, language: str) -> None:
    assert parse_instruction(sentence).language == language


def test_fields_parameter_keeps_keys_letter_for_letter() -> None:
    task = parse_instruction("anything", fields=["Total ", "公司", "车牌号"])
    assert [(s.key, s.name) for s in task.fields] == [("Total ", "total_amount"), ("公司", "merchant"), ("车牌号", None)]
    assert task.fields[0].type is FieldType.MONEY


def test_schema_gives_the_fields() -> None:
    task = parse_instruction(
        schema={"type": "object", "properties": {"total_amount": {"type": "number"}, "date": {"type": "string"}}}
    )
    assert task.kind is TaskKind.EXTRACT
    assert [s.key for s in task.fields] == ["total_amount", "date"]


def test_explicit_task_wins_over_the_sentence() -> None:
    assert parse_instruction("提取总金额", task="read").kind is TaskKind.READ
    assert parse_instruction("提取总金额", task="Extract").fields[0].key == "total_amount"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"task": "dance"}, UnknownTask),
        ({"task": "extract"}, InvalidValue),
        ({"task": "read", "fields": ["total"]}, InvalidValue),
        ({"fields": ["total", " "]}, InvalidValue),
        ({"fields": [f"f{i}" for i in range(65)]}, InvalidValue),
        ({"language": "klingon", "task": "translate"}, InvalidValue),
        ({"evidence": "maybe"}, InvalidValue),
        ({"schema": {"type": "array"}}, InvalidSchema),
        ({"instruction": "x" * 4001}, InvalidValue),
    ],
)
def test_what_cannot_be_is_an_error_with_a_hint(arguments: dict[str, Any], error: Any) -> None:
    with pytest.raises(error) as raised:
        parse_instruction(**arguments)
    assert raised.value.message
    assert raised.value.hint


def test_evidence_is_kept() -> None:
    assert parse_instruction(evidence="none").evidence is EvidenceMode.NONE
