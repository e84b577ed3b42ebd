"""Results to keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hunyuanocr.ids import new_id
from hunyuanocr.store.record_builder import build_entry
from hunyuanocr.store.records import Entry
from hunyuanocr.types import Field, FieldType, Line, Result, ResultWarning, TaskKind

BOX = ((0.0, 0.0), (9.0, 0.0), (9.0, 5.0), (0.0, 5.0))
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def money(key: str, printed: str, amount: str) -> Field:
    return Field(key, FieldType.MONEY, printed, {"amount": amount, "currency": "CNY"}, BOX, 0, 0.98, grounded=True)


ITEMS = Field(
    "items",
    FieldType.ROWS,
    rows=(
        {"name": Field("name", FieldType.NAME, "矿泉水"), "amount": money("amount", "9.00", "9.00")},
        {"name": Field("name", FieldType.NAME, "面包"), "amount": money("amount", "27.80", "27.80")},
    ),
)


TOTAL = money("total_amount", "¥36.80", "36.80")


def result(text: str = "便民超市\n合计：¥36.80", fields: tuple[Field, ...] = (TOTAL,), **other: Any) -> Result:
    lines = tuple(Line(words, BOX, 0.9 - 0.1 * n) for n, words in enumerate(text.splitlines()))
    given: dict[str, Any] = {
        "id": new_id(),
        "task": TaskKind.EXTRACT,
        "text": text,
        "lines": lines,
        "fields": fields,
        "markdown": None,
        "page_sizes": ((937, 1450),),
        "backend": "ppocr",
        "model": "test-reader",
        "elapsed_ms": 12.5,
        "notices": (ResultWarning("blurred", "The picture is blurred.", 0),),
    } | other
    return Result(**given)


def kept(text: str = "便民超市\n合计：¥36.80", minutes: float = 0, owner: str = "local", **other: Any) -> Entry:
    """An Entry made so many minutes after noon."""
    about: dict[str, Any] = {name: other.pop(name) for name in ("device", "source", "instruction", "image") if name in other}
    return build_entry(
        result(text, **other), owner=owner, created_at=NOON + timedelta(minutes=minutes), **{"source": "ocr"} | about
    )
