"""A field that flickers over an unchanged picture is voted; one that changed is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hunyuanocr.services.camera.change_detection import ChangeMask
from hunyuanocr.services.camera.voting import FieldVoter
from hunyuanocr.types import Field, FieldSpec, FieldType, Result, Task, TaskKind

TASK = Task(TaskKind.EXTRACT, fields=(FieldSpec("total"),))
BOX = ((10.0, 10.0), (60.0, 10.0), (60.0, 30.0), (10.0, 30.0))
STILL = ChangeMask(np.zeros((120, 160), np.bool_), 320, 240)
ELSEWHERE = ChangeMask(np.pad(np.ones((4, 4), np.bool_), ((100, 16), (140, 16))), 320, 240)
THERE = ChangeMask(np.pad(np.ones((4, 4), np.bool_), ((8, 108), (10, 146))), 320, 240)


def result(value: str | None, confidence: float | None = 0.9, box: Any = BOX, answer: dict[Any, Any] | None = None) -> Result:
    field = Field("total", FieldType.TEXT, value, box=box if value else None, page=0, confidence=confidence)
    return Result("r", TaskKind.EXTRACT, "", (), (field,), None, ((320, 240),), "ppocr", "m", 1.0, answer=answer)


def readings(steadier: FieldVoter, *values: str | None, change: ChangeMask | None = ELSEWHERE, **more: Any) -> list[str | None]:
    return [steadier.vote(result(v, **more), TASK, change)[0].fields[0].value for v in values]


def test_a_flicker_is_outvoted_and_the_reading_is_there_raw() -> None:
    steadier = FieldVoter(5)
    assert readings(steadier, "36.80", "36.80") == ["36.80", "36.80"]
    steadied, raw = steadier.vote(result("36.60"), TASK, ELSEWHERE)
    assert (steadied.fields[0].value, raw) == ("36.80", {"total": "36.60"})
    assert steadier.vote(result("36.80"), TASK, ELSEWHERE)[1] is None


def test_the_surer_of_two_wins_and_of_equals_the_newer() -> None:
    steadier = FieldVoter(5)
    steadier.vote(result("36.80", 0.99), TASK, None)
    assert steadier.vote(result("36.60", 0.6), TASK, ELSEWHERE)[0].fields[0].value == "36.80"
    assert readings(FieldVoter(5), "1", "2", "1") == ["1", "2", "1"]


def test_a_field_that_disappears_for_a_moment_stays() -> None:
    assert readings(FieldVoter(5), "36.80", "36.80", None, "36.80") == ["36.80"] * 4


def test_what_has_really_changed_stands_at_once() -> None:
    steadier = FieldVoter(5)
    readings(steadier, *["36.80"] * 5)
    assert steadier.vote(result("38.80", 0.5), TASK, THERE)[0].fields[0].value == "38.80"
    assert readings(steadier, "36.80") == ["36.80"], "one against one, and the surer: the old votes are gone"


@pytest.mark.parametrize("change", [None, THERE])
def test_without_knowing_what_changed_nothing_is_voted(change: ChangeMask | None) -> None:
    assert readings(FieldVoter(5), "1", "1", "2", change=change) == ["1", "1", "2"]


def test_a_value_without_a_place_is_voted_over_a_picture_that_stands_still() -> None:
    assert readings(FieldVoter(5), "1", "1", "2", change=STILL, box=None) == ["1", "1", "1"]
    assert readings(FieldVoter(5), "1", "1", "2", change=ELSEWHERE, box=None) == ["1", "1", "2"]


def test_only_so_many_readings_count() -> None:
    assert readings(FieldVoter(3), "1", "1", "1", "2", "2") == ["1", "1", "1", "1", "2"]
    assert readings(FieldVoter(1), "1", "1", "2") == ["1", "1", "2"]


def test_a_schemas_answer_is_made_of_the_steadied_values() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}
    task = Task(TaskKind.EXTRACT, fields=TASK.fields, schema=schema)
    steadier = FieldVoter(5)
    for _ in range(2):
        steadier.vote(result("A1", answer={"total": "A1"}), task, ELSEWHERE)
    steadied, _ = steadier.vote(result("A7", answer={"total": "A7"}), task, ELSEWHERE)
    assert steadied.answer == {"total": "A1"}


def test_what_is_forgotten_has_no_vote() -> None:
    steadier = FieldVoter(5)
    readings(steadier, "1", "1", "1")
    steadier.forget()
    assert readings(steadier, "2") == ["2"]
