"""What is sent to vLLM and what is made of its stream, without a server."""

import asyncio
import base64
import io
import json
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.vllm_server import openai_protocol
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ImageTooLargeForMemory, InvalidSchema
from hunyuanocr.types import Usage


def test_pictures_arrive_as_they_are() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (37, 53, 3), dtype=np.uint8)
    sent = json.loads(openai_protocol.build_request(Generation((picture,), "words"), "model", 100))
    (shown, said) = sent["messages"][1]["content"]
    arrived = Image.open(io.BytesIO(base64.b64decode(shown["image_url"]["url"].partition(",")[2])))
    assert np.array_equal(np.asarray(arrived), picture)
    assert said == {"type": "text", "text": "words"}
    assert sent["max_tokens"] == 100, "more than the server takes is refused by it"
    assert "structured_outputs" not in sent


def test_a_schema_is_sent_as_our_own_grammar() -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]}
    sent = json.loads(openai_protocol.build_request(Generation((), "x", schema), "model", 100))
    assert "::=" in sent["structured_outputs"]["grammar"]
    assert sent["top_logprobs"] == 2
    with pytest.raises(InvalidSchema):
        openai_protocol.build_request(Generation((), "x", {"type": "object", "properties": {"a": {"const": 1}}}), "model", 100)


@pytest.mark.parametrize(("text", "named", "texts"), [
    ("total", ["total"], ["total"]),
    ("", [""], [""]),
    ("ab", ["a", "b"], ["a", "b"]),
    ("中", ["", "", "中"], ["", "", "中"]),
    ("x中y", ["x", "", "", "中", "y"], ["x", "", "", "中", "y"]),
    ("ab", ["a", "<｜special｜>", "b"], ["a", "", "b"]),
    ("\ufffd\ufffdtotal", ["", "", "total"], ["", "", "\ufffd\ufffdtotal"]),
    ("\ufffd\ufffdtotal", ["", "total", ""], ["", "\ufffd\ufffdtotal", ""]),
    ("\ufffda.b", ["", "a", ".", "b"], ["", "\ufffda", ".", "b"]),
    ("", ["<｜end｜>"], [""]),
])  # fmt: skip
def test_the_text_of_a_chunk_is_shared_out_to_its_tokens(text: str, named: list[str], texts: list[str]) -> None:
    assert openai_protocol.texts_of_tokens(text, named) == texts
    assert "".join(openai_protocol.texts_of_tokens(text, named)) == text


def test_a_token_without_a_rival_is_forced() -> None:
    reported = event("ab", [5, 6], "length", ["a", "b"])
    (a, b) = reported["choices"][0]["logprobs"]["content"]
    a["top_logprobs"] = [{"token": "a", "logprob": -0.5}, {"token": "!", "logprob": -9999.0}]
    b["top_logprobs"] = [{"token": "b", "logprob": -0.5}, {"token": "c", "logprob": -20.0}]
    (chunk,) = read(reported)
    assert [(t.text, t.logprob, t.forced) for t in chunk.tokens] == [("a", -0.5, True), ("b", -0.5, False)]


def event(text: str = "", ids: Sequence[Any] = (), reason: str | None = None, names: list[Any] | None = None) -> dict[Any, Any]:
    content = [{"token": name, "logprob": -0.5} for name in (names or [text] * len(ids))]
    choice = {"delta": {"content": text}, "logprobs": {"content": content}, "finish_reason": reason, "token_ids": list(ids)}
    return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}


def read(*events: Any, status: int = 200, raw: bytes | None = None) -> list[Any]:
    """The chunks of a response of these events."""
    lines = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events)
    response = httpx.Response(status, content=raw if raw is not None else lines)

    async def all_of_it() -> list[Any]:
        return [chunk async for chunk in openai_protocol.parse_stream(response)]

    return asyncio.run(all_of_it())


def test_the_end_mark_is_no_part_of_the_answer() -> None:
    (first, last) = read(event("a", [5]), event("b", [6, 9], "stop", ["b", "<｜end｜>"]))
    assert ([t.id for t in first.tokens], [t.id for t in last.tokens]) == ([5], [6])
    assert (last.finish_reason, last.usage) == ("stop", Usage(7, 2))
    (cut,) = read(event("b", [6], "length"))
    assert ([t.text for t in cut.tokens], cut.finish_reason) == (["b"], "length")


@pytest.mark.parametrize(("events", "error"), [
    ([event("a", [5])], BackendUnavailable),
    ([], BackendUnavailable),
    ([event("a", [5]), {"error": {"message": "EngineCore encountered an issue", "code": 500}}], BackendUnavailable),
    ([event("a", [5], "abort")], BackendUnavailable),
    ([event("ab", [5, 6], names=["ab"])], BackendFailed),
])  # fmt: skip
def test_a_stream_that_is_not_whole_is_an_error(events: list[Any], error: Any) -> None:
    with pytest.raises(error):
        read(*events)


@pytest.mark.parametrize(("status", "message", "error"), [
    (400, "This model's maximum context length is 8192 tokens. However, your prompt contains", ImageTooLargeForMemory),
    (400, "Input length (8482) exceeds model's maximum context length (8192).", ImageTooLargeForMemory),
    (400, "Invalid grammar specification.", InvalidSchema),
    (400, "Failed to load image", BackendFailed),
    (500, "Internal Server Error", BackendFailed),
    (503, "", BackendUnavailable),
])  # fmt: skip
def test_refusals(status: int, message: str, error: Any) -> None:
    with pytest.raises(error):
        read(status=status, raw=json.dumps({"error": {"message": message, "code": status}}).encode())
