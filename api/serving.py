"""How uvicorn is to carry WebSockets: one place for the program, its tests and its benches."""

from __future__ import annotations

from typing import Any

from hunyuanocr.config import Settings

_BESIDE = 1024 * 1024  # bytes of a message beside its picture


def websocket_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of `uvicorn.Config`.

    `websockets-sansio` unmasks with the C code of the package `websockets`, has no task of its own for a connection, and stops
    reading from it while a message waits to be taken. (`wsproto` is Python all through; uvicorn's older `websockets` holds tasks
    and a queue of frames for every connection, on an interface that the package calls legacy.) Frames are compressed already:
    deflate would cost time and memory for nothing. A message twice as long as the longest picture in base64 ends the
    connection; those in between get an answer that says so.
    """
    return {
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
        "ws_max_size": 2 * (settings.camera.max_bytes * 4 // 3) + _BESIDE,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
    }
