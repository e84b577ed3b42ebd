"""Errors in what a client sends: files, parameters, schemas."""

from __future__ import annotations

from hunyuanocr.errors.base import HunyuanOcrError


class BadRequest(HunyuanOcrError):
    """The request is malformed."""

    code = "bad_request"
    hint = "See /docs for the request format."


class InvalidValue(HunyuanOcrError):
    """A parameter has an invalid value."""

    code = "invalid_value"
    hint = "See /docs for the allowed values."


class EmptyInput(BadRequest):
    """The request contains no image."""

    code = "empty_input"
    hint = "Send an image: multipart field 'file', or JSON with base64 in 'image'."


class TooManyFiles(BadRequest):
    """The request contains more than one file."""

    code = "one_file_only"
    hint = "Send one file per request. A PDF or TIFF may have several pages."


class InvalidBase64(BadRequest):
    """The JSON field 'image' is neither base64 nor a data URI."""

    code = "invalid_base64"
    hint = "Send raw base64 or a data URI (data:image/jpeg;base64,…)."


class RemoteImageRefused(BadRequest):
    """The request contains a URL instead of an image."""

    code = "remote_picture"
    hint = "Send the image itself as a data URI (data:image/jpeg;base64,…)."


class UnreadableImage(BadRequest):
    """The file has a supported type but cannot be decoded."""

    code = "unreadable_image"
    hint = "The file is damaged or incomplete. Take the photo or save the file again."


class PasswordProtected(BadRequest):
    """The PDF is protected by a password."""

    code = "pdf_password"
    hint = "Save the PDF without a password and send it again."


class UnsupportedMedia(HunyuanOcrError):
    """The file is neither a supported image nor a PDF, or the content type of the request is not supported."""

    code = "unsupported_media_type"
    hint = "Send JPEG, PNG, BMP, GIF, WebP, TIFF, HEIC, AVIF or PDF."


class UnsupportedCompression(UnsupportedMedia):
    """The file has a supported type and is not damaged, but its compression or pixel format is not supported."""

    code = "unsupported_compression"
    hint = "Save the image as JPEG, PNG or PDF, or a TIFF with LZW or CCITT compression, and send it again."


class ImageTooLarge(HunyuanOcrError):
    """The file exceeds the limit of bytes or pixels."""

    code = "image_too_large"
    hint = "Send a smaller image."


class ImageTooLargeForMemory(ImageTooLarge):
    """The image and its output do not fit the memory of the model."""

    code = "image_too_large_for_memory"
    hint = "Send a smaller image, or start the server with more memory for the model (--vram-gb)."


class BatchTooLarge(ImageTooLarge):
    """The batch has too many files or too many bytes."""

    code = "batch_too_large"
    hint = "Split the batch into several requests."


class TooManyPages(HunyuanOcrError):
    """The PDF or TIFF exceeds the page limit."""

    code = "too_many_pages"
    hint = "Split the document and send the parts separately."


class DocumentTooComplex(HunyuanOcrError):
    """Opening the file exceeds the limit of time or memory."""

    code = "document_too_complex"
    hint = "Save each page as an image and send the images. Limits: 'images.pdf_timeout_s' and 'images.pdf_memory_mb'."


class TaskNotSupported(HunyuanOcrError):
    """The active backend does not support this kind of task."""

    code = "task_not_supported"


class UnknownTask(InvalidValue):
    """`task` is not the name of a task."""

    code = "unknown_task"


class InvalidSchema(InvalidValue):
    """`schema` is not a JSON Schema of an object."""

    code = "invalid_schema"
    hint = "Send a JSON Schema with type 'object' and 'properties'."


class SchemaNotSatisfied(HunyuanOcrError):
    """The values on the page do not satisfy the client's schema."""

    code = "schema_not_satisfied"
    hint = "Allow null for fields that may be missing, or use 'fields' instead of 'schema'."


class WebhookNotAllowed(InvalidValue):
    """The host of the webhook URL is not on the allow list."""

    code = "webhook_refused"
    hint = "The administrator must add the host to the setting 'jobs.webhook_hosts'."
