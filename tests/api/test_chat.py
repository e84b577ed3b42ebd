"""The official OpenAI client, unchanged, against a real server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image
from pydantic import BaseModel

from api.app import create_app
from hunyuanocr.backends.base import BackendName
from hunyuanocr.loadtest.receipts import draw_text
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.types import Reading, TaskKind, TextDelta, Usage
from tests.api.conftest import quick_settings, served, wait_ready
from tests.support.fake_backend import FakeBackend, picture


class Model(FakeBackend):
    """Says what it was asked, word by word, as a language model writes; fields it finds in `values`. The gate is a thread's."""

    def __init__(self) -> None:
        super().__init__(tasks=frozenset(TaskKind), name=BackendName.TORCH)
        self.gate_shut = threading.Event()
        self.asked: Any = None
        self.pages = 0
        self.finish: Any = "stop"
        self.left = False

    async def read(self, pages: Any, task: Any) -> AsyncIterator[TextDelta | Reading]:
        self.asked, self.pages = task, len(pages)
        try:
            words = ["you ", "asked ", "well "]
            for word in words:
                yield TextDelta(word)
            while self.gate_shut.is_set():
                await asyncio.sleep(0.005)
            if self.fault is not None:
                raise self.fault()
            text = "" if task.kind is TaskKind.EXTRACT else "".join(words).strip()
            yield Reading(text, values=self.values, usage=Usage(100, 3), finish_reason=self.finish)
        except (asyncio.CancelledError, GeneratorExit):
            self.left = True
            raise


@pytest.fixture
def reader() -> Model:
    return Model()


@pytest.fixture
def pipeline(reader: Model) -> Pipeline:
    return Pipeline(reader, quick_settings(queue_size=1))


@pytest.fixture
def base_url(reader: Model, pipeline: Pipeline) -> Iterator[str]:
    with served(create_app(pipeline.settings, pipeline)) as base:
        wait_ready(base)
        yield base
        reader.gate_shut.clear()


@pytest.fixture
def client(base_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key="any word", max_retries=0, timeout=60) as client:
        yield client


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def user(words: str | None, *pictures: bytes) -> Any:
    texts = [{"type": "text", "text": words}] if words is not None else []
    images = [{"type": "image_url", "image_url": {"url": uri(p), "detail": "high"}} for p in pictures]
    return {"role": "user", "content": [*texts, *images]}


def ask(client: openai.OpenAI, *messages: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="any", messages=list(messages), **more)


def test_a_question_gets_a_text_answer(client: OpenAI, reader: Model) -> None:
    answer = ask(client, user("What is on the back of this?", picture()), temperature=0.7, top_p=0.9, seed=3, max_tokens=50)
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "test-reader", "chatcmpl-")
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "you asked well", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (100, 3, 103)
    assert (reader.asked.kind, reader.asked.instruction) == (TaskKind.FREE, "What is on the back of this?")
    assert reader.asked.max_tokens == 50


@pytest.mark.parametrize(("words", "said"), [("ping", "Send an image"), ("你好", "请把图片")])
def test_text_without_an_image_gets_a_fixed_reply(client: OpenAI, reader: Model, words: str, said: Any) -> None:
    answer = ask(client, {"role": "user", "content": words}, max_tokens=5)
    assert said in answer.choices[0].message.content
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 0)
    chunks = list(ask(client, user(words), stream=True))
    assert said in "".join(c.choices[0].delta.content or "" for c in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert reader.asked is None


def test_truncated_text_has_finish_reason_length(client: OpenAI, reader: Model) -> None:
    reader.finish = "length"
    assert ask(client, user("read", picture())).choices[0].finish_reason == "length"


def test_fields_in_an_instruction_are_returned_as_json(client: OpenAI, reader: Model) -> None:
    reader.values = {"total_amount": "36.80", "date": None}
    answer = ask(client, user("提取总金额和日期", picture()))
    assert json.loads(answer.choices[0].message.content) == {"total_amount": "36.80", "date": None}
    assert ask(client, user("Read all text", picture()), response_format={"type": "json_object"}).choices[0].message.content == (
        '{"text": "you asked well"}'
    )


class Receipt(BaseModel):
    merchant: str | None
    total_amount: float


def test_a_schema_is_filled_or_the_request_fails(client: OpenAI, reader: Model) -> None:
    reader.values = {"total_amount": "¥36.80", "merchant": "Corner Shop"}
    answer = client.chat.completions.parse(model="any", messages=[user("", picture())], response_format=Receipt)
    assert answer.choices[0].message.parsed == Receipt(merchant="Corner Shop", total_amount=36.8)
    assert reader.asked.kind is TaskKind.EXTRACT
    reader.values = {"total_amount": None, "merchant": None}
    with pytest.raises(openai.UnprocessableEntityError) as failed:
        client.chat.completions.parse(model="any", messages=[user(None, picture())], response_format=Receipt)
    assert failed.value.code == "schema_not_satisfied"


def test_deltas_are_streamed(client: OpenAI, reader: Model) -> None:
    reader.gate_shut.set()
    stream = ask(client, user("What is this?", picture()), stream=True, stream_options={"include_usage": True})
    pieces = [next(stream).choices[0].delta for _ in range(3)]
    assert pieces[0].role == "assistant"
    assert [p.content for p in pieces] == ["you ", "asked ", "well "]
    reader.gate_shut.clear()
    last, usage = list(stream)
    assert (last.choices[0].finish_reason, last.choices[0].delta.content, last.usage) == ("stop", None, None)
    assert (usage.choices, usage.usage.total_tokens, usage.id) == ([], 103, last.id)


def test_a_stream_of_fields_has_no_raw_text(client: OpenAI, reader: Model) -> None:
    reader.values = {"total_amount": "36.80"}
    chunks = list(ask(client, user("total amount", picture()), stream=True))
    assert [c.choices[0].delta.content for c in chunks] == ['{"total_amount": "36.80"}', None]
    assert all(c.usage is None for c in chunks)


def test_a_disconnect_from_a_stream_cancels_the_work(client: OpenAI, reader: Model) -> None:
    reader.gate_shut.set()
    stream = ask(client, user("What is this?", picture()), stream=True)
    next(stream)
    stream.close()
    while not reader.left:
        threading.Event().wait(0.005)


def test_a_stream_that_breaks_raises_in_the_client(client: OpenAI, reader: Model) -> None:
    reader.gate_shut.set()
    reader.fault = lambda: ValueError("a secret of ours")
    stream = ask(client, user("What is this?", picture()), stream=True)
    next(stream)
    reader.gate_shut.clear()
    with pytest.raises(openai.APIError) as failed:
        list(stream)
    assert failed.value.code == "reader_failed"
    assert "secret" not in str(failed.value)


def test_several_pictures_and_a_pdf_are_pages_of_one_document(client: OpenAI, reader: Model) -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), "white").save(out, "PDF")
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": uri(out.getvalue(), "application/pdf")}}
    message = user("Which of these is the oldest?", picture(1), picture(2))
    message["content"].append(file)
    ask(client, message)
    assert reader.pages == 3


def test_a_conversation_keeps_its_picture_and_the_latest_words_count(client: OpenAI, reader: Model) -> None:
    ask(
        client,
        {"role": "system", "content": "You are a poet."},
        user("Who wrote this?", picture(1)),
        {"role": "assistant", "content": "Li Bai."},
        {"role": "user", "content": "And how old is the ink?"},
    )
    assert (reader.pages, reader.asked.instruction) == (1, "And how old is the ink?")
    ask(client, {"role": "system", "content": "extract the total amount"}, user(None, picture(1)))
    assert [f.key for f in reader.asked.fields] == ["total_amount"], "where the user says nothing, the system's words count"
    ask(client, user(None, picture(1)))
    assert reader.asked.kind is TaskKind.READ


def schema_of(schema: dict | None) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "x"} | ({} if schema is None else {"schema": schema})}


@pytest.mark.parametrize(("message", "more", "status", "code", "param"), [
    (user("read"), {"response_format": {"type": "json_object"}}, 400, "empty_input", None),
    (user("read", b"no picture"), {}, 415, "unsupported_media_type", None),
    (user("read", b"\xff\xd8\xff broken"), {}, 400, "unreadable_image", None),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://shop.example/a.jpg"}}]}, {}, 400,
     "remote_picture", None),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}, {}, 400,
     "remote_picture", None),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,&&"}}]}, {}, 400,
     "invalid_base64", None),
    ({"role": "user", "content": [{"type": "input_audio"}]}, {}, 422, "invalid_value", None),
    ({"role": "nobody", "content": "x"}, {}, 422, "invalid_value", "messages.0.role"),
    (user("read", picture()), {"n": 2}, 422, "invalid_value", None),
    (user("read", picture()), {"tools": [{"type": "function", "function": {"name": "f"}}]}, 422, "invalid_value", None),
    (user("read", picture()), {"response_format": schema_of(None)}, 422, "invalid_value", None),
    (user("read", picture()), {"response_format": schema_of({"type": "array"})}, 422, "invalid_schema", None),
    (user("read", picture()), {"max_tokens": 0}, 422, "invalid_value", "max_tokens"),
])  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_invalid_requests_have_openais_error_format(
    client: OpenAI, message: dict[str, Any], more: dict[str, Any], status: int, code: str, param: str | None, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as failed:
        ask(client, message, stream=stream, **more)
    error = failed.value
    assert (error.status_code, error.code, error.type, error.param) == (status, code, "invalid_request_error", param)
    body: Any = error.body
    assert body.keys() == {"message", "type", "param", "code"}
    assert error.response.headers["x-request-id"] in body["message"]


def test_other_errors_have_openais_format(client: OpenAI, base_url: str, reader: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.fault = lambda: ValueError("x")
    with pytest.raises(openai.InternalServerError) as failed:
        ask(client, user("read", picture()))
    assert (failed.value.code, failed.value.type) == ("reader_failed", "server_error")
    assert httpx.get(f"{base_url}/v1/chat/completions", timeout=60).json()["error"]["code"] == "method_not_allowed"
    broken = httpx.post(f"{base_url}/v1/chat/completions", content=b"{", headers={"content-type": "application/json"}, timeout=60)
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "bad_request")
    monkeypatch.setattr("api.routes.chat.parse_chat_request", lambda expected: 1 / 0)
    with pytest.raises(openai.InternalServerError) as failed:
        ask(client, user("read", picture()))
    assert failed.value.code == "internal_error"


def test_a_full_queue_is_a_rate_limit(client: OpenAI, pipeline: Pipeline, reader: Model) -> None:
    reader.gate_shut.set()
    streams = [ask(client, user("Who?", picture(n)), stream=True) for n in range(pipeline.concurrency)]
    waiting = threading.Thread(target=ask, args=(client, user("Who?", picture(100))))
    waiting.start()
    while not pipeline.admission.waiting:
        threading.Event().wait(0.005)
    with pytest.raises(openai.RateLimitError) as failed:
        ask(client, user("Who?", picture(101)), stream=True)
    assert (failed.value.code, failed.value.type) == ("queue_full", "rate_limit_error")
    assert int(failed.value.response.headers["retry-after"]) >= 1
    reader.gate_shut.clear()
    waiting.join(30)
    for stream in streams:
        list(stream)


def test_models_are_listed_and_fetched(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object) == ("test-reader", "model")
    assert client.models.retrieve("test-reader").id == "test-reader"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


def test_openapi_has_no_loose_references(base_url: str) -> None:
    reference = httpx.get(f"{base_url}/openapi.json", timeout=60).json()
    known = {f"#/components/schemas/{name}" for name in reference["components"]["schemas"]}

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from references(each)

    assert set(references(reference["paths"])) <= known


def test_the_cpu_backend_serves_chat(real: str) -> None:
    picture = draw_text(("CORNER SHOP", "TOTAL 36.80"))
    with openai.OpenAI(base_url=f"{real}/v1", api_key="x", max_retries=0, timeout=60) as client:
        assert ask(client, user("read the text", picture)).choices[0].message.content == "CORNER SHOP\nTOTAL 36.80"
        chunks = list(ask(client, user("extract the total amount", picture), stream=True))
        assert json.loads("".join(c.choices[0].delta.content or "" for c in chunks)) == {"total_amount": "36.80"}
        with pytest.raises(openai.UnprocessableEntityError) as failed:
            ask(client, user("translate this into Chinese", picture))
        assert failed.value.code == "task_not_supported"
