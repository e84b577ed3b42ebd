"""The base class of all errors that clients see."""

from __future__ import annotations


class HunyuanOcrError(Exception):
    """Base class. `message` says what went wrong, `hint` what the client can do about it."""

    code = "internal_error"
    hint = "Try again. If the error persists, send the request id to the administrator."
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else type(self).hint
