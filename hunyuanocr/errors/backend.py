"""Errors of backends and decoders: unavailable, failed, too slow."""

from __future__ import annotations

from hunyuanocr.errors.base import HunyuanOcrError


class BackendUnavailable(HunyuanOcrError):
    """The backend is loading or closed, or the circuit breaker is open after repeated failures."""

    code = "reader_unavailable"
    hint = "Wait a moment and try again. /ready reports when the backend is available."
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 5.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class DecodingBusy(BackendUnavailable):
    """Too many documents or large images are being decoded; this one would wait too long."""

    code = "decoding_busy"
    hint = "Wait for the time in Retry-After and try again."


class RendererUnavailable(BackendUnavailable):
    """The processes that render PDFs do not start, or are being stopped. Images are not affected."""

    code = "renderer_unavailable"
    hint = "Wait a moment and try again. /ready reports when PDFs can be rendered."


class BackendFailed(HunyuanOcrError):
    """The backend failed on this image."""

    code = "reader_failed"
    hint = "Try again. If the same image fails again, keep it and report it."


class BackendCrashed(BackendFailed):
    """The process crashed repeatedly while it read this image."""

    code = "reader_crashed"
    hint = "Keep the image and report it. It is not read again."


class OutputTruncated(BackendFailed):
    """The model's output ended before its JSON was complete, so that none of its fields can be trusted."""

    code = "output_truncated"
    hint = "Request fewer fields, or send fewer pages at a time."


class DeadlineExceeded(HunyuanOcrError):
    """The request exceeded its deadline and was cancelled."""

    code = "deadline_exceeded"
    hint = "Send a smaller image or fewer pages, or increase 'pipeline.deadline_s' (for jobs 'jobs.deadline_s')."
    retryable = True


class ModelLoading(HunyuanOcrError):
    """Another model is being loaded; only one can be loaded at a time."""

    code = "model_busy"
    hint = "Wait until the model is loaded. /v1/models reports its state."
    retryable = True
