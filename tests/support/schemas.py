"""Random answer schemas of the kind that `fields.schema.answer_schema` makes. The shortest value of each is short.

The keys of every object are in descending order, so that a test can check in an answer alone that their order was kept.
"""

from __future__ import annotations

from random import Random
from typing import Any

KEYS = (
    "merchant",
    "address",
    "date",
    "total_amount",
    "tax",
    "currency",
    "invoice_number",
    "phone",
    "note",
    "unit price",
    'a "quoted" key',
    "back\\slash",
    "café",
    "总金额",
    "日期",
    "商户名称",
    "发票号码",
    "税额",
    "备注",
    "单价",
    "数量",
    "名称",
    "😀",
)
WORDS = ("现金", "银行卡", "cash", "card", 'say "yes"', "a\\b", "", "CNY", "CN", "two\nlines", "€", "😀")


def random_schema(rng: Random) -> dict[str, Any]:
    """Return the schema of an object with one to five properties and at most three levels."""
    return _object(rng, 2)


def _value(rng: Random, depth: int) -> dict[str, Any]:
    if depth and rng.random() < 0.35:
        return rng.choice([_nullable_object, _array])(rng, depth - 1)
    return rng.choice([_string, _string, _string, _number, _enum, _boolean])(rng)


def _object(rng: Random, depth: int) -> dict[str, Any]:
    keys = sorted(rng.sample(KEYS, rng.randint(1, 5)), reverse=True)
    properties = {key: _value(rng, depth) for key in keys}
    return {"type": "object", "properties": properties, "required": keys, "additionalProperties": False}


def _nullable_object(rng: Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [_object(rng, depth), {"type": "null"}]}


def _array(rng: Random, depth: int) -> dict[str, Any]:
    items = rng.choice([_object, _value])(rng, depth)
    return {"type": ["array", "null"], "items": items, "maxItems": rng.randint(0, 4)}


def _string(rng: Random) -> dict[str, Any]:
    max_length = rng.choice([0, 1, 3, 6, 12, None])  # a grammar counts up to 12; the engines count to the longest of all strings
    return {"type": ["string", "null"]} | ({} if max_length is None else {"maxLength": max_length})


def _number(rng: Random) -> dict[str, Any]:
    kind = rng.choice(["number", "integer"])
    low: float = rng.choice([-150, -3, 0, 0, 0, 1, 7, 1000])
    high = low + rng.choice([1, 2, 9, 100, 12345])
    if kind == "number":
        low, high = low + rng.choice([0, 0.5, 0.01]), high + 1 + rng.choice([0, 0.25])
    return {"anyOf": [{"type": kind, "minimum": low, "maximum": high}, {"type": "null"}]}


def _enum(rng: Random) -> dict[str, Any]:
    return {"enum": [*rng.sample([*WORDS, 0, 12, 1.5, False], rng.randint(1, 5)), None]}


def _boolean(_rng: Random) -> dict[str, Any]:
    return {"type": ["boolean", "null"]}
