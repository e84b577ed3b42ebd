"""Parse JSON from clients with limits on time and memory.

`json.loads` holds the interpreter's lock until it returns, and its result may take far more memory than the text: 10 MB of
`[],[],…` block all other requests for seconds. Therefore the text is scanned first. Long strings (base64 images) are removed,
and the rest must be small, flat and have few values before it is parsed.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from hunyuanocr.errors import BadRequest

MAX_DEPTH = 100  # nesting of objects and lists; a client's schema may have 40
MAX_VALUES = 20_000  # a schema of 50,000 characters has fewer
MAX_TEXT_BYTES = 1024 * 1024  # everything except long strings
_LONG_STRING_BYTES = 64 * 1024  # longer strings are parsed separately
_CHUNK_BYTES = 4 * 1024 * 1024  # searched per call, which holds the lock
_MIN_ESCAPES, _BYTES_PER_ESCAPE = 64 * 1024, 16  # some encoders escape `/` and `+`, which are 1 in 32 base64 characters
_MAX_QUOTES = 200_000  # each takes one step: two per string, and escaped ones
_QUOTE, _BACKSLASH = b'"', b"\\"
_STRUCTURE = re.compile(rb"[\[\]{},:]")
_HINT = f"Send JSON of at most {MAX_VALUES} values, nested at most {MAX_DEPTH} deep, and {MAX_TEXT_BYTES} bytes without images."


def parse_json(data: bytes) -> Any:
    """Parse a JSON text (RFC 8259, UTF-8).

    Blocking: up to one second for the largest malicious text; no step holds the interpreter's lock for more than about 50 ms.
    Raises BadRequest if the text exceeds the limits, ValueError if it is not JSON (NaN and Infinity are rejected).
    """
    _check_escapes(data)
    scan = _Scan(data.removeprefix(b"\xef\xbb\xbf"))
    value = json.loads(scan.text().decode(), parse_constant=_refuse_constant)
    return scan.restore(value) if scan.long_strings else value


class _Scan:
    """Replaces long strings of the text with placeholders; `long_strings` maps the placeholders to the strings."""

    def __init__(self, data: bytes) -> None:
        self.long_strings: dict[str, bytes] = {}
        self._data = data
        self._placeholder_prefix = secrets.token_hex(8)  # random, so that a client cannot send a placeholder
        self._size = self._values = self._depth = self._quotes = 0

    def text(self) -> bytes:
        """Return the text with placeholders. Raises BadRequest and ValueError."""
        return b"".join(self._parts())

    def _parts(self) -> Iterator[bytes]:
        data, at = self._data, 0
        while (begin := data.find(_QUOTE, at)) >= 0:
            yield self._structure(at, begin)
            at = self._string_end(begin + 1) + 1
            if at - begin > _LONG_STRING_BYTES:
                placeholder = f"{self._placeholder_prefix}{len(self.long_strings)}"
                self.long_strings[placeholder] = data[begin + 1 : at - 1]
                yield b'"%s"' % placeholder.encode()
            else:
                self._count(at - begin)
                yield data[begin:at]
        yield self._structure(at, len(data))

    def _structure(self, begin: int, end: int) -> bytes:
        """Count the values and nesting between two strings, and return this part of the text."""
        self._count(end - begin)
        part = self._data[begin:end]
        for sign in _STRUCTURE.finditer(part):
            if sign[0] in b"]}":
                self._depth -= 1
                continue
            self._values += 1
            if sign[0] in b"[{":
                self._depth += 1
            if self._values > MAX_VALUES or self._depth > MAX_DEPTH:
                raise BadRequest("The JSON has too many values or is nested too deeply.", hint=_HINT)
        return part

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_TEXT_BYTES:
            raise BadRequest("The JSON without its images is too large.", hint=_HINT)

    def _string_end(self, start: int) -> int:
        """Return the index of the closing quote of the string that starts at `start`. Raises BadRequest and ValueError."""
        data, at = self._data, start
        while (at := data.find(_QUOTE, at)) >= 0:
            self._quotes += 1
            if self._quotes > _MAX_QUOTES:
                raise BadRequest("The JSON has too many strings.", hint=_HINT)
            before = at
            while data[before - 1] == _BACKSLASH[0]:
                before -= 1
            if (at - before) % 2 == 0:
                return at
            at += 1
        raise ValueError("unterminated string")

    def restore(self, value: Any) -> Any:
        """Replace the placeholders in a parsed value with the long strings."""
        if isinstance(value, str):
            long_string = self.long_strings.get(value)
            return value if long_string is None else _decode_string(long_string)
        if isinstance(value, list):
            return [self.restore(item) for item in value]
        if isinstance(value, dict):
            return {key: self.restore(item) for key, item in value.items()}
        return value


def _check_escapes(data: bytes) -> None:
    """Limit the number of escapes, each of which takes one step. Raises BadRequest for more than base64 encoders produce."""
    remaining = _MIN_ESCAPES + len(data) // _BYTES_PER_ESCAPE
    for begin in range(0, len(data), _CHUNK_BYTES):
        remaining -= data.count(_BACKSLASH, begin, begin + _CHUNK_BYTES)
        if remaining < 0:
            raise BadRequest("The JSON has too many escapes.", hint="Send text as UTF-8 and images as plain base64.")


def _decode_string(string: bytes) -> str:
    text: str = json.loads(b'"%s"' % string, strict=False) if _BACKSLASH in string else string.decode()
    return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
