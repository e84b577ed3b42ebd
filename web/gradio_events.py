"""What Gradio is given of requests: the routes that the page uses, and events that hold flat values only.

Gradio opens every dict of the form `{"path": …, "meta": {"_type": "gradio.FileData"}}` that it finds in an event's values, inside
the event loop: files of this machine, devices that never end, addresses. No event of our page has a dict or list as a value.
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
MAX_EVENT_BYTES = 128 * 1024  # a text of MAX_TEXT characters, each written as six
MAX_TEXT = 16 * 1024  # characters; an instruction of more than 4,000 gets an error of its own
HINT = "Open the page again."
_APP_ID = f"{API}app_id"  # an open page that lost the connection asks whether the program is still the same
_FILES = frozenset({"/", "/config", "/theme.css", "/favicon.ico"})
_ASSET = re.compile(r"/(?:assets|static)(?:/[\w@~+-][\w@~+.-]*)+", re.ASCII)
_PAGE = re.compile(r"[\w-]{1,64}", re.ASCII)
_KEYS = frozenset({"data", "event_data", "fn_index", "trigger_id", "session_hash"})
_EVENT_DATA = frozenset({"token", "reason", "instruction"})  # what picker.js and the presets of parts.py send
_MAX_NUMBER = 2**53  # what a browser counts exactly


def allowed_methods(path: str) -> frozenset[str]:
    """Methods with which the page uses this path; none where it does not use it."""
    if path == JOIN:
        return frozenset({"POST"})
    if path in (STREAM, _APP_ID) or path.startswith(HEARTBEAT):
        return frozenset({"GET"})
    if path in _FILES or _ASSET.fullmatch(path):
        return frozenset({"GET", "HEAD"})
    return frozenset()


def page_id(value: object) -> str:
    """The `session_hash` that a browser made up. Raises BadRequest for one that no browser makes up."""
    if not isinstance(value, str) or not _PAGE.fullmatch(value):
        raise BadRequest("This is no page of ours.", hint=HINT)
    return value


@dataclass(frozen=True)
class _Shape:
    """What an event may hold: how many values, which of them the server keeps itself, and whether it has data of its own."""

    stateful: tuple[bool, ...]
    collects_event_data: bool


class EventSchema:
    """The events that a Blocks app has, and the check of one that came from a browser."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._components = frozenset(blocks.blocks) | {0}  # 0: the page itself, which loads
        self._shapes = {
            number: _Shape(tuple(block.stateful for block in event.inputs), bool(event.collects_event_data))
            for number, event in blocks.fns.items()
            if callable(event.fn)
        }

    def check(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with nothing in it but what was checked. Raises BadRequest, ImageTooLarge."""
        if event.keys() - _KEYS:
            raise BadRequest("The event has keys that the page does not send.", hint=HINT)
        number, trigger = event.get("fn_index"), event.get("trigger_id")
        shape = self._shapes.get(number) if type(number) is int else None
        if shape is None or not (trigger is None or (type(trigger) is int and trigger in self._components)):
            raise BadRequest("The page has no such event.", hint=HINT)
        return {
            "data": _values(event.get("data"), shape), "event_data": _event_data(event.get("event_data"), shape),
            "fn_index": number, "trigger_id": trigger, "session_hash": page_id(event.get("session_hash")),
        }  # fmt: skip


def _values(data: object, shape: _Shape) -> list[Any]:
    if not isinstance(data, list) or len(data) != len(shape.stateful):
        raise BadRequest("The event has another number of values.", hint=HINT)
    if any(kept and value is not None for kept, value in zip(shape.stateful, data, strict=True)):
        raise BadRequest("What the server keeps itself is not sent.", hint=HINT)
    _flat(data)
    return data


def _event_data(data: object, shape: _Shape) -> dict[str, Any] | None:
    if data is None:
        return None
    if not shape.collects_event_data or not isinstance(data, dict) or data.keys() - _EVENT_DATA:
        raise BadRequest("The event's data is not what the page sends.", hint=HINT)
    _flat(data.values())
    return data


def _flat(values: Collection[object]) -> None:
    for value in values:
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, (int, float)):
            if abs(value) > _MAX_NUMBER:
                raise BadRequest("The event has a number that is too large.", hint=HINT)
        elif value is not None:
            raise BadRequest("Values of an event are texts, numbers, true, false or null.", hint=HINT)


def _check_text(value: str) -> None:
    if len(value) > MAX_TEXT:
        raise ImageTooLarge(f"A text of the event has more than {MAX_TEXT} characters.", hint="Send a shorter one.")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadRequest("A text of the event is not Unicode.", hint=HINT)
