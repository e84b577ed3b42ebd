"""Our requests as vLLM's chat completions, and its stream as our chunks."""

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

_MAX_LENGTH = 200  # width : height (or the other way round) that the model takes at most
_IMPOSSIBLE = -9999.0  # the logarithm that vLLM writes for a token that the grammar forbids


def build_request(request: Generation, model: str, max_length: int) -> bytes:
    """The request in JSON; `max_length` is what the server takes in tokens. For worker threads: pictures are encoded here.

    Pictures travel as PNG, so that their pixels arrive as they are, packed as OpenCV does by itself.
    Raises UnreadableImage, InvalidSchema.
    """
    pictures = [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in request.images]
    sent: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": ""},
            {"role": "user", "content": [*pictures, {"type": "text", "text": request.prompt}]},
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
        # Our own grammar: the engine's conversion of JSON Schema lets through what no validation accepts (see `schemas`).
        # Its first line is a comment that our plugin understands: strings end there.
        grammar = f"# strings {longest_string(request.schema)}\n{to_ebnf(grammar_from_schema(request.schema))}"
        sent["structured_outputs"] = {"grammar": grammar}
        sent["top_logprobs"] = 2  # tells a token that the grammar left no rival
    return json.dumps(sent, ensure_ascii=False).encode()


def _data_uri(image: NDArray[np.uint8]) -> str:
    height, width = image.shape[:2]
    if max(height, width) > _MAX_LENGTH * min(height, width):
        raise UnreadableImage(
            f"The picture is {width} × {height} pixels; the model reads none more than {_MAX_LENGTH} times as long as wide.",
            hint="Cut the picture to the part with text, or send it in pieces.",
        )
    encoded = cv2.imencode(".png", image[:, :, ::-1])[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


async def parse_stream(response: httpx.Response, *, scored: bool = True) -> AsyncGenerator[TokenChunk, None]:
    """The stream's tokens as they come; without `scored` their probabilities tell nothing.

    Raises ReaderUnavailable where the stream breaks off, and what `map_error` makes.
    """
    if response.status_code != httpx.codes.OK:
        raise map_error(response.status_code, _message(await response.aread()))
    async for line in response.aiter_lines():
        data = line.removeprefix("data: ")
        if data in (line, "[DONE]"):
            continue
        event = json.loads(data)
        if "error" in event:  # the status was sent before it went wrong
            raise map_error(int(event["error"].get("code") or 500), str(event["error"].get("message")), started=True)
        if event.get("choices"):
            chunk = _chunk(event["choices"][0], event.get("usage") or {}, scored)
            if chunk.tokens or chunk.finish_reason:
                yield chunk
            if chunk.finish_reason:
                return
    raise BackendUnavailable("vLLM ended the answer before it was complete.")


def _chunk(choice: Mapping[str, Any], usage: Mapping[str, Any], scored: bool) -> TokenChunk:
    reason = choice.get("finish_reason")
    ids = choice.get("token_ids") or []
    scores = (choice.get("logprobs") or {}).get("content") or []
    texts = _texts(str(choice["delta"].get("content") or ""), [str(s["token"]) for s in scores])
    if len(ids) != len(scores):
        raise BackendFailed("The server does not tell the tokens of its answer: vLLM 0.32 or newer is needed.")
    tokens = [
        Token(i, t, float(s["logprob"]), forced=not scored or _alone(s)) for i, t, s in zip(ids, texts, scores, strict=True)
    ]
    written = int(usage.get("completion_tokens", 0))
    if reason == "stop":  # the last one is the end mark, which is no part of the answer
        tokens = tokens[:-1]
        written -= bool(scores) and _alone(
            scores[-1]
        )  # an end that the grammar leaves no choice is not counted, as in our engine
    return TokenChunk(tuple(tokens), _finish(reason), Usage(int(usage.get("prompt_tokens", 0)), written))


def _alone(score: Mapping[str, Any]) -> bool:
    """Whether the grammar left this token no rival. Without a grammar no rivals are told."""
    rivals = score.get("top_logprobs") or []
    return bool(rivals) and sum(float(r["logprob"]) > _IMPOSSIBLE for r in rivals) <= 1


def _finish(reason: str | None) -> Literal["stop", "length"] | None:
    if reason == "stop":
        return "stop"
    if reason == "length":
        return "length"
    if reason is None:
        return None
    raise BackendUnavailable(f"vLLM gave the answer up ({reason}).")


def _texts(text: str, named: Sequence[str]) -> list[str]:
    """The chunk's text by its tokens. A token by itself may have another text than in its place (special ones, parts of a
    character); what cannot be told apart goes to the token after which it is complete.
    """
    found, rest = [], text
    for n, name in enumerate(named):
        if n + 1 == len(named):
            found.append(rest)
        elif name and rest.startswith(name):
            found.append(name)
            rest = rest[len(name) :]
        elif name and 0 <= (at := rest.find(name)) <= 4 and set(rest[:at]) <= {"\ufffd"}:  # broken characters before it
            found.append(rest[: at + len(name)])
            rest = rest[at + len(name) :]
        else:
            found.append("")
    return found


def map_error(status: int, message: str, *, started: bool = False) -> HunyuanOcrError:
    """The server's answer as one of our errors. Its own words may repeat what was sent: they are for the client, as the hint,
    and in no message, for messages are written into the log.
    """
    if "context length" in message or "max_model_len" in message:
        return ImageTooLargeForMemory("The pictures and the answer are longer than what the model takes.")
    if "grammar" in message.lower():
        return InvalidSchema(f"The schema cannot be made a grammar: {message[:200]}")
    if status in (502, 503, 504, 429) or (started and status >= 500):
        return BackendUnavailable("vLLM does not answer.")
    return BackendFailed(f"vLLM refused the request ({status}).", hint=f"It says: {message[:300]}")


def _message(content: bytes) -> str:
    try:
        error = json.loads(content).get("error", {})
        return str(error.get("message") if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        return content[:300].decode(errors="replace")
