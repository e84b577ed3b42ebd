"""Unpack compressed request bodies, in small steps, so that the limits on bodies count the unpacked bytes."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hunyuanocr.errors import BadRequest, UnsupportedMedia

_STEP_BYTES = 64 * 1024  # unpacked at once, which takes less than a millisecond
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib detects which of the two it is
_RAW = -zlib.MAX_WBITS
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})  # RFC 9110, section 8.4.1
_HINT = "Send the body uncompressed, or with 'Content-Encoding: gzip'."


class ContentEncodingMiddleware:
    """Unpacks bodies with `Content-Encoding: gzip` or `deflate`. Others are refused with status 415 when the body is read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        coding = Headers(scope=scope).get("content-encoding", "").strip().lower() if scope["type"] == "http" else ""
        if coding not in ("", "identity"):
            state = scope.setdefault("state", {})
            packed = (b"content-encoding", b"content-length")
            scope["headers"] = [header for header in scope["headers"] if header[0].lower() not in packed]
            receive = _Unpacker(coding, receive, state).receive
        await self.app(scope, receive, send)


class _Unpacker:
    """Unpacks the body of one request, message by message."""

    def __init__(self, coding: str, receive: Receive, state: dict[str, Any]) -> None:
        self._coding = coding
        self._receive = receive
        self._state = state
        self._decompressor: Any = None
        self._packed = b""  # received, but not unpacked yet
        self._pending = False  # the decompressor may hold output of bytes that it has consumed
        self._more_body = True
        self._ended = False

    async def receive(self) -> Message:
        """Return the next message, with at most `_STEP_BYTES` bytes of body. Raises UnsupportedMedia and BadRequest."""
        while True:
            if self._state.get("discarding"):  # the rest of a body that is too large
                return await self._receive() if self._more_body else {"type": "http.request", "body": b"", "more_body": False}
            if self._ended:
                return await self._receive()
            if not (self._packed or self._pending):
                message = await self._receive()
                if message["type"] != "http.request":
                    return message
                self._packed, self._more_body = message.get("body", b""), message.get("more_body", False)
            data = self._unpack()
            if not (self._packed or self._pending or self._more_body):
                self._ended = True
                self._require_end()
                return {"type": "http.request", "body": data, "more_body": False}
            if data:
                await asyncio.sleep(0)  # other requests are served in between
                return {"type": "http.request", "body": data, "more_body": True}

    def _unpack(self) -> bytes:
        if not (self._packed or self._pending):
            return b""
        if self._coding not in _CODINGS:
            raise UnsupportedMedia(f"Content-Encoding '{self._coding[:40]}' is not supported.", hint=_HINT)
        try:
            if self._decompressor is None or self._decompressor.eof:  # gzip files may consist of several members
                self._decompressor = zlib.decompressobj(self._window_bits())
            data: bytes = self._decompressor.decompress(self._packed, _STEP_BYTES)
        except zlib.error as e:
            raise BadRequest(f"The body is not valid {self._coding}.", hint=_HINT) from e
        ended = self._decompressor.eof
        self._packed = self._decompressor.unused_data if ended else self._decompressor.unconsumed_tail
        self._pending = not ended and len(data) == _STEP_BYTES
        return data

    def _window_bits(self) -> int:
        """Return zlib's parameter for the format. Some clients send `deflate` without zlib's header, which begins with 0x?8."""
        return _RAW if self._coding == "deflate" and self._packed[0] & 0x0F != 8 else _GZIP_OR_ZLIB

    def _require_end(self) -> None:
        if self._decompressor is not None and not self._decompressor.eof:
            raise BadRequest(f"The {self._coding} body is incomplete.", hint=_HINT)
