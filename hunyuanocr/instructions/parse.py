"""Convert the request parameters and an instruction in Chinese or English to a Task.

Parameters take precedence over the instruction: `schema`, then `fields`, then `task`. An instruction that names fields becomes
`extract`, one that names another task (translate, table, formula …) becomes that task, an empty one means `read`. All others are
`free` and are passed to a language model unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hunyuanocr.chinese import to_simplified
from hunyuanocr.errors import InvalidValue, UnknownTask
from hunyuanocr.fields.catalogue import lookup
from hunyuanocr.fields.schema import client_schema as json_schema
from hunyuanocr.instructions.names import asks_for_own_keys, extract_field_names
from hunyuanocr.instructions.patterns import ANY_LANGUAGE, INTO, LANGUAGES
from hunyuanocr.instructions.tasks import guess_task
from hunyuanocr.types import EvidenceMode, FieldSpec, PagesMode, Task, TaskKind

MAX_INSTRUCTION = 4000  # characters; longer texts are probably pasted documents
MAX_FIELDS = 64


def parse_instruction(
    instruction: str = "",
    *,
    task: str | None = None,
    fields: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    language: str | None = None,
    evidence: str = "fast",
    pages: str = "auto",
) -> Task:
    """Return the requested task. Raise UnknownTask, InvalidSchema or InvalidValue for invalid parameters."""
    instruction = instruction.strip()
    if len(instruction) > MAX_INSTRUCTION:
        raise InvalidValue(f"The instruction has {len(instruction)} characters; the limit is {MAX_INSTRUCTION}.")
    specs = json_schema.field_specs(schema) if schema is not None else _specs(fields or (), keep_key=True)
    kind = _kind(task, bool(specs), instruction)
    if kind is TaskKind.EXTRACT and not specs:
        specs = _specs(extract_field_names(instruction), keep_key=asks_for_own_keys(instruction))
        if not specs and task:
            raise InvalidValue("The fields to extract are missing.", hint="Name them in 'fields' or 'instruction'.")
    if len(specs) > MAX_FIELDS:
        raise InvalidValue(f"The request has {len(specs)} fields; the limit is {MAX_FIELDS}.")
    target = _language(language) if language else (_target(instruction) if kind is TaskKind.TRANSLATE else None)
    specs = specs if kind is TaskKind.EXTRACT else ()
    return Task(kind, instruction, specs, schema, target, _evidence(evidence), pages=_pages(pages))


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
    return guess_task(instruction)


def _specs(names: Iterable[str], *, keep_key: bool) -> tuple[FieldSpec, ...]:
    """Return the field specs. `keep_key`: keep the keys as written; otherwise known fields get their canonical name."""
    specs: dict[str, FieldSpec] = {}
    for words in names:
        if not words.strip():
            raise InvalidValue("A field has an empty name.", hint="Remove empty names from 'fields'.")
        known = lookup(words)
        key = words if keep_key or known is None else known.name
        specs.setdefault(key, FieldSpec(key, known.name, known.type) if known else FieldSpec(key))
    return tuple(specs.values())


def _language(words: str) -> str:
    name = to_simplified(words.strip().lower())
    for code, names in LANGUAGES.items():
        if name == code or name.split("-")[0] == code or name in names.split("|"):
            return code
    raise InvalidValue(f"Unknown language '{words[:40]}'.", hint=f"Use one of: {', '.join(LANGUAGES)}.")


def _target(instruction: str) -> str:
    """Return the target language: the one after "into" (翻译成…), else the first one named, else that of the instruction."""
    instruction = to_simplified(instruction)
    named = re.search(INTO, instruction, re.IGNORECASE) or re.search(f"(?P<language>{ANY_LANGUAGE})", instruction, re.IGNORECASE)
    if named:
        return _language(named["language"])
    return "zh" if re.search(r"[一-鿿]", instruction) else "en"


def _evidence(word: str) -> EvidenceMode:
    try:
        return EvidenceMode(word)
    except ValueError:
        raise InvalidValue(f"Unknown evidence mode '{word[:40]}'.", hint=f"Use one of: {', '.join(EvidenceMode)}.") from None


def _pages(word: str) -> PagesMode:
    try:
        return PagesMode(word)
    except ValueError:
        raise InvalidValue(f"Unknown value '{word[:40]}' of 'pages'.", hint=f"Use one of: {', '.join(PagesMode)}.") from None
