"""Logging: readable lines, or one JSON object per line, without data of users.

Three rules keep images, page texts and instructions out of the logs. No log call of ours contains them. The configured level
applies to our own packages only; libraries, some of which log whole messages at debug level, log warnings only. Exceptions are
logged with type and source lines; their message only if it cannot contain user data (`_SAFE_MESSAGES`).
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

OWN_PACKAGES = ("api", "hunyuanocr", "web", "app_web")
_SAFE_MESSAGES = (HunyuanOcrError, OSError, RuntimeError, MemoryError, ImportError, AttributeError, TypeError, sqlite3.Error)
_OMITTED = "(message omitted: it may contain user data)"
_request: ContextVar[str] = ContextVar("request", default="")

_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


@contextmanager
def request_context(request_id: str) -> Iterator[None]:
    """Add the request id to all messages that are logged inside, also in tasks and threads that start there."""
    token = _request.set(request_id)
    try:
        yield
    finally:
        _request.reset(token)


def configure_logging(settings: LogSettings) -> None:
    """Log to stderr, and to a file if one is set. Raise ConfigError if the file cannot be written."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.file is not None:
        handlers.append(_file(settings))
    formatter = JsonFormatter() if settings.format == "json" else TextFormatter()
    codecs.lookup("unicode_escape")  # loaded now, because it cannot be loaded later without file descriptors
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(RepeatFilter(handler))
        limit_errors(handler)
    logging.basicConfig(handlers=handlers, level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(settings.level.upper())


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
        hint = "Grant the user of this program write permission, or choose another file in the setting 'log.file'."
        raise ConfigError(f"The log file {file} cannot be written: {e.strerror}.", hint=hint) from e


class TextFormatter(logging.Formatter):
    """Format a record as one readable line, with the request id at the end if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return one line. Line breaks and control characters, which a path may contain, are escaped."""
        line = _escape(super().formatMessage(record))
        request = _request.get()
        return f"{line} request={request}" if request and request not in line else line

    def formatException(self, ei: _ExceptionInfo) -> str:
        """Return the source lines and the type of the exception."""
        return "" if ei[1] is None else format_exception_chain(ei[1])


class JsonFormatter(logging.Formatter):
    """Format a record as a JSON object: `time` (UTC), `level`, `logger`, `message`, `request_id`, extra fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return JSON (RFC 8259) in ASCII, independent of the encoding of log collectors."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := _request.get():
            line["request_id"] = request
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line = fields | line  # our keys take precedence
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = format_exception_chain(record.exc_info[1])
        return json.dumps(line, default=str)


def _escape(text: str) -> str:
    """Escape characters that are not printable, to prevent forged log lines."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def format_exception_chain(error: BaseException) -> str:
    """Return the exception and its causes, first cause first: source lines, type, and the message if it is safe."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        inner = [format_exception_chain(e) for e in current.exceptions] if isinstance(current, BaseExceptionGroup) else []
        message = _escape(str(current)) if isinstance(current, _SAFE_MESSAGES) else _OMITTED
        trace = "".join(traceback.format_tb(current.__traceback__))
        parts.append("\n".join([f"{trace}{type(current).__module__}.{type(current).__qualname__}: {message}", *inner]))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n\ncaused:\n\n".join(reversed(parts))
