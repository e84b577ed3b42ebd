"""A client's JSON Schema decides which fields are asked and in which form they are answered."""

from typing import Any

import pytest

from hunyuanocr.errors import InvalidSchema, SchemaNotSatisfied
from hunyuanocr.fields import extract_fields, ground_values
from hunyuanocr.fields.schema.client_schema import coerce, field_specs
from hunyuanocr.types import Field, FieldType
from tests.fields.pages import page
from tests.fields.test_associate import MALAYSIAN, SUPERMARKET

NULLABLE = {"type": ["string", "null"]}


def answer(schema: Any, rows: list[Any]) -> dict[str, Any]:
    return coerce(schema, extract_fields(page(rows), field_specs(schema), [(1000, 2000)]))


def properties(**parts: Any) -> dict[Any, Any]:
    return {"type": "object", "properties": parts}


def test_properties_become_fields() -> None:
    schema = properties(
        total={"type": "number"},
        purchase_day={"type": "string", "format": "date"},
        lines={"type": "array"},
        mood={"type": "string"},
    )
    assert [(s.key, s.name, s.type) for s in field_specs(schema)] == [
        ("total", "total_amount", FieldType.MONEY),
        ("purchase_day", None, FieldType.DATE),
        ("lines", "items", FieldType.ROWS),
        ("mood", None, FieldType.TEXT),
    ]


def test_values_are_normalised_and_typed() -> None:
    money = {"type": "object", "properties": {"amount": {"type": "string"}, "currency": NULLABLE}, "required": ["amount"]}
    schema = properties(
        总金额=money, 收款={"type": "number"}, 日期={"type": "string", "format": "date"}, 商户={"type": "string"}, 税号=NULLABLE
    )
    assert answer(schema, SUPERMARKET) == {
        "总金额": {"amount": "36.80", "currency": None},
        "收款": 50.0,
        "日期": "2026-11-20",
        "商户": "华盛生活超市(南门店)",
        "税号": None,
    }


def test_line_items_take_the_clients_names_of_columns() -> None:
    item = properties(description={"type": "string"}, qty={"type": "number"}, price={"type": "number"}, total={"type": "number"})
    rows = answer(properties(lines={"type": "array", "items": item}), SUPERMARKET)["lines"]
    assert rows[0] == {"description": "纯牛奶250ml", "qty": 2.0, "price": 3.5, "total": 7.0}
    assert len(rows) == 3


def test_pydantic_style_references_and_optional_parts() -> None:
    schema = {
        "$defs": {
            "Money": {
                "type": "object",
                "properties": {"amount": {"type": "number"}, "currency": {"type": "string"}},
                "required": ["amount"],
            }
        },
        "type": "object",
        "required": ["total"],
        "additionalProperties": False,
        "properties": {
            "total": {"$ref": "#/$defs/Money"},
            "phone": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
    }
    assert answer(schema, MALAYSIAN) == {"total": {"amount": 20.65, "currency": "MYR"}, "phone": "0387331234"}


def test_an_enumeration_is_matched_whatever_its_case() -> None:
    assert answer(properties(currency={"enum": ["rm", "usd"]}), MALAYSIAN) == {"currency": "rm"}


def test_an_ambiguous_date_is_given_as_printed_but_never_as_an_iso_date() -> None:
    assert answer(properties(date={"type": "string"}), MALAYSIAN) == {"date": "12/03/2018"}
    with pytest.raises(SchemaNotSatisfied):
        answer({**properties(date={"type": "string", "format": "date"}), "required": ["date"]}, MALAYSIAN)


def test_a_date_whose_year_could_also_be_at_its_beginning_is_given_as_the_likeliest() -> None:
    schema = {**properties(date={"type": "string", "format": "date"}), "required": ["date"]}
    assert answer(schema, ["SHOP", "Date: 25-12-18", "TOTAL RM 9.00"]) == {"date": "2018-12-25"}
    with pytest.raises(SchemaNotSatisfied):
        answer(schema, ["SHOP", "Date: 05-12-18", "TOTAL RM 9.00"])


def test_a_missing_field_is_null_where_allowed_left_out_where_optional_and_an_error_where_required() -> None:
    assert answer(properties(patient=NULLABLE), SUPERMARKET) == {"patient": None}
    assert answer(properties(patient={"type": "string"}), SUPERMARKET) == {}
    with pytest.raises(SchemaNotSatisfied, match="patient"):
        answer({**properties(patient={"type": "string"}), "required": ["patient"]}, SUPERMARKET)


@pytest.mark.parametrize(
    "schema",
    [
        [],
        "object",
        7,
        {},
        {"type": "array"},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "nonsense", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": 5}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/x.json"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}},
    ],
)
def test_what_is_no_schema_of_an_object(schema: Any) -> None:
    with pytest.raises(InvalidSchema):
        field_specs(schema)


def doubled(times: int, keyword: str = "allOf") -> dict[Any, Any]:
    """A few lines that unfold to 2 ** times parts."""
    links = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(times)}
    return properties(total={"type": "string", "not": {"not": {"$ref": "#/$defs/a0"}}}) | {"$defs": links | {f"a{times}": {}}}


@pytest.mark.parametrize(
    "schema",
    [
        doubled(40),
        doubled(40, "anyOf"),
        properties(total={"not": {"$ref": "#/properties/total"}}),
        properties(total={"not": {"$ref": "#/nowhere"}}),
        properties(total={"not": {"$ref": "#name"}}),
        properties(total={"not": {"$dynamicRef": "#name"}}),
        properties(total={"$ref": "#/x"}) | {"x": {"type": 5}},
        properties(total={"$ref": "#/x"}) | {"x": {"anyOf": 5}},
        properties(total={"$ref": "#/%78"}) | {"x": {"minimum": "1"}},
        properties(total={"allOf": [{"$ref": "#/x/0"}]}) | {"x": [{"maxLength": "1"}]},
        properties(total={"$id": "http://127.0.0.1:9/", "$ref": "#/x"}) | {"x": {}},
        properties(**{f"k{n}": {"$ref": f"#/x/k{n}"} for n in range(20)}) | {"x": {f"k{n}": {} for n in range(20)}},
        properties(total={"$ref": "#/$defs/a0"})
        | {"$defs": {f"a{n}": {"not": {"$ref": f"#/$defs/a{n + 1}"}} for n in range(200)}},
    ],
)
def test_references_that_lead_nowhere_or_never_end(schema: Any) -> None:
    for ask in (field_specs, lambda s: coerce(s, [Field("total", FieldType.TEXT, "5")])):
        with pytest.raises(InvalidSchema):
            ask(schema)


def test_references_to_any_place_of_the_schema() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}}
    schema = properties(总金额={"$ref": "#/parts/0"}, 收款={"not": {"$ref": "#/$defs/tree"}}) | {
        "$id": "https://shop.example/receipt",
        "parts": [{"type": "number"}],
        "$defs": {"tree": tree},
    }
    assert answer(schema, SUPERMARKET)["总金额"] == 36.8
    assert len(field_specs(properties(**{f"field {n}": {"type": "string", "title": "x"} for n in range(700)}))) == 700


def test_a_day_without_its_time_is_no_moment() -> None:
    schema = {"type": "object", "properties": {"date": {"type": ["string", "null"], "format": "date-time"}}}
    assert coerce(schema, [Field("date", FieldType.DATE, "2021-02-23", "2021-02-23")]) == {"date": None}
    moment = Field("date", FieldType.DATETIME, "2021-02-23 10:00", "2021-02-23T10:00:00")
    assert coerce(schema, [moment]) == {"date": "2021-02-23T10:00:00"}


def model_answer(schema: Any, values: Any) -> dict[str, Any]:
    """What a language model wrote, fitted to the client's schema."""
    return coerce(schema, ground_values(values, field_specs(schema), page(SUPERMARKET), {}))


def test_values_of_a_language_model_are_typed_like_those_of_the_page() -> None:
    rows = properties(description={"type": "string"}, qty={"type": "integer"}, cost={"type": "number"}, fee=properties(amount={}))
    schema = properties(
        total={"type": "number"},
        day={"type": "string", "format": "date"},
        lines={"type": "array", "items": rows},
        fee={**properties(amount={"type": "number"}), "additionalProperties": False},
        size=properties(number={"type": "number"}, unit=NULLABLE),
        sums={"type": "array", "items": {"type": "number"}},
        words={"type": "array", "items": {"type": "string"}},
    )
    written = {
        "total": "¥36.80",
        "day": "2026/11/20",
        "fee": "3.50元",
        "size": "2.5kg",
        "sums": ["1.70", "17.00"],
        "words": ["苹果"],
        "lines": [{"description": "苹果", "qty": "2", "cost": "¥17.00", "fee": "1.00"}],
    }
    assert model_answer(schema, written) == {
        "total": 36.8, "day": "2026-11-20", "fee": {"amount": 3.5}, "size": {"number": 2.5, "unit": "kg"}, "sums": [1.7, 17.0],
        "words": ["苹果"],
        "lines": [{"description": "苹果", "qty": 2, "cost": 17.0, "fee": {"amount": "1.00", "currency": None}}],
    }  # fmt: skip


def test_what_print_cannot_say_passes_as_it_was_written_if_it_validates() -> None:
    inner = properties(a={"type": "integer"}, b=properties(c={"type": "string"}))
    schema = properties(
        paid={"type": "boolean"},
        one={"enum": [1, 2, None]},
        kind={"anyOf": [{"const": "x"}, {"const": "y"}]},
        own=inner,
        flags={"type": "array", "items": {"type": "boolean"}},
        many={"type": "array", "items": {"type": "array"}},
    )
    written = {"paid": True, "one": 2, "kind": "y", "own": {"a": 1, "b": {"c": "z"}}, "flags": [False], "many": [[1], ["a"]]}
    assert model_answer(schema, written) == written
    assert model_answer(schema, {**written, "own": {"a": None, "b": {"c": None}}})["own"] == {"b": {}}
    assert "own" not in model_answer(schema, {**written, "own": {"a": "one", "b": {"c": "z"}}})


def test_an_object_that_must_have_a_key_is_not_made_up() -> None:
    own = {**properties(a={"type": "integer"}, z={"type": "string"}), "required": ["a"]}
    schema = {**properties(own=own), "required": ["own"]}
    with pytest.raises(SchemaNotSatisfied, match="own"):
        model_answer(schema, {"own": {"a": None, "z": "x"}})


def test_a_schema_that_is_nested_for_ever_is_refused() -> None:
    schema: dict = {"type": "string"}
    for _ in range(1000):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(InvalidSchema):
        field_specs(schema)
