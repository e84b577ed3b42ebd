"""Errors of stored data: records, jobs, the database."""

from __future__ import annotations

from hunyuanocr.errors.base import HunyuanOcrError


class NotFound(HunyuanOcrError):
    """The item does not exist, or belongs to another owner; clients cannot distinguish the two."""

    code = "not_found"
    hint = "Check the id. Deleted items and items older than the retention time no longer exist."


class StoreDisabled(NotFound):
    """The store is disabled in the settings."""

    code = "store_off"
    hint = "Enable the setting 'store.enabled' and restart the server."


class StoreUnavailable(HunyuanOcrError):
    """The database cannot be reached, read or written; the hint gives the cause. `waited`: raised after a wait."""

    code = "store_unavailable"
    hint = "Wait a moment and try again. If the error persists, check the disk and the setting 'store.url'."
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 5.0, hint: str | None = None, waited: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.waited = waited


class IdempotencyConflict(HunyuanOcrError):
    """The Idempotency-Key was already used for a different request."""

    code = "idempotency_conflict"
    hint = "Use a new key for each request. Reuse a key only to repeat the same request."


class JobAlreadyFinished(HunyuanOcrError):
    """The job is finished and cannot be cancelled."""

    code = "job_over"
    hint = "To delete the result, delete the record with the id of the job."
