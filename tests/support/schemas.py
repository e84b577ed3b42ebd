"""Random JSON Schemas of the kind that the product makes and clients send. All are bounded: the shortest value is short.

In every object the keys stand in falling order, so that a test can see from an answer alone that the order was kept.
"""

from __future__ import annotations

from random import Random
from typing import Any

KEYS = (
    "merchant", "address", "date", "total_amount", "tax", "currency", "invoice_number", "phone", "note", "unit price",
    'a "quoted" key', "back\\slash",
    "café", "总金额", "日期", "商户名称", "发票号码", "税额", "备注", "单价", "数量", "名称", "😀",
)  # fmt: skip
WORDS = ("现金", "银行卡", "cash", "card", 'say "yes"', "a\\b", "", "CNY", "CN", "two\nlines", "€", "😀")


def random_schema(rng: Random) -> dict[str, Any]:
    """An object's schema with one to five properties, at most three levels deep, perhaps with definitions."""
    definitions: dict[str, Any] = {}
    schema = _object(rng, 2, definitions)
    return {**schema, "$defs": definitions} if definitions else schema


def _value(rng: Random, depth: int, definitions: dict[str, Any]) -> dict[str, Any]:
    kinds = [_string, _string, _nullable_string, _number, _literals, _boolean]
    if depth and rng.random() < 0.35:
        return rng.choice([_object, _rows, _array, _either, _reference])(rng, depth - 1, definitions)
    return rng.choice(kinds)(rng)


def _object(rng: Random, depth: int, definitions: dict[str, Any]) -> dict[str, Any]:
    keys = sorted(rng.sample(KEYS, rng.randint(1, 5)), reverse=True)
    schema: dict[str, Any] = {"type": "object", "properties": {key: _value(rng, depth, definitions) for key in keys}}
    if rng.random() < 0.8:
        schema["required"] = rng.sample(keys, rng.randint(0, len(keys)))
    if rng.random() < 0.5:
        schema["additionalProperties"] = False
    return schema


def _rows(rng: Random, depth: int, definitions: dict[str, Any]) -> dict[str, Any]:
    return _bounds(rng, {"type": "array", "items": _object(rng, depth, definitions)}, "Items", 3)


def _array(rng: Random, depth: int, definitions: dict[str, Any]) -> dict[str, Any]:
    return _bounds(rng, {"type": "array", "items": _value(rng, depth, definitions)}, "Items", 4)


def _either(rng: Random, depth: int, definitions: dict[str, Any]) -> dict[str, Any]:
    options = [_value(rng, depth, definitions) for _ in range(rng.randint(1, 2))]
    return {"anyOf": [*options, {"type": "null"}]}


def _reference(rng: Random, depth: int, definitions: dict[str, Any]) -> dict[str, Any]:
    name = f"Part{len(definitions)}"
    definitions[name] = {}  # the name is taken before the parts within take theirs
    definitions[name] = _object(rng, depth, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _bounds(rng: Random, schema: dict[str, Any], what: str, most: int) -> dict[str, Any]:
    """The schema with perhaps a lower and perhaps an upper bound, which agree."""
    least = rng.randint(0, most)
    if rng.random() < 0.5:
        schema[f"min{what}"] = least
    if rng.random() < 0.5:
        schema[f"max{what}"] = rng.randint(least, most)
    return schema


def _string(rng: Random) -> dict[str, Any]:
    form = rng.random()
    if form < 0.15:
        return {"type": "string", "format": rng.choice(["date", "time", "date-time"])}
    if form < 0.4:
        patterns = [
            r"^\d{4}-\d{2}$",
            r"^[A-Z]{2}[0-9]{6,10}$",
            r"^¥?\d{1,6}(\.\d{2})?$",
            "元$",
            r"^(甲|乙)\S{1,4}$",
            r"^[^\s,]+,\w*$",
        ]
        return {"type": "string", "pattern": rng.choice(patterns)}
    return _bounds(rng, {"type": "string", "description": "as it stands on the page"}, "Length", 6)


def _nullable_string(rng: Random) -> dict[str, Any]:
    return {"type": ["string", "null"]}


def _number(rng: Random) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": rng.choice(["number", "integer"])}
    low = rng.choice([-150, -3, 0, 0, 0, 1, 7, 1000])
    high = low + rng.choice([1, 2, 9, 100, 12345])
    if schema["type"] == "number":
        low, high = low + rng.choice([0, 0.5, 0.01]), high + rng.choice([0, 0.25])
    if rng.random() < 0.6:
        schema[rng.choice(["minimum", "exclusiveMinimum"])] = low
    if rng.random() < 0.4:
        schema[rng.choice(["maximum", "exclusiveMaximum"])] = high + 1
    return schema


def _literals(rng: Random) -> dict[str, Any]:
    if rng.random() < 0.2:
        return {"const": rng.choice([*WORDS, 1, None, True])}
    values = rng.sample([*WORDS, 0, 12, 1.5, None, False], rng.randint(1, 5))
    return {"enum": values}


def _boolean(rng: Random) -> dict[str, Any]:
    return {"type": "boolean"}
