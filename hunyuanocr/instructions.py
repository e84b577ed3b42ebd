"""Convert an instruction in Chinese or English and the request parameters to a Task.

Parameters take precedence over the instruction: `schema`, then `fields`, then `task`. An instruction that names fields becomes
`extract`, one that names another task (translate, table, formula …) becomes that task, an empty one means `read`. All others are
`free` and are passed to a language model unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hunyuanocr.errors import InvalidValue, UnknownTask
from hunyuanocr.fields.catalogue import KnownField, lookup
from hunyuanocr.fields.line_items.header import column_for
from hunyuanocr.fields.rules.label_inference import to_simplified
from hunyuanocr.fields.schema import client_schema as json_schema
from hunyuanocr.instruction_patterns import (
    AND,
    ANY_LANGUAGE,
    FILLER,
    INTO,
    LANGUAGES,
    LOCATION,
    POLITE,
    QUESTION,
    TASK_PATTERNS,
    TOTAL_QUESTION,
    VERBS,
)
from hunyuanocr.types import EvidenceMode, FieldSpec, FieldType, Task, TaskKind

MAX_INSTRUCTION = 4000  # characters; longer texts are probably pasted documents
MAX_FIELDS = 64

_STRONG = re.compile(r"[,，、;；\n|]+|\s\+\s|\s&\s")
_WEAK = re.compile(AND, re.IGNORECASE)
_QUOTED = re.compile(r"[\"'“”‘’「『]([^\"'“”‘’「」『』]+)[\"'“”‘’」』]")
_TEMPLATE = re.compile(r"[\"']([^\"'{}:]+)[\"']\s*:")  # a JSON template in the instruction: {"total": "", "date": ""}
_NUMBERING = re.compile(r"(?:^|(?<=[\s:：,，;；]))\d{1,2}\s?(?:[.)]\s|[、）．]\s?|\.(?=[^\W\d]))")
_OF = re.compile(r"(?!.*\n)(?P<head>.+?) (?:of|on|for|from|at) (?:the |this )?(?P<tail>.+)", re.IGNORECASE)
_EVERY = re.compile(r"(?:所有|全部|每[个种样项])的?|(?:all|every|each)(?: the)? ", re.IGNORECASE)
_REMARK = re.compile(r"[(（][^)）]*[)）]?")
_EDGE = " \t\r\n.,:;!?。，：；！？、的()（）[]【】{}\"'"
_NOT_A_FIELD = frozenset(
    ["", "it", "this", "text", "image", "picture", "everything", "all", "文字", "内容", "图片", "图中", "全部", "信息", "所有"]
)


def parse_instruction(
    instruction: str = "",
    *,
    task: str | None = None,
    fields: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    language: str | None = None,
    evidence: str = "fast",
) -> Task:
    """Return the requested task. Raise UnknownTask, InvalidSchema or InvalidValue for invalid parameters."""
    instruction = instruction.strip()
    if len(instruction) > MAX_INSTRUCTION:
        raise InvalidValue(f"The instruction has {len(instruction)} characters; the limit is {MAX_INSTRUCTION}.")
    specs = json_schema.field_specs(schema) if schema is not None else _specs(fields or (), keep_key=True)
    kind = _kind(task, bool(specs), instruction)
    if kind is TaskKind.EXTRACT and not specs:
        specs = _specs(extract_field_names(instruction), keep_key=False)
        if not specs and task:
            raise InvalidValue("The fields to extract are missing.", hint="Name them in 'fields' or 'instruction'.")
    if len(specs) > MAX_FIELDS:
        raise InvalidValue(f"The request has {len(specs)} fields; the limit is {MAX_FIELDS}.")
    target = _language(language) if language else (_target(instruction) if kind is TaskKind.TRANSLATE else None)
    return Task(kind, instruction, specs if kind is TaskKind.EXTRACT else (), schema, target, _evidence(evidence))


def extract_field_names(sentence: str) -> list[str]:
    """Return the fields that a sentence names, as written: "提取总金额和日期" → ["总金额", "日期"]."""
    quoted = _TEMPLATE.findall(sentence) if "{" in sentence else _QUOTED.findall(sentence)
    if quoted:
        return [q for piece in quoted for q in _pieces(piece)]
    bare = unicodedata.normalize("NFKC", sentence)
    if re.search(TOTAL_QUESTION, bare, re.IGNORECASE) and not any(_known(word) for word in _named(bare)):
        return ["total_amount"]
    return _without_columns(_named(bare))


def _named(bare: str) -> list[str]:
    bare = _NUMBERING.sub("\n", bare)
    after_colon = re.split(r"[:：]", bare, maxsplit=1)
    if len(after_colon) == 2 and after_colon[1].strip():  # "extract the fields: merchant, date, total"
        bare = after_colon[1]
    for pattern in (POLITE, FILLER, LOCATION, VERBS):
        bare = re.sub(pattern, " ", bare, flags=re.IGNORECASE)
    return list(dict.fromkeys(piece for part in _STRONG.split(bare) for piece in _pieces(part)))


def _pieces(part: str) -> list[str]:
    """Split at "and", unless the whole is a field name (总和, terms and conditions)."""
    part = re.sub(r"^(the|an?|its|and|和)\b\s*", "", part.strip(_EDGE), flags=re.IGNORECASE).strip(_EDGE)
    if part.lower() in _NOT_A_FIELD:
        return []
    halves = _WEAK.split(part)
    if _known(part) or len(halves) == 1 or not all(halves):
        return _slashed(part) or [_plain(part)]
    return [piece for half in halves for piece in _pieces(half)]


def _plain(part: str) -> str:
    """Return the part of a phrase that is a known field name, if any: 总金额(含税), name of the merchant, 所有药品."""
    candidates = [part, _REMARK.sub("", part).strip(_EDGE), _EVERY.sub("", part, count=1)]
    if phrase := _OF.fullmatch(part):
        candidates += [phrase["tail"], phrase["head"]] if phrase["head"].lower() in ("name", "value") else [phrase["head"]]
    return next((c for c in candidates if _known(c)), part)


def _slashed(part: str) -> list[str]:
    """Split at slashes if all parts are known: 发票号码/开票日期 are two fields, km/h is one."""
    halves = [half.strip(_EDGE) for half in part.split("/")]
    return halves if len(halves) > 1 and not _known(part) and all(_known(half) for half in halves) else []


def _without_columns(names: list[str]) -> list[str]:
    """Drop names of columns if line items are requested: 商品、数量和单价 are rows with these columns."""
    rows = any(known.type is FieldType.ROWS for name in names if (known := _known(name)))
    return [name for name in names if not (rows and _known(name) is None and column_for(name))]


def _known(words: str) -> KnownField | None:
    return lookup(words) or lookup(to_simplified(words))


def _kind(task: str | None, has_specs: bool, instruction: str) -> TaskKind:
    if task:
        try:
            kind = TaskKind(task.strip().lower())
        except ValueError:
            names = ", ".join(TaskKind)
            raise UnknownTask(f"Unknown task '{task[:40]}'.", hint=f"Use one of: {names}.") from None
        if has_specs and kind is not TaskKind.EXTRACT:
            raise InvalidValue(f"Fields require the task 'extract', not '{kind}'.", hint="Omit 'task' or set it to 'extract'.")
        return kind
    if has_specs:
        return TaskKind.EXTRACT
    return _guess(instruction)


def _guess(instruction: str) -> TaskKind:
    if not instruction:
        return TaskKind.READ
    named = extract_field_names(instruction)
    known = [name for name in named if _known(name)]
    if known and len(known) == len(named):  # "table number and total": all names are fields, although "table" is also a task
        return TaskKind.EXTRACT
    bare = re.sub(POLITE, " ", instruction, flags=re.IGNORECASE).strip(_EDGE)
    for kind, pattern in TASK_PATTERNS:
        if re.search(pattern, bare, re.IGNORECASE):
            return kind
    asks = re.search(VERBS, instruction, re.IGNORECASE) or _QUOTED.search(instruction)
    noun = not re.search(QUESTION, bare, re.IGNORECASE)  # a noun alone (车牌号) names a field
    if known or (named and (asks or noun) and all(_may_be_a_field(name) for name in named)):
        return TaskKind.EXTRACT
    return TaskKind.FREE


def _may_be_a_field(words: str) -> bool:
    """Return whether a phrase is short enough for a field name and has letters or digits; clauses are for a language model."""
    if not any(map(str.isalnum, words)):
        return False
    wide = sum("一" <= c <= "鿿" for c in words)
    return len(words) <= 12 if wide else len(words.split()) <= 4


def _specs(names: Iterable[str], *, keep_key: bool) -> tuple[FieldSpec, ...]:
    """Return the field specs. `keep_key`: keep the keys as written; otherwise known fields get their canonical name."""
    specs: dict[str, FieldSpec] = {}
    for words in names:
        if not words.strip():
            raise InvalidValue("A field has an empty name.", hint="Remove empty names from 'fields'.")
        known = _known(words)
        key = words if keep_key or known is None else known.name
        specs.setdefault(key, FieldSpec(key, known.name, known.type) if known else FieldSpec(key))
    return tuple(specs.values())


def _language(words: str) -> str:
    name = words.strip().lower()
    for code, names in LANGUAGES.items():
        if name == code or name.split("-")[0] == code or name in names.split("|"):
            return code
    raise InvalidValue(f"Unknown language '{words[:40]}'.", hint=f"Use one of: {', '.join(LANGUAGES)}.")


def _target(instruction: str) -> str:
    """Return the target language: the one after "into" (翻译成…), else the first one named, else that of the instruction."""
    named = re.search(INTO, instruction, re.IGNORECASE) or re.search(f"(?P<language>{ANY_LANGUAGE})", instruction, re.IGNORECASE)
    if named:
        return _language(named["language"])
    return "zh" if re.search(r"[一-鿿]", instruction) else "en"


def _evidence(word: str) -> EvidenceMode:
    try:
        return EvidenceMode(word)
    except ValueError:
        raise InvalidValue(f"Unknown evidence mode '{word[:40]}'.", hint=f"Use one of: {', '.join(EvidenceMode)}.") from None
