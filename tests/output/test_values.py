"""JSON as written: its values, and where each stands."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.output.json_values import InvalidJson, iter_leaves, parse_object

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
objects = st.dictionaries(st.text(), st.recursive(scalars, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=15))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@given(objects, st.booleans(), st.sampled_from([None, 1]))
def test_every_value_is_found_where_it_stands(value: Any, plain: Any, indent: Any) -> None:
    written = json.dumps(value, ensure_ascii=plain, indent=indent)
    assert parse_object(written) == value
    for leaf in iter_leaves(written):
        found = written[leaf.start : leaf.end]
        expected = at(value, leaf.path)
        assert expected == json.loads(f'"{found}"' if isinstance(expected, str) else found)
        assert leaf.null == (expected is None)


def count(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return sum(map(count, value.values() if isinstance(value, dict) else value))
    return 1


@given(objects)
def test_every_value_is_reported_once(value: Any) -> None:
    assert len(list(iter_leaves(json.dumps(value)))) == count(value)


def test_fences_and_control_characters_are_taken() -> None:
    assert parse_object('```json\n{"a":"x\ty"}\n```') == {"a": "x\ty"}


@pytest.mark.parametrize("written", ["", "{", '{"a":"b', "[1]", "null", '"x"', '{"a":' + "[" * 100_000, '{"a":1}}', "no json"])
def test_what_is_no_object_is_said_to_be_none(written: str) -> None:
    with pytest.raises(InvalidJson):
        parse_object(written)
