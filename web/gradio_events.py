"""The routes and events of Gradio that the page uses. All others are refused; values of events must be scalars.

Gradio opens every dict of the form `{"path": …, "meta": {"_type": "gradio.FileData"}}` in the values of an event, in the event
loop: local files, endless devices, URLs. No event of the page has a dict or list as a value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hunyuanocr.errors import BadRequest, ImageTooLarge

API = "/gradio_api/"
JOIN, STREAM, HEARTBEAT = f"{API}queue/join", f"{API}queue/data", f"{API}heartbeat/"
MAX_EVENT_BYTES = 128 * 1024  # a string of MAX_TEXT characters, each escaped as six
MAX_TEXT = 16 * 1024  # characters; instructions of more than 4,000 get a specific error
HINT = "Reload the page."
_APP_ID = f"{API}app_id"  # a page that lost the connection checks whether the server was restarted
_FILES = frozenset({"/", "/config", "/theme.css", "/favicon.ico"})
_ASSET = re.compile(r"/(?:assets|static)(?:/[\w@~+-][\w@~+.-]*)+", re.ASCII)
_PAGE = re.compile(r"[\w-]{1,64}", re.ASCII)
_KEYS = frozenset({"data", "event_data", "fn_index", "trigger_id", "session_hash"})
_EVENT_DATA = frozenset({"token", "reason", "instruction"})  # sent by picker.js and the presets of components.py
_MAX_NUMBER = 2**53  # largest integer that JavaScript represents exactly


def allowed_methods(path: str) -> frozenset[str]:
    """Return the methods that the page uses for this path; empty if it does not use the path."""
    if path == JOIN:
        return frozenset({"POST"})
    if path in (STREAM, _APP_ID) or path.startswith(HEARTBEAT):
        return frozenset({"GET"})
    if path in _FILES or _ASSET.fullmatch(path):
        return frozenset({"GET", "HEAD"})
    return frozenset()


def page_id(value: object) -> str:
    """Return a `session_hash` that a browser chose. Raise BadRequest if its form is invalid."""
    if not isinstance(value, str) or not _PAGE.fullmatch(value):
        raise BadRequest("The session_hash is invalid.", hint=HINT)
    return value


@dataclass(frozen=True)
class _Shape:
    """The allowed content of an event: for each value whether the server keeps it, and whether the event has event data."""

    stateful: tuple[bool, ...]
    collects_event_data: bool


class EventSchema:
    """The events of a Blocks app, to validate those that browsers send."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._components = frozenset(blocks.blocks) | {0}  # 0: the page itself, for the load event
        self._shapes = {
            number: _Shape(tuple(block.stateful for block in event.inputs), bool(event.collects_event_data))
            for number, event in blocks.fns.items()
            if callable(event.fn)
        }

    def check(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the event with validated content only. Raise BadRequest or ImageTooLarge."""
        if event.keys() - _KEYS:
            raise BadRequest("The event has unknown keys.", hint=HINT)
        number, trigger = event.get("fn_index"), event.get("trigger_id")
        shape = self._shapes.get(number) if type(number) is int else None
        if shape is None or not (trigger is None or (type(trigger) is int and trigger in self._components)):
            raise BadRequest("The event is unknown.", hint=HINT)
        return {
            "data": _values(event.get("data"), shape),
            "event_data": _event_data(event.get("event_data"), shape),
            "fn_index": number,
            "trigger_id": trigger,
            "session_hash": page_id(event.get("session_hash")),
        }


def _values(data: object, shape: _Shape) -> list[Any]:
    if not isinstance(data, list) or len(data) != len(shape.stateful):
        raise BadRequest("The event has a wrong number of values.", hint=HINT)
    if any(stateful and value is not None for stateful, value in zip(shape.stateful, data, strict=True)):
        raise BadRequest("The event contains values that only the server may set.", hint=HINT)
    _check_scalars(data)
    return data


def _event_data(data: object, shape: _Shape) -> dict[str, Any] | None:
    if data is None:
        return None
    if not shape.collects_event_data or not isinstance(data, dict) or data.keys() - _EVENT_DATA:
        raise BadRequest("The event data is invalid.", hint=HINT)
    _check_scalars(data.values())
    return data


def _check_scalars(values: Collection[object]) -> None:
    for value in values:
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, (int, float)):
            if abs(value) > _MAX_NUMBER:
                raise BadRequest("A number in the event is too large.", hint=HINT)
        elif value is not None:
            raise BadRequest("Values of an event must be strings, numbers, booleans or null.", hint=HINT)


def _check_text(value: str) -> None:
    if len(value) > MAX_TEXT:
        raise ImageTooLarge(f"A string in the event has more than {MAX_TEXT} characters.", hint="Send a shorter text.")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadRequest("A string in the event is not valid Unicode.", hint=HINT)
