"""`stream=true`: pieces of text as they are written, then the answer or an error; a client that goes away ends the work."""

from __future__ import annotations

import asyncio
import json
import operator
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from api import sse
from api.app import create_app
from hunyuanocr.errors import BackendFailed
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.types import Reading, TextDelta
from tests.api.conftest import quick_settings, served, wait_ready
from tests.support.fake_backend import FakeBackend, picture


class Writer(FakeBackend):
    """Write three words, the later ones when the gate opens: a threading.Event, because the server runs its own loop."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.silent = False
        self.breaks: Exception | None = None
        self.left = False

    async def read(self, pages: Any, task: Any) -> AsyncIterator[TextDelta | Reading]:
        try:
            if not self.silent:
                yield TextDelta("one ")
            while not self.go_on.is_set():
                await asyncio.sleep(0.005)
            if self.breaks is not None:
                raise self.breaks
            yield TextDelta("two\nthree")
            yield Reading("one two\nthree")
        except (asyncio.CancelledError, GeneratorExit):
            self.left = True
            raise


@pytest.fixture
def served_app() -> Iterator[tuple[str, Writer, Pipeline]]:
    writer = Writer()
    settings = quick_settings(queue_size=1)
    pipeline = Pipeline(writer, settings)
    with served(create_app(settings, pipeline)) as base:
        wait_ready(base)
        yield base, writer, pipeline
        writer.go_on.set()


def post(base: str, **expected: str) -> AbstractContextManager[Any]:
    return httpx.stream("POST", f"{base}/ocr", files={"file": picture(1)}, data={"stream": "true", **expected}, timeout=60)


def events(answer: httpx.Response) -> Iterator[tuple[str, dict]]:
    """Name and data of each event; comments are ('', text)."""
    name = ""
    for line in answer.iter_lines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)
        elif line.startswith(":"):
            yield "", {"comment": value}


def test_deltas_precede_the_result(served_app: tuple[str, Writer, Pipeline]) -> None:
    base, writer, _ = served_app
    with post(base) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert answer.headers["x-request-id"]
        reported = events(answer)
        assert next(reported) == ("delta", {"text": "one "})
        assert not writer.go_on.is_set(), "the first word is here before the others are written"
        writer.go_on.set()
        assert next(reported) == ("delta", {"text": "two\nthree"})
        name, result = next(reported)
        assert (name, result["success"], result["text"]) == ("result", True, "one two\nthree")
        assert list(reported) == []


def test_the_last_event_is_the_unstreamed_response(served_app: tuple[str, Writer, Pipeline]) -> None:
    base, writer, _ = served_app
    writer.go_on.set()
    with post(base, instruction="total") as answer:
        _, result = list(events(answer))[-1]
    whole = httpx.post(f"{base}/ocr", files={"file": picture(1)}, data={"instruction": "total"}, timeout=60).json()
    for own in ("id", "elapsed_ms"):
        result.pop(own), whole.pop(own)
    assert result == whole
    with post(base, instruction="total", response="fields") as answer:
        assert list(events(answer))[-1] == ("result", {"total_amount": None})


def test_an_error_in_the_middle_is_an_event_with_the_body_of_every_error(served_app: tuple[str, Writer, Pipeline]) -> None:
    base, writer, _ = served_app
    writer.breaks = BackendFailed("The reader broke on this picture.")
    with post(base) as answer:
        reported = events(answer)
        next(reported)
        writer.go_on.set()
        name, body = next(reported)
        assert list(reported) == []
    assert name == "error"
    assert body == {
        "detail": "The reader broke on this picture.",
        "code": "reader_failed",
        "hint": BackendFailed.hint,
        "request_id": answer.headers["x-request-id"],
    }


def test_unexpected_errors_are_reported_without_internals(
    served_app: tuple[str, Writer, Pipeline], caplog: pytest.LogCaptureFixture
) -> None:
    base, writer, pipeline = served_app
    with post(base) as answer:
        reported = events(answer)
        next(reported)
        pipeline.on_request_end.append(lambda timing: operator.truediv(1, 0))  # a mistake of ours
        writer.go_on.set()
        *_, (name, body) = reported
    assert (name, body["code"]) == ("error", "internal_error")
    assert "division" not in json.dumps(body)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("expected", "status", "code"),
    [
        ({"task": "nonsense"}, 422, "unknown_task"),
        ({"task": "translate"}, 422, "task_not_supported"),
    ],
)
def test_early_errors_have_a_status(
    served_app: tuple[str, Writer, Pipeline], expected: dict[str, str], status: int, code: str
) -> None:
    with post(served_app[0], **expected) as answer:
        body = json.loads(answer.read())
    assert (answer.status_code, body["code"]) == (status, code)


def test_a_full_queue_has_a_status_and_retry_after(served_app: tuple[str, Writer, Pipeline]) -> None:
    base, writer, pipeline = served_app
    writer.silent = True
    with post(base) as read, post(base) as waiting:
        while pipeline.admission.waiting != 1:
            threading.Event().wait(0.005)
        with post(base) as refused:
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
        writer.go_on.set()
        assert [list(events(a))[-1][0] for a in (read, waiting)] == ["result", "result"]


def test_keepalive_comments(served_app: tuple[str, Writer, Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    base, writer, _ = served_app
    writer.silent = True
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.02)
    with post(base) as answer:
        reported = events(answer)
        assert [next(reported)[0] for _ in range(3)] == ["", "", ""]
        writer.go_on.set()
        assert [name for name, _ in reported if name] == ["delta", "result"]


@pytest.mark.parametrize("silent", [False, True])
def test_a_disconnect_cancels_the_work(served_app: tuple[str, Writer, Pipeline], silent: bool) -> None:
    base, writer, pipeline = served_app
    writer.silent = silent
    with post(base) as answer:
        next(events(answer))
    while not writer.left or pipeline.admission.running:
        threading.Event().wait(0.005)
    assert pipeline.timings[-1].outcome == "cancelled"
