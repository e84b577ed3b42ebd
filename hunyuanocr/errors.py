"""Every failure that a client may see: a class with a stable `code`, a `hint` that says what to do, and `retryable`.

`api.errors` maps classes to status codes; nothing below the API knows HTTP.
"""

from __future__ import annotations

import errno


class HunyuanOcrError(Exception):
    """Base of the family. `message` says what went wrong, `hint` what the person can do about it."""

    code = "internal_error"
    hint = "Try again; if it happens again, send the request id to whoever runs this machine."
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else type(self).hint


class BadRequest(HunyuanOcrError):
    """The request cannot be understood."""

    code = "bad_request"
    hint = "See /docs for the form of a request."


class InvalidValue(HunyuanOcrError):
    """A parameter has a value that it cannot have."""

    code = "invalid_value"
    hint = "See /docs for the values it takes."


class EmptyInput(BadRequest):
    """No picture came."""

    code = "empty_input"
    hint = "Send a picture: multipart field 'file', or JSON with base64 in 'image'."


class TooManyFiles(BadRequest):
    """More than one file came with one request."""

    code = "one_file_only"
    hint = "Send one file a request; a PDF or TIFF may hold several pages."


class InvalidBase64(BadRequest):
    """The JSON field 'image' is neither base64 nor a data URI."""

    code = "invalid_base64"
    hint = "Send raw base64 or a data URI (data:image/jpeg;base64,…)."


class RemoteImageRefused(BadRequest):
    """An address came in place of a picture."""

    code = "remote_picture"
    hint = "Send the picture itself, as a data URI (data:image/jpeg;base64,…)."


class UnreadableImage(BadRequest):
    """The bytes look like a picture but cannot be decoded."""

    code = "unreadable_image"
    hint = "The file is damaged or incomplete; take or save the picture again."


class PasswordProtected(BadRequest):
    """A PDF that asks for a password."""

    code = "pdf_password"
    hint = "Save the PDF without a password and send it again."


class UnsupportedMedia(HunyuanOcrError):
    """The bytes are no picture and no PDF, or the request's content type is not one that we read."""

    code = "unsupported_media_type"
    hint = "Send JPEG, PNG, BMP, GIF, WebP, TIFF, HEIC or PDF."


class ImageTooLarge(HunyuanOcrError):
    """More bytes or pixels than the limits allow."""

    code = "image_too_large"
    hint = "Send a smaller picture."


class ImageTooLargeForMemory(ImageTooLarge):
    """The picture and its answer do not fit the memory that the model was given."""

    code = "image_too_large_for_memory"
    hint = "Send a smaller picture, or start the server with more memory for the model (--vram-gb)."


class BatchTooLarge(ImageTooLarge):
    """More files, or more bytes in all, than a batch may have."""

    code = "batch_too_large"
    hint = "Send it in parts."


class TooManyPages(HunyuanOcrError):
    """A PDF or TIFF with more pages than the limit."""

    code = "too_many_pages"
    hint = "Split the document and send its parts."


class DocumentTooComplex(HunyuanOcrError):
    """A file that needs more time or memory to open than the limits."""

    code = "document_too_complex"
    hint = "Save each page as a picture and send that. Limits: 'images.pdf_timeout_s' and 'images.pdf_memory_mb'."


class TaskNotSupported(HunyuanOcrError):
    """The active backend cannot do this kind of task."""

    code = "task_not_supported"


class UnknownTask(InvalidValue):
    """`task` names no task."""

    code = "unknown_task"


class InvalidSchema(InvalidValue):
    """`schema` is no JSON Schema of an object."""

    code = "invalid_schema"
    hint = "Send a JSON Schema with type 'object' and 'properties'."


class SchemaNotSatisfied(HunyuanOcrError):
    """What stands on the page does not fit the client's schema."""

    code = "schema_not_satisfied"
    hint = "Allow null for fields that may be missing, or ask with 'fields' instead of 'schema'."


class QueueFull(HunyuanOcrError):
    """Too many requests wait already."""

    code = "queue_full"
    hint = "Wait a moment and send it again."
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TooManyCameras(QueueFull):
    """As many cameras are connected as the settings allow."""

    code = "too_many_cameras"
    hint = "Close cameras that are not used, or raise 'camera.connections' in the settings."


class TooManyRequests(QueueFull):
    """More requests a minute than the settings allow one address or one key."""

    code = "too_many_requests"
    hint = (
        "Wait as long as Retry-After says; whoever runs this machine can raise 'network.requests_per_minute_per_ip' and "
        "'network.requests_per_minute_per_key'."
    )


class TooManyAuthFailures(TooManyRequests):
    """Too many requests of one address came with a wrong key or with none."""

    code = "too_many_failures"
    hint = "Correct the key, wait as long as Retry-After says, and send it again."


class UploadBudgetExceeded(QueueFull):
    """As many bytes of requests are in memory as the settings allow, in all or from one address."""

    code = "uploads_full"
    hint = "Wait a moment and send it again, fewer at a time; whoever runs this machine can raise 'network.upload_memory_mb'."


class BackendUnavailable(HunyuanOcrError):
    """The reader is loading, closed, or has failed so often that it is given a rest."""

    code = "reader_unavailable"
    hint = "Wait a moment and send it again; /ready tells when the reader is back."
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 5.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class DecodingBusy(BackendUnavailable):
    """So many documents wait to be opened, or so many large pictures are being decoded, that this one would wait too long."""

    code = "decoding_busy"
    hint = "Wait as long as Retry-After says and send it again."


class RendererUnavailable(BackendUnavailable):
    """The processes that draw PDFs do not start, or are being ended. Pictures are read all the same."""

    code = "renderer_unavailable"
    hint = "Wait a moment and send it again; /ready reports when PDFs can be read again."


class BackendFailed(HunyuanOcrError):
    """The reader broke on this picture."""

    code = "reader_failed"
    hint = "Try again; if this picture fails again, keep it and report it."


class BackendCrashed(BackendFailed):
    """The whole process died while this picture was read, again and again."""

    code = "reader_crashed"
    hint = "Keep this picture and report it; it is not tried again."


class DeadlineExceeded(HunyuanOcrError):
    """The answer did not come in time; the work was cancelled."""

    code = "deadline_exceeded"
    hint = "Send a smaller picture or fewer pages, or raise 'deadline_s' in the settings."
    retryable = True


class NotFound(HunyuanOcrError):
    """There is no such thing, or it is another owner's: the answer is the same."""

    code = "not_found"
    hint = "Look at the id; what was deleted or is older than the retention is gone."


class StoreDisabled(NotFound):
    """The owner has switched the store off."""

    code = "store_off"
    hint = "Switch the setting 'store.enabled' on and start again."


class StoreUnavailable(HunyuanOcrError):
    """The database cannot be reached, read or written now; the hint says what is wrong with it. `waited`: only after a wait."""

    code = "store_unavailable"
    hint = "Wait a moment and send it again; if it stays, look at the disk and at the setting 'store.url'."
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 5.0, hint: str | None = None, waited: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.waited = waited


class OutOfDescriptors(HunyuanOcrError):
    """The process or the machine has no file descriptor left, or no memory for one more socket."""

    code = "out_of_descriptors"
    hint = "Wait a moment and send it again; the administrator can raise 'ulimit -n'."
    retryable = True
    retry_after = 5.0


def from_unexpected(error: BaseException) -> HunyuanOcrError:
    """What a client hears of an error that nobody expected: one of ours as it is; a lack of descriptors, which passes; or that
    something broke inside.
    """
    if isinstance(error, HunyuanOcrError):
        return error
    if out_of_descriptors(error):
        return OutOfDescriptors("The machine has too many files and connections open.")
    return HunyuanOcrError("Something broke inside.")


def out_of_descriptors(error: BaseException) -> bool:
    """Whether it, or what caused it, is that no file descriptor was left (errno 24, 23)."""
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        if isinstance(now, OSError) and now.errno in (errno.EMFILE, errno.ENFILE):
            return True
        now = now.__cause__ or now.__context__
    return False


class Forbidden(HunyuanOcrError):
    """Not for whoever asks, or not from where he asks."""

    code = "forbidden"
    hint = "Ask on the machine itself, at 127.0.0.1."


class IpNotAllowed(Forbidden):
    """The settings let this address not in."""

    code = "address_refused"
    hint = "Whoever runs this machine names the addresses that may come in, in the setting 'network.allow'."


class MissingScope(Forbidden):
    """A known key or token that is not good for this."""

    code = "missing_scope"
    hint = "Ask whoever runs this machine for a key with this scope."


class CrossOriginRefused(Forbidden):
    """A browser asks on behalf of another website, or by a name that this machine does not have."""

    code = "foreign_site"
    hint = (
        "Open the page by this machine's own address; the settings 'network.origins' and 'security.public_hostnames' let "
        "others ask."
    )


class Unauthorized(HunyuanOcrError):
    """Nobody knows who asks."""

    code = "unauthorized"
    hint = "Send a key as 'Authorization: Bearer …' or 'X-API-Key: …' (the owner makes one: hunyuanocr keys create)."


class InvalidCredential(Unauthorized):
    """A key, token, ticket or code that is wrong, revoked, used or too old; which of them is not told."""

    code = "bad_key"
    hint = "Ask whoever runs this machine for a new one."


class ModelLoading(HunyuanOcrError):
    """A model is being loaded; one at a time."""

    code = "model_busy"
    hint = "Wait until it serves: /v1/models tells."
    retryable = True


class IdempotencyConflict(HunyuanOcrError):
    """An Idempotency-Key that was used for another request."""

    code = "idempotency_conflict"
    hint = "Use a new key for each request, and the same one only to repeat a request."


class JobAlreadyFinished(HunyuanOcrError):
    """A job that has ended cannot be cancelled any more."""

    code = "job_over"
    hint = "Nothing is left to cancel; to delete its answer, delete the record with the job's id."


class WebhookNotAllowed(InvalidValue):
    """A webhook address that this appliance must not call."""

    code = "webhook_refused"
    hint = "Whoever runs this machine names the hosts that may be called in the setting 'jobs.webhook_hosts'."


class MissingDependency(HunyuanOcrError):
    """A package that this choice needs is not installed; the hint is the install line."""

    code = "missing_dependency"


class ConfigError(HunyuanOcrError):
    """The settings cannot work; said at start, never later."""

    code = "config_error"
    hint = "Correct the setting and start again."


class WeightsMissing(ConfigError):
    """The folder of the model is not there, or files of it are not."""

    code = "weights_missing"
    hint = "Get them with: .venv/bin/hunyuanocr fetch"


class WeightsInvalid(ConfigError):
    """The files of the model are there but do not fit together: cut off, of another model, or in a form that is refused."""

    code = "weights_broken"
    hint = "Get them again with: .venv/bin/hunyuanocr fetch --force"


class OutputTruncated(BackendFailed):
    """The model's answer ended before its JSON was complete, so that no field of it can be trusted."""

    code = "output_truncated"
    hint = "Ask for fewer fields, or send fewer pages at a time."
