"""Conversion of requests to vLLM's chat completions, and of its stream to chunks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.base import Generation, Token, TokenChunk
from hunyuanocr.errors import (
    BackendFailed,
    BackendUnavailable,
    HunyuanOcrError,
    ImageTooLargeForMemory,
    InvalidSchema,
    UnreadableImage,
)
from hunyuanocr.grammar.ebnf import to_ebnf
from hunyuanocr.grammar.from_schema import grammar_from_schema
from hunyuanocr.grammar.lengths import longest_string
from hunyuanocr.types import Usage

_MAX_ASPECT_RATIO = 200  # of an image; the model's limit
_IMPOSSIBLE = -9999.0  # vLLM's logarithm for a token that the grammar does not allow


def build_request(request: Generation, model: str, max_length: int) -> bytes:
    """Return the request as JSON; `max_length` is the server's limit in tokens. Blocking (encodes the images).

    Images are sent as PNG, which is lossless. Raises UnreadableImage, InvalidSchema.
    """
    images = [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in request.images]
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": ""},
            {"role": "user", "content": [*images, {"type": "text", "text": request.prompt}]},
        ],
        "temperature": 0,
        "repetition_penalty": request.repetition_penalty,
        "max_tokens": min(request.max_tokens, max_length),
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "logprobs": True,
        "return_token_ids": True,
    }
    if request.schema is not None:
        # Not vLLM's conversion of the schema, which accepts invalid values (see `grammar.from_schema`). The first line is a
        # comment with the longest string, which scripts/vllm_plugin enforces.
        grammar = f"# strings {longest_string(request.schema)}\n{to_ebnf(grammar_from_schema(request.schema))}"
        body["structured_outputs"] = {"grammar": grammar}
        body["top_logprobs"] = 2  # shows whether the grammar allowed another token
    return json.dumps(body, ensure_ascii=False).encode()


def _data_uri(image: NDArray[np.uint8]) -> str:
    height, width = image.shape[:2]
    if max(height, width) > _MAX_ASPECT_RATIO * min(height, width):
        raise UnreadableImage(
            f"The image has {width} × {height} pixels; its aspect ratio exceeds the model's limit of {_MAX_ASPECT_RATIO}.",
            hint="Crop the image to the text, or send it in parts.",
        )
    encoded = cv2.imencode(".png", image[:, :, ::-1])[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


async def parse_stream(response: httpx.Response, *, raw_probabilities: bool = True) -> AsyncGenerator[TokenChunk, None]:
    """Yield the stream's tokens; without `raw_probabilities` they are marked as forced.

    Raises BackendUnavailable if the stream ends early, and the errors of `map_error`.
    """
    if response.status_code != httpx.codes.OK:
        raise map_error(response.status_code, _message(await response.aread()))
    async for line in response.aiter_lines():
        data = line.removeprefix("data: ")
        if data in (line, "[DONE]"):
            continue
        event = json.loads(data)
        if "error" in event:  # it occurred after the status had been sent
            raise map_error(int(event["error"].get("code") or 500), str(event["error"].get("message")), started=True)
        if event.get("choices"):
            chunk = _chunk(event["choices"][0], event.get("usage") or {}, raw_probabilities)
            if chunk.tokens or chunk.finish_reason:
                yield chunk
            if chunk.finish_reason:
                return
    raise BackendUnavailable("The response of vLLM ended before it was complete.")


def _chunk(choice: Mapping[str, Any], usage: Mapping[str, Any], raw_probabilities: bool) -> TokenChunk:
    reason = choice.get("finish_reason")
    ids = choice.get("token_ids") or []
    scores = (choice.get("logprobs") or {}).get("content") or []
    texts = texts_of_tokens(str(choice["delta"].get("content") or ""), [str(s["token"]) for s in scores])
    if len(ids) != len(scores):
        raise BackendFailed("The server does not report token IDs: vLLM 0.32 or newer is required.")
    tokens = [
        Token(i, t, float(s["logprob"]), forced=not raw_probabilities or _is_only_choice(s))
        for i, t, s in zip(ids, texts, scores, strict=True)
    ]
    completion_tokens = int(usage.get("completion_tokens", 0))
    if reason == "stop":  # the last token is the end token, which is not part of the answer
        tokens = tokens[:-1]
        # A forced end token is not counted, as in the torch backend.
        completion_tokens -= bool(scores) and _is_only_choice(scores[-1])
    return TokenChunk(tuple(tokens), _finish(reason), Usage(int(usage.get("prompt_tokens", 0)), completion_tokens))


def _is_only_choice(score: Mapping[str, Any]) -> bool:
    """Return whether the grammar allowed this token only. Without a grammar the server sends no alternatives."""
    alternatives = score.get("top_logprobs") or []
    return bool(alternatives) and sum(float(a["logprob"]) > _IMPOSSIBLE for a in alternatives) <= 1


def _finish(reason: str | None) -> Literal["stop", "length"] | None:
    if reason == "stop":
        return "stop"
    if reason == "length":
        return "length"
    if reason is None:
        return None
    raise BackendUnavailable(f"vLLM aborted the request ({reason}).")


def texts_of_tokens(text: str, names: Sequence[str]) -> list[str]:
    """Split the text of a chunk by its tokens.

    The name of a token may differ from its text (special tokens, parts of a character). Text that cannot be assigned goes to the
    token after which it is complete.
    """
    texts, rest = [], text
    for n, name in enumerate(names):
        if n + 1 == len(names):
            texts.append(rest)
        elif name and rest.startswith(name):
            texts.append(name)
            rest = rest[len(name) :]
        elif name and 0 <= (at := rest.find(name)) <= 4 and set(rest[:at]) <= {"\ufffd"}:  # incomplete characters before it
            texts.append(rest[: at + len(name)])
            rest = rest[at + len(name) :]
        else:
            texts.append("")
    return texts


def map_error(status: int, message: str, *, started: bool = False) -> HunyuanOcrError:
    """Return the error for a response of the server.

    The server's text may repeat the request. It goes to the client in the hint, not in the message, which is logged.
    """
    if "context length" in message or "max_model_len" in message:
        return ImageTooLargeForMemory("The images and the answer exceed the model's maximum length.")
    if "grammar" in message.lower():
        return InvalidSchema(f"The schema cannot be converted to a grammar: {message[:200]}")
    if status in (502, 503, 504, 429) or (started and status >= 500):
        return BackendUnavailable("vLLM does not respond.")
    return BackendFailed(f"vLLM refused the request ({status}).", hint=f"vLLM reports: {message[:300]}")


def _message(content: bytes) -> str:
    try:
        error = json.loads(content).get("error", {})
        return str(error.get("message") if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        return content[:300].decode(errors="replace")
