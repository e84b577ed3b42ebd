"""Hostile requests for every route that an application has; a new route gets its own without anybody adding it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from tests.attacks import values

# Names that bodies and queries of this product, of Gradio and of OpenAI clients use, for routes whose description names none.
BODY_NAMES = (
    "data",
    "fn_index",
    "session_hash",
    "event_data",
    "trigger_id",
    "event_id",
    "path",
    "url",
    "image",
    "file",
    "instruction",
    "schema",
    "fields",
    "messages",
    "model",
    "webhook",
    "key",
    "name",
    "token",
    "code",
    "callback_url",
    "reason",
)
QUERY_NAMES = (
    "session_hash",
    "path",
    "url",
    "code",
    "next",
    "ticket",
    "key",
    "cursor",
    "limit",
    "format",
    "since",
    "session",
    "q",
)
HEADER_NAMES = (
    "Authorization",
    "X-API-Key",
    "Cookie",
    "Origin",
    "Referer",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Device",
    "X-Request-Id",
    "Idempotency-Key",
    "Accept-Language",
    "Content-Type",
    "Range",
    "If-None-Match",
    "X-Gradio-User",
    "x-gradio-server",
)
_HAS_BODY = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Attack:
    """One request. `label` says what is hostile in it."""

    method: str
    path: str  # percent-encoded, with the query
    label: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Build = Callable[[], Attack]  # most attacks are never drawn, and building one can take a megabyte


class Arsenal:
    """Makes the attacks. `canary`: path of a file that nobody may open; `listener`: URL that nobody may contact."""

    def __init__(self, openapi: dict[str, Any], canary: str, listener: str, *, large: bool = False) -> None:
        self._openapi = openapi
        self._strings = values.strings(canary, listener)
        self._files = values.files()
        self._references = values.file_references(canary, listener)
        self._anything = [
            *self._strings,
            *values.numbers(),
            *values.structures(),
            *self._references,
            *values.schemas(canary, listener),
        ]
        self._bodies = values.bodies(large=large)
        self._picture = values.tiny_picture()

    def attacks(self, method: str, route: str) -> Iterator[Build]:
        """Yield a builder of every attack on one route; `route` is written as the router has it (`/v1/jobs/{id}`)."""
        plain = re.sub(r"\{[^}]*\}", "0" * 8, route)
        yield partial(Attack, method, plain, "nothing")
        yield from self._in_path(method, route)
        yield from self._in_query(method, route, plain)
        for name in HEADER_NAMES:
            for text in self._strings:
                if _fits_header(text):
                    yield partial(Attack, method, plain, f"header {name}: {text[:40]!r}", {name: text})
        if method in _HAS_BODY:
            yield from self._in_body(method, route, plain)

    def messages(self) -> Iterator[str | bytes]:
        """Yield messages for a WebSocket."""
        for body in self._bodies:
            yield body
            yield body.decode("utf-8", "replace")
        for name in ("type", "frame_id", "timestamp", "image", "instruction", "fields", "schema", "rate", "session"):
            for value in self._anything:
                yield values.as_json({"frame_id": 1, "image": "aaaa", name: value}).decode()
        for data in self._files.values():
            yield values.as_json({"frame_id": 1, "image": values.as_base64(data)}).decode()
            yield b"\0\0\0\x10" + b'{"frame_id":  1}' + data
        yield from (b"\xff\xff\xff\xff{}", b"\0\0\0\0", b"\0")

    def files(self, method: str, route: str) -> Iterator[Build]:
        """Yield a builder of every attack by a file on one route."""
        for label, data in self._files.items():
            yield partial(Attack, method, route, f"raw file: {label}", {"Content-Type": "application/octet-stream"}, data)
            for name in ("file", "files"):
                yield partial(_form, method, route, f"{name}: {label}", [(name, label, data)])
            yield partial(_json, method, route, f"base64 file: {label}", {"image": values.as_base64(data)})

    def _in_path(self, method: str, route: str) -> Iterator[Build]:
        for match in re.finditer(r"\{[^}]*\}", route):
            for text in self._strings:
                if len(text) < 6000:
                    yield partial(_with_path, method, route, match, text)

    def _in_query(self, method: str, route: str, plain: str) -> Iterator[Build]:
        described = [p["name"] for p in self._operation(method, route).get("parameters", []) if p["in"] == "query"]
        for name in dict.fromkeys((*described, *QUERY_NAMES)):
            for text in self._strings:
                if len(text) < 6000:
                    yield partial(_with_query, method, plain, name, text)

    def _in_body(self, method: str, route: str, plain: str) -> Iterator[Build]:
        for kind in ("application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/plain"):
            for body in self._bodies:
                yield partial(Attack, method, plain, f"{kind}: {body[:40]!r}", {"Content-Type": kind}, body)
        picture = values.as_base64(self._picture)
        for name in dict.fromkeys((*self._properties(method, route), *BODY_NAMES)):
            for value in self._anything:
                for honest in ({}, {"image": picture}, {"session_hash": "abc", "fn_index": 0, "data": [], "trigger_id": 1}):
                    yield partial(_json, method, plain, f"json {name}", honest | {name: value})
        for reference in self._references:  # as the input of each of Gradio's events
            for event in range(10):
                event_body = {"session_hash": "abc", "fn_index": event, "data": [reference] * 3, "event_data": reference}
                yield partial(_json, method, plain, "event", event_body)
        yield from self._in_form(method, route, plain)

    def _in_form(self, method: str, route: str, plain: str) -> Iterator[Build]:
        yield from self.files(method, plain)
        for name in dict.fromkeys((*self._properties(method, route), *BODY_NAMES)):
            for text in self._strings:
                part = (name, None, text.encode("utf-8", "surrogatepass"))
                yield partial(_form, method, plain, f"form {name}: {text[:40]!r}", [("file", "a.png", self._picture), part])
        for text in self._strings:
            yield partial(_form, method, plain, f"file name: {text[:40]!r}", [("file", text, self._picture)])

    def _operation(self, method: str, route: str) -> dict[str, Any]:
        found: dict[str, Any] = self._openapi["paths"].get(re.sub(r":path\}", "}", route), {}).get(method.lower(), {})
        return found

    def _properties(self, method: str, route: str) -> list[str]:
        names: list[str] = []
        for content in self._operation(method, route).get("requestBody", {}).get("content", {}).values():
            schema = content.get("schema", {})
            if "$ref" in schema:
                schema = self._openapi["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
            names += schema.get("properties", {})
        return names


T = TypeVar("T")


def sampled(items: Iterable[T], count: int, source: random.Random) -> list[T]:
    """Return the first item and `count` others drawn at random."""
    every = list(items)
    return every[:1] + source.sample(every[1:], min(count, len(every) - 1))


def _with_path(method: str, route: str, parameter: re.Match[str], text: str) -> Attack:
    path = route[: parameter.start()] + _quoted(text, "/" if "path" in parameter[0] else "") + route[parameter.end() :]
    return Attack(method, re.sub(r"\{[^}]*\}", "0", path), f"path: {text[:40]!r}")


def _with_query(method: str, path: str, name: str, text: str) -> Attack:
    return Attack(method, f"{path}?{name}={_quoted(text)}", f"query {name}: {text[:40]!r}")


def _json(method: str, path: str, label: str, body: dict[str, Any]) -> Attack:
    encoded = values.as_json(body)
    return Attack(method, path, f"{label}: {encoded[:200]!r}", {"Content-Type": "application/json"}, encoded)


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe=safe, errors="surrogatepass")


def _fits_header(text: str) -> bool:
    return bool(text) and len(text) < 6000 and text.isprintable() and text.isascii() and text == text.strip()


def _form(method: str, path: str, label: str, parts: list[tuple[str, str | None, bytes]]) -> Attack:
    body = bytearray()
    for name, filename, data in parts:
        file = b"" if filename is None else b'; filename="%s"' % filename.encode("utf-8", "surrogatepass")[:2000]
        body += b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name.encode(), file, data)
    return Attack(method, path, label, {"Content-Type": "multipart/form-data; boundary=x"}, bytes(body + b"--x--\r\n"))
