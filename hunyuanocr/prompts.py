"""Convert a Task to the prompt for a HunyuanOCR model, the JSON Schema of the answer and the token limit.

The prompts are copied exactly from the repository of the model (README, "推荐的OCR任务提示词"): the model was trained with
them, and the Chinese ones score better. Only the prompt for fields is extended, with explanations of the keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hunyuanocr.errors import InvalidValue
from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.fields.field_builder import COLUMN_TYPES
from hunyuanocr.fields.schema.answer_schema import LengthLimits, build_answer_schema
from hunyuanocr.fields.schema.refs import resolve
from hunyuanocr.instructions.patterns import LANGUAGES
from hunyuanocr.types import EvidenceMode, FieldSpec, FieldType, Task, TaskKind

SPOTTING = "检测并识别图片中的文字，将文本坐标格式化输出。"
TEXT = "提取图中的文字。"
FIELDS = "提取图片中的: [{keys}] 的字段内容，并按照 JSON 格式返回。"
SUBTITLES = "提取图片中的字幕。"
FORMULA = "识别图片中的公式，用 LaTeX 格式表示。"
TABLE = "把图中的表格解析为 HTML。"
CHART = "解析图中的图表，对于流程图使用 Mermaid 格式表示，其他图表使用 Markdown 格式表示。"
DOCUMENT = (
    "提取文档图片中正文的所有信息用 markdown 格式表示，其中页眉、页脚部分忽略，表格用 html 格式表达，"
    "文档中公式用 latex 格式表示，按照阅读顺序组织进行解析。"
)
TRANSLATION = (
    "先提取文字，再将文字内容翻译为{language}。若是文档，则其中页眉、页脚忽略。公式用latex格式表示，表格用html格式表示。"
)

# Maximum tokens per answer. A dense A4 page has about 2,000 tokens of text; in spotting each line has about 15 for coordinates.
PAGE_TOKENS = 4096
SHORT_TOKENS = 1024  # a formula, the subtitles of a frame
FREE_TOKENS = 2048
FRAME_TOKENS = 64  # braces, commas, reserve
FIELD_TOKENS = 64
ROWS_TOKENS = 2048  # about forty rows of a receipt
PENALTY = 1.08  # value of the official inference code
JSON_PENALTY = 1.0  # keys, quotes and digits repeat legitimately

_MIN_VALUE = 8  # minimum tokens per value
_MAX_ROWS = 128
_ALWAYS: Mapping[TaskKind, tuple[str, int]] = {
    TaskKind.SPOT: (SPOTTING, PAGE_TOKENS),
    TaskKind.PARSE: (DOCUMENT, PAGE_TOKENS),
    TaskKind.TABLE: (TABLE, PAGE_TOKENS),
    TaskKind.CHART: (CHART, PAGE_TOKENS),
    TaskKind.FORMULA: (FORMULA, SHORT_TOKENS),
    TaskKind.SUBTITLES: (SUBTITLES, SHORT_TOKENS),
}

# Columns of line items by words in the instruction.
_COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"检验|检查|化验|\blab\b|\btests?\b|\bresults?\b", ("name", "result", "unit", "reference")),
    (
        r"药|处方|\brp\b|drug|medic|prescri",
        ("name", "specification", "quantity", "unit_price", "amount", "usage"),
    ),
    (r"", ("name", "quantity", "unit_price", "amount")),
)
_COLUMN_WORDS: Mapping[str, str] = {
    "name": "名称",
    "quantity": "数量",
    "unit_price": "单价",
    "amount": "金额",
    "specification": "规格",
    "unit": "单位",
    "usage": "用法用量",
    "result": "结果",
    "reference": "参考范围",
}
# Chinese names for fields whose first label in the catalogue is too vague.
_FIELD_WORDS: Mapping[str, str] = {"total_amount": "总金额", "merchant": "商户名称"}
_SPECIAL = re.compile(r"<｜[^<>]{0,80}｜>")  # turn and image tokens, reserved for the chat template


@dataclass(frozen=True)
class Prompt:
    """The prompt, the answer schema and the sampling limits for one page."""

    prompt: str
    schema: Mapping[str, Any] | None
    max_tokens: int
    repetition_penalty: float


def build_prompt(task: Task) -> Prompt:
    """Return the prompt of a task.

    Raise InvalidSchema or InvalidValue for an unbounded client schema, and for fields that do not fit the token limit.
    """
    prompt = _build_prompt(task)
    return prompt if task.max_tokens is None else replace(prompt, max_tokens=min(prompt.max_tokens, task.max_tokens))


def _build_prompt(task: Task) -> Prompt:
    words = strip_special_tokens(task.instruction)
    if task.kind is TaskKind.EXTRACT:
        return _build_fields_prompt(task)
    if task.kind is TaskKind.TRANSLATE:
        language = LANGUAGES.get(task.language or "en", task.language or "").split("|")[0]
        return Prompt(TRANSLATION.format(language=language), None, PAGE_TOKENS, PENALTY)
    if task.kind is TaskKind.FREE and words:
        return Prompt(words, None, FREE_TOKENS, PENALTY)
    if task.kind in (TaskKind.READ, TaskKind.FREE):
        return Prompt(TEXT if task.evidence is EvidenceMode.NONE else SPOTTING, None, PAGE_TOKENS, PENALTY)
    prompt, tokens = _ALWAYS[task.kind]
    return Prompt(prompt, None, tokens, PENALTY)


def strip_special_tokens(words: str) -> str:
    """Remove special tokens of the model from user text, which would end the turn or count as images."""
    while _SPECIAL.search(words):
        words = _SPECIAL.sub("", words)
    return words.strip()


def _build_fields_prompt(task: Task) -> Prompt:
    columns = _columns(task)
    schema = build_answer_schema(task.fields, columns, _bounds(FIELD_TOKENS), task.schema)
    values, fixed = _count(schema), FRAME_TOKENS + _keys(schema) + ROWS_TOKENS * _has_rows(schema)
    available = (PAGE_TOKENS - fixed) // max(1, values)
    if available < _MIN_VALUE:
        raise InvalidValue(
            f"The {values} requested values do not fit an answer of {PAGE_TOKENS} tokens.", hint="Request fewer fields."
        )
    share = min(FIELD_TOKENS, available)
    if share < FIELD_TOKENS:
        schema = build_answer_schema(task.fields, columns, _bounds(share), task.schema)
    keys = ",".join(f"'{_quoted(spec.key)}'" for spec in task.fields)
    prompt = FIELDS.format(keys=keys) + _explained(task, columns)
    return Prompt(prompt, schema, min(PAGE_TOKENS, fixed + values * share), JSON_PENALTY)


def _bounds(tokens: int) -> LengthLimits:
    """Return length limits for a value of `tokens` tokens: 4 letters or 1 digit per token; amounts and dates get half of it."""
    return LengthLimits(words=4 * tokens, code=tokens, value=max(_MIN_VALUE, tokens // 2), rows=_MAX_ROWS)


def _quoted(key: str) -> str:
    """Return a key as quoted in the prompt."""
    return " ".join(strip_special_tokens(key).split()).replace("'", "’")


def _columns(task: Task) -> tuple[tuple[str, FieldType], ...]:
    """Return the columns of line items if there is no client schema."""
    query = " ".join([task.instruction, *(f.key for f in task.fields if f.type is FieldType.ROWS)])
    names = next(names for pattern, names in _COLUMNS if re.search(pattern, query, re.IGNORECASE))
    return tuple((name, COLUMN_TYPES[name]) for name in names)


def _explained(task: Task, columns: Sequence[tuple[str, FieldType]]) -> str:
    """Return explanations of canonical field and column names, and the descriptions in the client schema."""
    parts = resolve(task.schema, task.schema).get("properties", {}) if task.schema else {}
    explanations = list(_explanations(task, columns, parts))
    return f"其中 {'，'.join(explanations)}。" if explanations else ""


def _explanations(task: Task, columns: Sequence[tuple[str, FieldType]], parts: Mapping[str, Any]) -> Iterator[str]:
    for spec in task.fields:
        part = resolve(parts.get(spec.key), task.schema or {}) if task.schema else {}
        description = part.get("description")
        words = _quoted(description)[:100].rstrip("。.") if isinstance(description, str) else _words(spec, task.instruction)
        if spec.type is FieldType.ROWS and task.schema is None:
            named = "、".join(f"{name}（{_COLUMN_WORDS[name]}）" for name, _ in columns)
            yield f"{_quoted(spec.key)} 是{words or '明细'}，每项有 {named}"
        elif words:
            yield f"{_quoted(spec.key)} 是{words}"


def _words(spec: FieldSpec, instruction: str) -> str | None:
    """Return the Chinese name of a canonical key, preferably as written in the instruction."""
    known = KNOWN.get(spec.key)
    if known is None or known.name != spec.name:
        return None
    written = [w for w in (*known.zh, *known.asked) if not w.isascii() and w in instruction]
    return max(written, key=len, default=None) or _FIELD_WORDS.get(known.name) or (known.zh[0] if known.zh else None)


def _count(part: Mapping[str, Any]) -> int:
    """Return the number of values in the answer, without rows."""
    if "anyOf" in part:
        return sum(_count(p) for p in part["anyOf"])
    if "properties" in part:
        return sum(_count(p) for p in part["properties"].values())
    return int("items" not in part and part.get("type") != "null")


def _keys(part: Mapping[str, Any]) -> int:
    """Return the tokens of keys and punctuation, one per character; those of rows are in `ROWS_TOKENS`."""
    if "anyOf" in part:
        return sum(_keys(p) for p in part["anyOf"])
    return sum(len(json.dumps(key, ensure_ascii=False)) + 2 + _keys(p) for key, p in part.get("properties", {}).items())


def _has_rows(part: Mapping[str, Any]) -> bool:
    return "items" in part or any(map(_has_rows, (*part.get("anyOf", ()), *part.get("properties", {}).values())))
