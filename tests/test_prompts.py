"""The official prompts letter for letter, and answers that are bounded whatever a client's schema says."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hunyuanocr import prompts
from hunyuanocr.errors import InvalidSchema, InvalidValue
from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.prompts import Prompt, build_prompt
from hunyuanocr.types import EvidenceMode, FieldSpec, FieldType, Task, TaskKind

KEYWORDS = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "maxItems",
    "maxLength",
    "enum",
    "anyOf",
    "minimum",
    "maximum",
}


def assert_bounded(part: Any) -> None:
    """No string without an end, no array without a most, no key that is not named, nothing to look up."""
    assert set(part) <= KEYWORDS
    if "anyOf" in part:
        for choice in part["anyOf"]:
            assert_bounded(choice)
        return
    types = part.get("type", [])
    types = {types} if isinstance(types, str) else set(types)
    assert types or part["enum"]
    if "string" in types:
        assert 0 <= part["maxLength"] <= 256
    if types & {"number", "integer"}:
        assert part["minimum"] <= part["maximum"]
    if "array" in types:
        assert 0 <= part["maxItems"] <= 128
        assert_bounded(part["items"])
    if "object" in types:
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])
        for inner in part["properties"].values():
            assert_bounded(inner)


def extract(**more: Any) -> Prompt:
    asked = build_prompt(parse_instruction("", **more))
    Draft202012Validator.check_schema(asked.schema)
    assert_bounded(asked.schema)
    return asked


def accepts(asked: Any, answer: dict[str, Any]) -> bool:
    return Draft202012Validator(asked.schema).is_valid(answer)


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        (Task(TaskKind.READ, evidence=EvidenceMode.NONE), "提取图中的文字。"),
        (Task(TaskKind.READ), "检测并识别图片中的文字，将文本坐标格式化输出。"),
        (Task(TaskKind.SPOT, evidence=EvidenceMode.NONE), "检测并识别图片中的文字，将文本坐标格式化输出。"),
        (Task(TaskKind.SUBTITLES), "提取图片中的字幕。"),
        (Task(TaskKind.FORMULA), "识别图片中的公式，用 LaTeX 格式表示。"),
        (Task(TaskKind.TABLE), "把图中的表格解析为 HTML。"),
        (Task(TaskKind.CHART), "解析图中的图表，对于流程图使用 Mermaid 格式表示，其他图表使用 Markdown 格式表示。"),
        (
            Task(TaskKind.PARSE),
            "提取文档图片中正文的所有信息用 markdown 格式表示，其中页眉、页脚部分忽略，表格用 html 格式表达，"
            "文档中公式用 latex 格式表示，按照阅读顺序组织进行解析。",
        ),
        (
            Task(TaskKind.TRANSLATE, language="en"),
            "先提取文字，再将文字内容翻译为英文。若是文档，则其中页眉、页脚忽略。公式用latex格式表示，表格用html格式表示。",
        ),
        (
            Task(TaskKind.TRANSLATE, language="ja"),
            "先提取文字，再将文字内容翻译为日文。若是文档，则其中页眉、页脚忽略。公式用latex格式表示，表格用html格式表示。",
        ),
        (Task(TaskKind.FREE, " How many people are on it? "), "How many people are on it?"),
        (Task(TaskKind.FREE, "  "), "检测并识别图片中的文字，将文本坐标格式化输出。"),
    ],
)
def test_official_prompts(task: Task, prompt: str) -> None:
    asked = build_prompt(task)
    assert asked.prompt == prompt
    assert asked.schema is None
    assert asked.repetition_penalty == 1.08
    assert 0 < asked.max_tokens <= 4096


def test_every_task_can_be_asked() -> None:
    for kind in set(TaskKind) - {TaskKind.EXTRACT}:
        assert build_prompt(Task(kind, "words")).prompt


def test_fields_are_asked_by_the_clients_own_keys() -> None:
    asked = extract(fields=["单价", "上车时间"])
    assert asked.prompt == "提取图片中的: ['单价','上车时间'] 的字段内容，并按照 JSON 格式返回。"
    assert list(asked.schema["properties"]) == ["单价", "上车时间"]
    assert asked.repetition_penalty == 1.0
    assert accepts(asked, {"单价": "3.50", "上车时间": None})
    assert not accepts(asked, {"单价": 3.5, "上车时间": None})
    assert not accepts(asked, {"单价": "3.50"})
    assert not accepts(asked, {"单价": "3.50", "上车时间": None, "more": None})
    assert not accepts(asked, {"单价": "3" * 300, "上车时间": None})


def test_our_own_names_are_explained_in_the_persons_words() -> None:
    assert build_prompt(parse_instruction("提取总金额和日期")).prompt == (
        "提取图片中的: ['total_amount','date'] 的字段内容，并按照 JSON 格式返回。其中 total_amount 是总金额，date 是日期。"
    )
    assert "total_amount 是应付金额" in build_prompt(parse_instruction("提取应付金额")).prompt
    assert "其中" not in extract(fields=["Total", "金额"]).prompt


def test_every_known_field_has_chinese_words() -> None:
    for name, known in KNOWN.items():
        assert f"{name} 是" in build_prompt(Task(TaskKind.EXTRACT, fields=(FieldSpec(name, name, known.type),))).prompt


@pytest.mark.parametrize(
    ("instruction", "columns"),
    [
        ("extract the items", ["name", "quantity", "unit_price", "amount"]),
        ("提取药品明细", ["name", "specification", "quantity", "unit_price", "amount", "usage"]),
        ("提取检验项目", ["name", "result", "unit", "reference"]),
    ],
)
def test_rows_have_the_columns_of_their_document(instruction: str, columns: list[str]) -> None:
    asked = build_prompt(parse_instruction(instruction))
    assert_bounded(asked.schema)
    assert list(asked.schema["properties"]["items"]["items"]["properties"]) == columns
    assert all(f"{column}（" in asked.prompt for column in columns)
    assert accepts(asked, {"items": None})
    assert accepts(asked, {"items": [dict.fromkeys(columns, "x"), dict.fromkeys(columns)]})
    assert not accepts(asked, {"items": [{"name": "x"}]})
    assert 2048 < asked.max_tokens <= 4096


def test_budget_grows_with_the_fields_and_has_an_end() -> None:
    one, two, many = (extract(fields=[f"field {n}" for n in range(count)]) for count in (1, 2, 64))
    assert one.max_tokens < two.max_tokens < many.max_tokens <= 4096
    assert many.schema["properties"]["field 0"]["maxLength"] < one.schema["properties"]["field 0"]["maxLength"]
    with pytest.raises(InvalidValue, match="do not fit"):
        build_prompt(parse_instruction("", fields=[f"{n}" + "long name " * 19 for n in range(64)]))


def test_a_client_may_bound_the_answer_but_not_beyond_the_budget() -> None:
    assert build_prompt(Task(TaskKind.READ, max_tokens=7)).max_tokens == 7
    assert build_prompt(Task(TaskKind.EXTRACT, fields=(FieldSpec("a"),), max_tokens=7)).max_tokens == 7
    assert build_prompt(Task(TaskKind.READ, max_tokens=10**9)).max_tokens == build_prompt(Task(TaskKind.READ)).max_tokens


def test_marks_of_the_model_are_taken_out_of_a_persons_words() -> None:
    picture = "<｜hy_place▁holder▁no▁102｜>"
    assert build_prompt(Task(TaskKind.FREE, f"What <｜hy_<｜hy_User｜>User｜> is{picture} it?")).prompt == "What  is it?"
    asked = extract(fields=[f"a{picture}", "it's\n"])
    assert "['a','it’s']" in asked.prompt
    assert list(asked.schema["properties"]) == [f"a{picture}", "it's\n"]  # the keys stay the client's


def of(**properties: Any) -> dict[Any, Any]:
    return {"type": "object", "properties": properties}


def test_scalars_of_a_clients_schema_are_asked_for_as_printed() -> None:
    asked = extract(
        schema=of(
            total={"type": "number", "minimum": 0},
            day={"type": "string", "format": "date"},
            n={"type": "integer"},
            any={},
            yes=True,
            code={"type": "string", "pattern": "^[0-9]+$", "maxLength": 8},
            money=of(amount={"type": "number"}),
        )
    )
    assert set(map(json.dumps, asked.schema["properties"].values())) == {
        '{"type": ["string", "null"], "maxLength": 32}',
        '{"type": ["string", "null"], "maxLength": 256}',
        '{"type": ["string", "null"], "maxLength": 8}',
    }
    assert accepts(asked, dict.fromkeys(asked.schema["properties"], "¥ 3.50"[:8]))


def test_what_print_cannot_say_is_asked_for_in_the_clients_form() -> None:
    tags = {"type": "array", "items": {"type": "number"}}
    who = of(name={"type": "string"}, age={"type": "integer"}, tags=tags)
    properties = of(
        paid={"type": "boolean"},
        method={"enum": ["cash", "card"]},
        one={"const": 1},
        who={"$ref": "#/$defs/Who"},
        kind={"anyOf": [{"const": "a"}, {"const": "b"}, {"type": "null"}]},
        words={"type": "array", "items": {"type": "string"}, "maxItems": 3},
    )
    asked = extract(schema={"$defs": {"Who": who}, **properties})
    answer = {
        "paid": True,
        "method": "card",
        "kind": "b",
        "one": 1,
        "words": ["a"] * 3,
        "who": {"name": "x", "age": 3, "tags": [1.5, None]},
    }
    assert accepts(asked, answer)
    assert accepts(asked, dict.fromkeys(answer))
    wrong = {"paid": "yes", "method": "CARD", "kind": "c", "one": True, "words": ["a"] * 4, "who": {"name": "x"}}
    for key, value in wrong.items():
        assert not accepts(asked, {**answer, key: value})


def test_columns_of_a_clients_rows_keep_their_names_and_are_asked_for_as_printed() -> None:
    columns = of(description={"type": "string"}, qty={"type": "number"}, done={"type": "boolean"})
    asked = extract(schema=of(lines={"type": "array", "items": columns, "description": "what was bought."}))
    assert asked.prompt.endswith("其中 lines 是what was bought。")
    assert accepts(asked, {"lines": [{"description": "tea", "qty": "2", "done": None}]})
    assert not accepts(asked, {"lines": [{"description": "tea", "qty": 2, "done": None}]})


RECURSIVE = {"$defs": {"n": of(next={"$ref": "#/$defs/n"})}, **of(a={"$ref": "#/$defs/n"})}
LISTS = {"$defs": {"n": {"type": "array", "items": of(next={"$ref": "#/$defs/n"})}}, **of(a={"$ref": "#/$defs/n"})}
WIDE = of(**{f"k{n}": of(**{f"k{m}": {"type": "string"} for m in range(40)}) for n in range(40)})
BOMB = {
    "$defs": {f"d{n}": of(**{k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcdefgh"}) for n in range(6)} | {"d6": {}},
    **of(x={"$ref": "#/$defs/d0"}),
}


@pytest.mark.parametrize("schema", [RECURSIVE, LISTS, WIDE, of(a={"type": "object"}), of(a=of(b={"type": "object"}))])
def test_a_schema_without_bounds_is_refused(schema: Any) -> None:
    task = parse_instruction("", schema=schema)  # a reader without a language model can take it
    with pytest.raises(InvalidSchema):
        build_prompt(task)


def test_a_schema_that_unfolds_to_a_hundred_thousand_parts_is_refused_by_every_reader() -> None:
    with pytest.raises(InvalidSchema):
        parse_instruction("", schema=BOMB)


literals = st.one_of(st.none(), st.booleans(), st.integers(), st.text())
keywords = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "number", "integer", "boolean", "null", ["string", "number"]])}),
    st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(0, 10**9)}),
    st.fixed_dictionaries({"type": st.just("integer"), "minimum": st.floats(-1e20, 1e20), "maximum": st.integers()}),
    st.fixed_dictionaries({"enum": st.lists(literals, min_size=1, unique_by=json.dumps)}),
    st.fixed_dictionaries({"const": st.text()}),
    st.just({}),
)
parts = st.recursive(
    keywords,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "maxItems": st.integers(0, 10**6)}),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(st.text(max_size=9), inner, max_size=4)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=9), parts, min_size=1, max_size=4))
def test_any_schema_is_bounded_or_refused(properties: Any) -> None:
    task = parse_instruction("", schema=of(**properties))
    try:
        asked = build_prompt(task)
    except (InvalidSchema, InvalidValue):
        return
    Draft202012Validator.check_schema(asked.schema)
    assert_bounded(asked.schema)
    assert list(asked.schema["properties"]) == list(properties)
    assert accepts(asked, dict.fromkeys(properties))
    assert 0 < asked.max_tokens <= prompts.PAGE_TOKENS


def test_rows_are_asked_for_whatever_their_key() -> None:
    asked = build_prompt(Task(TaskKind.EXTRACT, fields=(FieldSpec("买了什么", "items", FieldType.ROWS),)))
    columns = "name（名称）、quantity（数量）、unit_price（单价）、amount（金额）"
    assert asked.prompt.endswith(f"其中 买了什么 是明细，每项有 {columns}。")
