"""What the program writes down about its work: lines for people, or one JSON object a line. Never what people send it.

Three things keep pictures, texts and instructions out. No line of ours names them. The level is that of our own rooms alone:
libraries, some of which write down whole messages when asked to debug, tell warnings only. And of an exception the type and the
places in the code are written, its words only where they cannot hold what was sent (`_SPEAK`).
"""

from __future__ import annotations

import codecs
import json
import logging
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from types import TracebackType
from typing import Any

from hunyuanocr.config import LogSettings
from hunyuanocr.errors import ConfigError, HunyuanOcrError
from hunyuanocr.log_limits import RepeatFilter, limit_errors

ROOMS = ("api", "hunyuanocr", "web", "app_web")
_SPEAK = (HunyuanOcrError, OSError, RuntimeError, MemoryError, ImportError, AttributeError, TypeError, sqlite3.Error)
_SILENT = "(its words are left out: they may hold what was sent)"
_request: ContextVar[str] = ContextVar("request", default="")

_Failure = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


@contextmanager
def request_context(request_id: str) -> Iterator[None]:
    """Lines that are written inside carry this id, in tasks and threads that begin there as well."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


def configure_logging(settings: LogSettings) -> None:
    """Write to stderr, and to a file if one is wanted. Raises ConfigError for a file that cannot be written."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.file is not None:
        handlers.append(_file(settings))
    formatter = JsonFormatter() if settings.format == "json" else TextFormatter()
    codecs.lookup("unicode_escape")  # now: out of descriptors its module could not be loaded
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(RepeatFilter(handler))
        limit_errors(handler)
    logging.basicConfig(handlers=handlers, level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    for room in ROOMS:
        logging.getLogger(room).setLevel(settings.level.upper())


def _file(settings: LogSettings) -> logging.Handler:
    file = settings.file
    if file is None:
        raise ValueError("no file")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return RotatingFileHandler(
            file, maxBytes=int(settings.file_mb * 1e6), backupCount=settings.files, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as e:
        hint = "Let this program's user write there, or choose another file with the setting 'log.file'."
        raise ConfigError(f"The log file {file} cannot be written: {e.strerror}.", hint=hint) from e


class TextFormatter(logging.Formatter):
    """A line for people; with the request's id at its end, where it belongs to one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, whatever is in it: a path may hold line breaks, and what a terminal would obey."""
        line = _plain(super().formatMessage(record))
        request = _request.get()
        return f"{line} request={request}" if request and request not in line else line

    def formatException(self, ei: _Failure) -> str:
        """Where it broke."""
        return "" if ei[1] is None else format_exception_chain(ei[1])


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (UTC), `level`, `logger`, `message`, `request_id`, the fields of the line, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """As RFC 8259 has it, in ASCII, so that no collector's coding matters."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if request := _request.get():
            line["request_id"] = request
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line = fields | line  # ours win
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = format_exception_chain(record.exc_info[1])
        return json.dumps(line, default=str)


def _plain(words: str) -> str:
    """What is no letter to be seen as its escape, so that nobody writes lines of his own."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words)


def format_exception_chain(error: BaseException) -> str:
    """The error and what caused it, the first cause first: places in the code, types, and words that cannot be anybody's text."""
    parts: list[str] = []
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        inner = [format_exception_chain(e) for e in now.exceptions] if isinstance(now, BaseExceptionGroup) else []
        words = _plain(str(now)) if isinstance(now, _SPEAK) else _SILENT
        places = "".join(traceback.format_tb(now.__traceback__))
        parts.append("\n".join([f"{places}{type(now).__module__}.{type(now).__qualname__}: {words}", *inner]))
        now = now.__cause__ or (None if now.__suppress_context__ else now.__context__)
    return "\n\ncaused:\n\n".join(reversed(parts))
