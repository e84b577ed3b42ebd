"""Errors of exceeded rates and exhausted resources, and the mapping of unexpected exceptions."""

from __future__ import annotations

import errno

from hunyuanocr.errors.base import HunyuanOcrError


class QueueFull(HunyuanOcrError):
    """Too many requests are waiting."""

    code = "queue_full"
    hint = "Wait a moment and try again."
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TooManyCameras(QueueFull):
    """The limit of connected cameras is reached."""

    code = "too_many_cameras"
    hint = "Disconnect unused cameras, or increase the setting 'camera.connections'."


class TooManyRequests(QueueFull):
    """The rate limit of this IP address or key is exceeded."""

    code = "too_many_requests"
    hint = (
        "Wait for the time in Retry-After. The administrator can increase 'network.requests_per_minute_per_ip' and "
        "'network.requests_per_minute_per_key'."
    )


class TooManyAuthFailures(TooManyRequests):
    """Too many requests from one IP address had an invalid key or none."""

    code = "too_many_failures"
    hint = "Correct the key, wait for the time in Retry-After, and try again."


class UploadBudgetExceeded(QueueFull):
    """The memory for uploads is in use, in total or for this IP address."""

    code = "uploads_full"
    hint = "Wait a moment and upload fewer files at a time. The administrator can increase 'network.upload_memory_mb'."


class OutOfDescriptors(HunyuanOcrError):
    """The process or the system has no free file descriptor, or no memory for another socket."""

    code = "out_of_descriptors"
    hint = "Wait a moment and try again. The administrator can increase 'ulimit -n'."
    retryable = True
    retry_after = 5.0


def from_unexpected(error: BaseException) -> HunyuanOcrError:
    """Return the error to show to the client for any exception.

    A HunyuanOcrError is returned unchanged, a lack of file descriptors becomes OutOfDescriptors (a client may try again), and
    everything else becomes an internal error without details.
    """
    if isinstance(error, HunyuanOcrError):
        return error
    if out_of_descriptors(error):
        return OutOfDescriptors("The server has too many open files and connections.")
    return HunyuanOcrError("An internal error occurred.")


def out_of_descriptors(error: BaseException) -> bool:
    """Return whether the exception or one of its causes is a lack of file descriptors (EMFILE or ENFILE)."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno in (errno.EMFILE, errno.ENFILE):
            return True
        current = current.__cause__ or current.__context__
    return False
