"""A Backend out of a Generator that plays texts: what is asked, what becomes of the answers, and that leaving is complete."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest

from hunyuanocr.backends.base import BackendName, Generation, Health, Token, TokenChunk
from hunyuanocr.backends.vlm.backend import MAX_CONCURRENT_PAGES, MAX_PAGES_PER_PROMPT, VlmBackend
from hunyuanocr.config import PipelineSettings, Settings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, InvalidSchema, OutputTruncated, SchemaNotSatisfied
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.prompts import SPOTTING, TEXT
from hunyuanocr.types import EvidenceMode, FieldType, Page, Progress, Reading, Result, Task, TaskKind, TextDelta, Usage
from tests.support.fake_backend import FakeBackend, picture, wait_until

READ = Task(TaskKind.READ)


@dataclass(frozen=True)
class Play:
    """An answer: its text, cut into tokens of `size` characters that are `sure`, except those with a character in `doubts`."""

    text: str
    finish: str | None = "stop"
    sure: float = 0.99
    doubts: tuple[tuple[str, float], ...] = ()
    size: int = 2
    ending: str = ""  # what the engine adds

    def tokens(self) -> list[Token]:
        pieces = [self.text[i : i + self.size] for i in range(0, len(self.text), self.size)]
        found = [Token(n, piece, math.log(self._probability(piece))) for n, piece in enumerate(pieces)]
        return [*found, Token(-1, self.ending, 0.0, forced=True)] if self.ending else found

    def _probability(self, piece: str) -> float:
        return min((p for c, p in self.doubts if c in piece), default=self.sure)


class Player:
    """A Generator that plays what `answer` says to each request; `gate` holds every answer before its last token."""

    def __init__(self, answer: Callable[[Generation], Play | BaseException] | Play) -> None:
        self.name = BackendName.TORCH
        self.model = "not loaded"
        self.answer = answer if callable(answer) else lambda request: answer
        self.asked: list[Generation] = []
        self.gate: asyncio.Event | None = None
        self.now = self.most = self.left = self.ended = self.closed = 0

    async def start(self) -> None:
        self.model = "player"

    async def health(self) -> Health:
        return Health(True, "plays")

    async def close(self) -> None:
        self.closed += 1

    async def generate(self, request: Generation) -> AsyncIterator[TokenChunk]:
        self.asked.append(request)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            play = self.answer(request)
            await asyncio.sleep(0)
            if isinstance(play, BaseException):
                raise play
            tokens = play.tokens()
            for token in tokens[:-1]:
                yield TokenChunk((token,))
                await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            yield TokenChunk(tuple(tokens[-1:]), cast(Any, play.finish), Usage(100, len(tokens)))
            self.ended += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise
        finally:
            self.now -= 1


def page(index: int = 0, size: tuple[int, int] = (200, 100), original: tuple[int, int] = (400, 200)) -> Page:
    return Page(np.full((size[1], size[0], 3), index, np.uint8), *original, index)


def by_page(*plays: Play | BaseException) -> Callable[[Generation], Play | BaseException]:
    """The answer for page n is plays[n]; spotting prompts get the spotting answers."""
    return lambda request: plays[int(request.images[0][0, 0, 0])]


async def run(player: Player, task: Task = READ, pages: Sequence[Page] | None = None) -> tuple[list[str], Reading]:
    async with aclosing(VlmBackend(player).read(pages or [page()], task)) as parts:
        seen = [part async for part in parts]
    *before, reading = seen
    assert isinstance(reading, Reading)
    deltas = [part for part in before if not isinstance(part, Progress)]
    assert all(isinstance(d, TextDelta) and d.text for d in deltas)
    return [d.text for d in deltas], reading


def extract(*keys: str, **more: Any) -> Task:
    return parse_instruction("", fields=list(keys) or None, **more)


async def test_it_is_what_its_engine_is() -> None:
    player = Player(Play("x"))
    backend = VlmBackend(player)
    await backend.start()
    assert (backend.name, backend.model, backend.tasks) == (BackendName.TORCH, "player", frozenset(TaskKind))
    assert await backend.health() == Health(True, "plays")
    await backend.close()
    await backend.close()
    assert player.closed == 2


async def test_reading_gives_lines_in_pixels_of_the_original() -> None:
    player = Player(Play("合计(100,200),(300,400)\n36.80(500,200),(2000,400)", doubts=(("8", 0.5), ("1", 0.01))))
    deltas, reading = await run(player)
    assert player.asked[0].prompt == SPOTTING
    assert player.asked[0].images[0].shape == (100, 200, 3)
    assert reading.text == "合计\n36.80" == "".join(deltas).strip()
    first, second = reading.lines
    assert first.box == ((40.0, 40.0), (120.0, 40.0), (120.0, 80.0), (40.0, 80.0))
    assert second.box[1] == (400.0, 40.0)  # off the page: at its edge
    assert first.confidence == pytest.approx(0.99)  # the digits of its place do not count
    assert second.confidence == pytest.approx(0.5)
    assert (reading.usage.prompt_tokens, reading.finish_reason, reading.notices, reading.values) == (100, "stop", (), None)


async def test_without_evidence_text_is_read_without_places() -> None:
    player = Player(Play("合计 f(1,2),(3,4)"))
    deltas, reading = await run(player, replace(READ, evidence=EvidenceMode.NONE))
    assert player.asked[0].prompt == TEXT
    assert ("".join(deltas), reading.text, reading.lines) == ("合计 f(1,2),(3,4)", "合计 f(1,2),(3,4)", ())


@pytest.mark.parametrize("kind", [*TaskKind])
async def test_a_blank_page_is_success(kind: Any) -> None:
    task = extract("a") if kind is TaskKind.EXTRACT else Task(kind, "what is it?", language="en")
    deltas, reading = await run(Player(Play('{"a":null}' if kind is TaskKind.EXTRACT else "")), task)
    assert (reading.text, reading.lines, reading.finish_reason) == ("", (), "stop")
    assert deltas == [] or kind is TaskKind.EXTRACT


@pytest.mark.parametrize(
    ("kind", "written", "text", "markdown"),
    [
        (TaskKind.PARSE, "```markdown\n# A\n(1,2),(3,4)\nb\n```", "# A\nb", "# A\nb"),
        (TaskKind.TABLE, "```html\n<table></table>\n```", "<table></table>", "<table></table>"),
        (TaskKind.CHART, "```mermaid\ngraph TD\n```", "```mermaid\ngraph TD\n```", "```mermaid\ngraph TD\n```"),
        (TaskKind.FORMULA, "\\[x^2\\]", "x^2", "$$\nx^2\n$$"),
        (TaskKind.SUBTITLES, " hello ", "hello", None),
        (TaskKind.TRANSLATE, "hello", "hello", None),
        (TaskKind.FREE, "Three people.", "Three people.", None),
    ],
)
async def test_text_and_markdown_of_each_task(kind: TaskKind, written: str, text: str, markdown: str | None) -> None:
    _, reading = await run(Player(Play(written)), Task(kind, "how many?", language="en"))
    assert (reading.text, reading.markdown) == (text, markdown)


async def test_fields_come_with_the_confidence_of_their_weakest_character() -> None:
    written = '{"total_amount":"36.8","date":null,"note":"a\\"b","none":""}'
    player = Player(Play(written, size=1, doubts=(("8", 0.4), ("u", 0.2), ("b", 0.6), ("}", 0.01), ("d", 0.01), ("n", 0.7))))
    deltas, reading = await run(player, extract("total_amount", "date", "note", "none"))
    assert player.asked[0].schema is not None
    assert player.asked[0].repetition_penalty == 1.0
    assert "".join(deltas) == written
    assert reading.values == {"total_amount": "36.8", "date": None, "note": 'a"b', "none": None}
    assert reading.confidences == pytest.approx({"total_amount": 0.4, "date": 0.7, "note": 0.6, "none": 0.99})
    assert (reading.text, reading.lines) == ("", ())


async def test_cells_of_rows_have_confidences_of_their_own() -> None:
    written = '{"items":[{"name":"tea","quantity":null,"unit_price":"3","amount":"9"},{"name":"x","quantity":"1"}]}'
    _, reading = await run(Player(Play(written, size=1, doubts=(("9", 0.3), ("x", 0.5)))), extract("items"))
    assert {k: round(v, 2) for k, v in reading.confidences.items()} == {
        "items/0/name": 0.99,
        "items/0/quantity": 0.99,
        "items/0/unit_price": 0.99,
        "items/0/amount": 0.3,
        "items/1/name": 0.5,
        "items/1/quantity": 0.99,
    }


async def test_keys_that_were_not_asked_for_are_left_out() -> None:
    _, reading = await run(Player(Play('{"b":"x","a":"y"}')), extract("a", "c"))
    assert reading.values == {"a": "y", "c": None}


async def test_the_engines_ending_of_a_cut_answer_proves_nothing() -> None:
    play = Play('{"a":"one","b":"tw', finish="length", size=1, ending='","c":null}')
    _, reading = await run(Player(play), extract("a", "b", "c"))
    assert reading.values == {"a": "one", "b": "tw", "c": None}
    assert reading.confidences == pytest.approx({"a": 0.99})
    assert reading.finish_reason == "length"
    assert [(n.code, n.page) for n in reading.notices] == [("truncated", 0)]


@pytest.mark.parametrize(("finish", "error"), [("length", OutputTruncated), ("stop", BackendFailed)])
async def test_broken_json_is_an_error_that_says_so(finish: str, error: Any) -> None:
    with pytest.raises(error) as e:
        await run(Player(Play('{"a":"x', finish)), extract("a"))
    assert type(e.value) is error
    assert "page 1" in str(e.value)


async def test_an_engine_that_ends_without_a_word_has_failed() -> None:
    with pytest.raises(BackendFailed, match="finish reason"):
        await run(Player(Play("x", finish=None)))


async def test_pages_are_reported_in_their_order_whichever_is_written_first() -> None:
    player = Player(by_page(Play("A(1,2),(3,4)\nA2(1,5),(3,8)\n" * 9), Play("B(1,2),(3,4)"), Play("")))
    deltas, reading = await run(player, pages=[page(0), page(1), page(2)])
    assert reading.text == "A\nA2\n" * 9 + "B" == "".join(deltas).strip()
    assert len(deltas) > 9
    assert [(n.text, n.page) for n in reading.lines[-2:]] == [("A2", 0), ("B", 1)]
    assert reading.usage.prompt_tokens == 300


@pytest.mark.parametrize("kind", [TaskKind.PARSE, TaskKind.SUBTITLES])
async def test_deltas_of_pages_are_set_apart_like_their_text(kind: TaskKind) -> None:
    deltas, reading = await run(Player(by_page(Play(""), Play("one"), Play("two"))), Task(kind), [page(n) for n in range(3)])
    assert "".join(deltas) == reading.text == "one\n\ntwo"


async def test_a_few_pages_are_written_at_a_time() -> None:
    player = Player(Play("word(1,2),(3,4)"))
    _, reading = await run(player, pages=[page(n) for n in range(3 * MAX_CONCURRENT_PAGES)])
    assert player.most == MAX_CONCURRENT_PAGES
    assert [line.page for line in reading.lines] == list(range(3 * MAX_CONCURRENT_PAGES))


async def test_a_free_question_sees_all_pages_together_unless_they_are_many() -> None:
    player = Player(Play("yes"))
    _, reading = await run(player, Task(TaskKind.FREE, "Is it signed?"), [page(n) for n in range(MAX_PAGES_PER_PROMPT)])
    assert [len(request.images) for request in player.asked] == [MAX_PAGES_PER_PROMPT]
    assert reading.text == "yes"
    player = Player(Play("yes"))
    _, reading = await run(player, Task(TaskKind.FREE, "Is it signed?"), [page(n) for n in range(MAX_PAGES_PER_PROMPT + 1)])
    assert [len(request.images) for request in player.asked] == [1] * (MAX_PAGES_PER_PROMPT + 1)


async def test_fields_of_a_document_come_from_the_first_page_that_has_them_and_rows_from_all() -> None:
    rows = [{"name": "a", "quantity": None, "unit_price": None, "amount": "1"}]
    plays = [
        Play(json.dumps({"total_amount": None, "date": "", "items": rows, "phone": None}), sure=0.9),
        Play(json.dumps({"total_amount": "12.00", "date": "2026-11-20", "items": None, "phone": None}), sure=0.8),
        Play(json.dumps({"total_amount": "99.00", "date": None, "items": rows * 2, "phone": None}), sure=0.7),
    ]
    task = extract("total_amount", "date", "items", "phone")
    _, reading = await run(Player(by_page(*plays)), task, [page(n) for n in range(3)])
    assert reading.values == {"total_amount": "12.00", "date": "2026-11-20", "items": rows * 3, "phone": None}
    assert reading.confidences["total_amount"] == pytest.approx(0.8)
    assert reading.confidences["phone"] == pytest.approx(0.7)  # all must be right about it
    assert [reading.confidences[f"items/{n}/amount"] for n in range(3)] == pytest.approx([0.9, 0.7, 0.7])


async def test_full_evidence_is_a_spotting_of_its_own() -> None:
    def answer(request: Any) -> Play:
        return Play("Total 12.00(1,2),(300,400)") if request.prompt == SPOTTING else Play('{"total_amount":"12.00"}')

    player = Player(answer)
    deltas, reading = await run(player, extract("total_amount", evidence="full"), [page(0), page(1)])
    assert len(player.asked) == 4
    assert reading.text == "Total 12.00\nTotal 12.00"
    assert [line.page for line in reading.lines] == [0, 1]
    assert "".join(deltas) == '{"total_amount":"12.00"}\n{"total_amount":"12.00"}'


LOOP = "HEAD " + "".join(f"{n}," for n in range(900)) + "\n" + "the same line\n" * 3000


async def test_a_model_that_repeats_itself_is_stopped_and_its_text_is_cut() -> None:
    player = Player(Play(LOOP))
    deltas, reading = await run(player, Task(TaskKind.PARSE))
    assert (player.left, player.ended) == (1, 0)
    assert len("".join(deltas)) < 6000
    assert reading.finish_reason == "repetition"
    assert reading.text.endswith("899,\nthe same line")
    assert [n.code for n in reading.notices] == ["truncated"]
    assert reading.usage.completion_tokens > 1000


async def test_what_only_looks_like_a_loop_goes_on() -> None:
    dots = "".join(f"{n} " for n in range(1100)) + "." * 150 + " 12\nEND"
    for text in (dots, LOOP[:3000], "\n" * 9000 + "END"):
        _, reading = await run(Player(Play(text, size=100)), Task(TaskKind.PARSE))
        assert reading.finish_reason == "stop"
        assert reading.text == text.strip()


async def test_a_loop_that_ran_into_the_longest_length_is_cut_as_well() -> None:
    _, reading = await run(Player(Play("A\n" + "B(1,2),(3,4)\n" * 100, "length")))
    assert reading.finish_reason == "repetition"
    assert reading.text.count("B") <= 2


async def test_a_grammar_may_repeat_itself() -> None:
    text = '{"a":"' + "x" * 9000 + '"}'
    _, reading = await run(Player(Play(text, size=50)), extract("a"))
    assert reading.finish_reason == "stop"


async def test_pages_that_were_cut_are_named() -> None:
    plays = [Play("<table><tr><td>1", "length"), Play("<table></table>"), Play("", "length")]
    _, reading = await run(Player(by_page(*plays)), Task(TaskKind.TABLE), [page(n) for n in range(3)])
    assert reading.finish_reason == "length"
    assert [(n.code, n.page) for n in reading.notices] == [("truncated", 0), ("truncated", 2)]
    assert reading.markdown == "<table><tr><td>1</td></tr></table>\n\n<table></table>"


@pytest.mark.parametrize("steps", [0, 1, 5])
async def test_leaving_leaves_every_generation(steps: int) -> None:
    player = Player(Play("A(1,2),(3,4)\nB(1,2),(3,4)\n" * 50))
    player.gate = asyncio.Event()
    async with aclosing(VlmBackend(player).read([page(n) for n in range(9)], READ)) as parts:
        for _ in range(steps):
            await anext(parts)
    assert player.now == 0
    assert (player.left, player.ended) == (MAX_CONCURRENT_PAGES if steps else 0, 0)


async def test_cancelling_cancels_every_generation() -> None:
    player = Player(Play("A(1,2),(3,4)"))
    player.gate = asyncio.Event()
    task = asyncio.create_task(run(player, pages=[page(n) for n in range(9)]))
    await wait_until(lambda: player.now == MAX_CONCURRENT_PAGES)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (player.now, player.left) == (0, MAX_CONCURRENT_PAGES)


async def test_a_page_that_fails_ends_the_others_at_once() -> None:
    plays = [Play("A(1,2),(3,4)")] * 9
    player = Player(by_page(*plays[:2], BackendUnavailable("out of memory"), *plays[3:]))
    player.gate = asyncio.Event()
    with pytest.raises(BackendUnavailable, match="out of memory"):
        await run(player, pages=[page(n) for n in range(9)])
    assert (player.now, player.ended) == (0, 0)


async def test_an_engine_that_gives_up_by_itself_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable):
        await run(Player(lambda request: asyncio.CancelledError()))


async def test_a_schema_without_bounds_never_reaches_the_engine() -> None:
    player = Player(Play("{}"))
    schema = {"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}}, "type": "object"}
    with pytest.raises(InvalidSchema):
        await run(player, parse_instruction("", schema={**schema, "properties": {"x": {"$ref": "#/$defs/a"}}}))
    assert player.asked == []


# -- with the pipeline: values are typed, looked up on the page, and fitted to a client's schema


async def answer(written: str, task: Task, page_text: str = "SHOP\nTea 2 4.50 9.00\nTotal: 12.00\nDate: 2026-11-20") -> Result:
    evidence_backend = FakeBackend()
    evidence_backend.text = page_text
    pipeline = Pipeline(VlmBackend(Player(Play(written))), Settings(pipeline=PipelineSettings(cache_mb=0)), evidence_backend)
    await pipeline.start()
    try:
        return await pipeline.run(Request(picture(), task))
    finally:
        await pipeline.close()


async def test_a_value_that_is_not_on_the_page_is_not_grounded() -> None:
    task = extract("total_amount", "date", "phone", "merchant")
    written = {"total_amount": "12.00", "date": "2026-11-21", "phone": None, "merchant": "SHOP"}
    result = await answer(json.dumps(written), task)
    fields = {f.key: f for f in result.fields}
    assert {key: f.value for key, f in fields.items()} == written
    assert {key: f.grounded for key, f in fields.items()} == {
        "total_amount": True,
        "date": False,
        "phone": False,
        "merchant": True,
    }
    assert fields["total_amount"].box is not None
    assert fields["date"].box is None
    assert fields["date"].confidence <= 0.5
    assert fields["total_amount"].text_confidence == pytest.approx(0.99)


async def test_rows_are_grounded_cell_by_cell() -> None:
    rows = [{"name": "Tea", "quantity": "2", "unit_price": "4.50", "amount": "9.00"}]
    (field,) = (await answer(json.dumps({"items": rows}), extract("items"))).fields
    assert field.grounded
    assert field.rows[0]["amount"].type is FieldType.MONEY
    rows[0]["amount"] = "9.90"
    (field,) = (await answer(json.dumps({"items": rows}), extract("items"))).fields
    assert not field.grounded
    assert {k: v.grounded for k, v in field.rows[0].items()} == {
        "name": True,
        "quantity": True,
        "unit_price": True,
        "amount": False,
    }
    assert field.rows[0]["amount"].confidence == pytest.approx(0.99)


SCHEMA = {
    "type": "object",
    "required": ["total", "paid", "method", "who", "lines"],
    "properties": {
        "total": {"type": "number"},
        "day": {"type": "string", "format": "date"},
        "paid": {"type": "boolean"},
        "method": {"enum": ["cash", "card"]},
        "who": {"type": "object", "properties": {"shop": {"type": "string"}, "no": {"type": "integer"}}, "required": ["shop"]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"description": {"type": "string"}, "price": {"type": "number"}, "fresh": {"type": "boolean"}},
            },
        },
        "words": {"type": "array", "items": {"type": "string"}},
    },
}


async def test_a_clients_schema_is_answered_in_its_own_types() -> None:
    written = {
        "total": "12.00",
        "day": "2026-11-20",
        "paid": False,
        "method": "card",
        "who": {"shop": "SHOP", "no": None},
        "lines": [{"description": "Tea", "price": "4.50", "fresh": True}],
        "words": ["SHOP", "Tea"],
    }
    result = await answer(json.dumps(written), parse_instruction("", schema=SCHEMA))
    assert result.answer == {
        **written,
        "total": 12.0,
        "who": {"shop": "SHOP"},
        "lines": [{"description": "Tea", "price": 4.5, "fresh": True}],
    }
    grounded = {f.key: f.grounded for f in result.fields}
    assert grounded["total"]
    assert grounded["who"]
    assert not grounded["paid"]  # true and false are not printed
    assert not grounded["method"]
    assert grounded["words"]


async def test_what_the_schema_wants_and_the_page_has_not_is_an_error() -> None:
    written = {"total": None, "day": None, "paid": None, "method": None, "who": None, "lines": None, "words": None}
    with pytest.raises(SchemaNotSatisfied, match="total"):
        await answer(json.dumps(written), parse_instruction("", schema=SCHEMA))


async def test_full_evidence_needs_no_witness() -> None:
    def speak(request: Any) -> Play:
        if request.prompt == SPOTTING:
            return Play("Total: 12.00(10,20),(300,400)")
        return Play('{"total_amount":"12.00","date":"2026-01-01"}')

    evidence_backend = FakeBackend()
    pipeline = Pipeline(VlmBackend(Player(speak)), Settings(pipeline=PipelineSettings(cache_mb=0)), evidence_backend)
    await pipeline.start()
    result = await pipeline.run(Request(picture(), extract("total_amount", "date", evidence="full")))
    await pipeline.close()
    assert [f.grounded for f in result.fields] == [True, False]
    assert evidence_backend.begun == 0
    assert result.text == "Total: 12.00"


async def test_streaming_through_the_pipeline_gives_deltas_then_the_result() -> None:
    backend = VlmBackend(Player(Play("one(1,2),(3,4)\ntwo(1,5),(3,8)")))
    pipeline = Pipeline(backend, Settings(pipeline=PipelineSettings(cache_mb=0)))
    await pipeline.start()
    async with aclosing(pipeline.stream(Request(picture(), READ))) as parts:
        seen = [part async for part in parts]
    await pipeline.close()
    assert [part.text for part in seen[:-1]] == ["one\n", "two\n"]
    assert seen[-1].text == "one\ntwo"
