"""Parse JSON from clients within bounds of time and memory.

`json.loads` holds the interpreter's lock until it is done, and builds what takes far more memory than the text: 10 MB of
`[],[],…` stop all other requests for seconds. So the text is scanned first. Long strings (pictures in base64) are taken out of
it, and what is left has to be small, flat and of few values before it is parsed.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from hunyuanocr.errors import BadRequest

MAX_DEPTH = 100  # of objects and lists; a client's schema may have 40
MAX_VALUES = 20_000  # a schema of 50,000 characters has fewer
MAX_TEXT_BYTES = 1024 * 1024  # of everything but long strings
_LONG_BYTES = 64 * 1024  # a string that is longer is not parsed with the rest
_CHUNK_BYTES = 4 * 1024 * 1024  # that are searched in one call, which holds the lock
_FREE_ESCAPES, _BYTES_AN_ESCAPE = 64 * 1024, 16  # some encoders escape `/` and `+`, each one in 64 characters of base64
_MAX_QUOTES = 200_000  # each costs a step: two of each string, and those within strings
_QUOTE, _BACKSLASH = b'"', b"\\"
_STRUCTURE = re.compile(rb"[\[\]{},:]")
_HINT = f"Send JSON of at most {MAX_VALUES} values, nested at most {MAX_DEPTH} deep, and {MAX_TEXT_BYTES} bytes without pictures."


def parse_json(data: bytes) -> Any:
    """Return the value that the JSON text (RFC 8259, UTF-8) holds.

    Blocking: up to a second for the largest hostile text, in steps of which none holds the interpreter's lock for more than some
    50 ms. Raises BadRequest for what exceeds the bounds, ValueError for what is not JSON (NaN and Infinity are not).
    """
    _check_escapes(data)
    scan = _Scan(data.removeprefix(b"\xef\xbb\xbf"))
    value = json.loads(scan.text().decode(), parse_constant=_refuse_constant)
    return scan.restore(value) if scan.long_strings else value


class _Scan:
    """The text without its long strings, which stand in `long_strings` under the words that take their places."""

    def __init__(self, data: bytes) -> None:
        self.long_strings: dict[str, bytes] = {}
        self._data = data
        self._word = secrets.token_hex(8)  # a client cannot guess it
        self._size = self._values = self._depth = self._quotes = 0

    def text(self) -> bytes:
        """Raises BadRequest and ValueError."""
        return b"".join(self._parts())

    def _parts(self) -> Iterator[bytes]:
        data, at = self._data, 0
        while (begin := data.find(_QUOTE, at)) >= 0:
            yield self._structure(at, begin)
            at = self._string_end(begin + 1) + 1
            if at - begin > _LONG_BYTES:
                word = f"{self._word}{len(self.long_strings)}"
                self.long_strings[word] = data[begin + 1 : at - 1]
                yield b'"%s"' % word.encode()
            else:
                self._count(at - begin)
                yield data[begin:at]
        yield self._structure(at, len(data))

    def _structure(self, begin: int, end: int) -> bytes:
        """Count what stands between two strings."""
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
                raise BadRequest("The JSON has too many values, or is nested too deep.", hint=_HINT)
        return part

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > MAX_TEXT_BYTES:
            raise BadRequest("The JSON is too large besides its pictures.", hint=_HINT)

    def _string_end(self, start: int) -> int:
        """The index of the quote that ends the string whose first byte is at `start`."""
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
        raise ValueError("a string does not end")

    def restore(self, value: Any) -> Any:
        """Put the long strings back in their places."""
        if isinstance(value, str):
            found = self.long_strings.get(value)
            return value if found is None else _decoded(found)
        if isinstance(value, list):
            return [self.restore(item) for item in value]
        if isinstance(value, dict):
            return {key: self.restore(item) for key, item in value.items()}
        return value


def _check_escapes(data: bytes) -> None:
    """Each escape costs a step of its own. Raises BadRequest where they are more than an encoder of base64 makes."""
    left = _FREE_ESCAPES + len(data) // _BYTES_AN_ESCAPE
    for begin in range(0, len(data), _CHUNK_BYTES):
        left -= data.count(_BACKSLASH, begin, begin + _CHUNK_BYTES)
        if left < 0:
            raise BadRequest("The JSON has too many escapes.", hint="Send text as UTF-8 and pictures as plain base64.")


def _decoded(string: bytes) -> str:
    text: str = json.loads(b'"%s"' % string, strict=False) if _BACKSLASH in string else string.decode()
    return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
