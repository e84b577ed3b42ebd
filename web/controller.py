"""The actions of the page, without Gradio: open an upload, read it, render the result."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import nullcontext
from dataclasses import dataclass

from api.auth.audit import AuditLogWriter
from api.auth.identity import LOCAL_ADMIN, Identity
from hunyuanocr.config import Settings
from hunyuanocr.errors import EmptyInput, HunyuanOcrError, ImageTooLarge, UploadBudgetExceeded
from hunyuanocr.images import is_document
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.result_schema import OcrResponse
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.types import Page, Result, ResultWarning
from web.i18n import Language, escape_html, translate
from web.preview_html import make_previews, render_pages
from web.result_html import muted, render_codes, render_error, render_fields, render_text, render_warnings
from web.upload_store import OpenedUpload, PendingUploads, PictureCache

_MAX_CONCURRENT_DECODES = 2  # images decoded for previews; each may have up to `images.max_pixels`
_UPLOAD_TTL_S = 60.0  # a page opens its upload immediately; one that is not opened was abandoned
_PICTURE_TTL_S = 900.0  # after that the user chooses the image again


@dataclass(frozen=True)
class Session:
    """The state of one open page. `token` names the image and its last result in the PictureCache."""

    token: str | None = None
    notices: tuple[ResultWarning, ...] = ()  # warnings about the image before it is read
    owner: str | None = None  # owner of the image; other identities cannot use the session


@dataclass(frozen=True)
class View:
    """HTML of each part of the page; `tab` is the tab to select."""

    notices: str = ""
    picture: str = ""
    fields: str = ""
    text: str = ""
    json: str = ""
    tab: str = "fields"


class PageController:
    """Accept uploads and read them with the pipeline. Uploads are kept in memory only.

    Results are recorded like those of the API and are written to the audit log.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, recorder: Recorder, audit_log: AuditLogWriter) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.recorder = recorder
        self.audit_log = audit_log
        self._opening = asyncio.Semaphore(_MAX_CONCURRENT_DECODES)
        self.uploads = PendingUploads(4 * settings.images.max_bytes, _UPLOAD_TTL_S)
        self.pictures = PictureCache(4 * settings.images.max_bytes, _PICTURE_TTL_S)

    async def open_upload(
        self, token: str, language: Language, identity: Identity = LOCAL_ADMIN, address: str = ""
    ) -> tuple[Session, View]:
        """Open a pending upload. Return the new session and the preview with warnings, or an error."""
        try:
            data = self.uploads.take(token, identity.fingerprint)
            async with nullcontext() if is_document(data) else self._opening:  # documents have a queue of their own; see PdfPool
                pages = await self.pipeline.decoding.preview(data, identity.fair_key(address))
            upload, notices = await asyncio.to_thread(_opened, data, pages)
        except HunyuanOcrError as e:
            return Session(), View(notices=render_error(e, language))
        session = Session(self.pictures.put(upload, identity.fingerprint), notices=notices, owner=identity.owner)
        return session, self.render(session, language)

    async def run(
        self, session: Session, instruction: str, language: Language, identity: Identity = LOCAL_ADMIN, address: str = ""
    ) -> tuple[Session, View]:
        """Read the chosen image with an instruction. The result is stored as a record of the identity."""
        session = self.own_session(session, identity)
        upload = self.pictures.get(session.token)
        if upload is None:
            text = translate("expired" if session.token else "no_picture", language)
            return session, View(notices=f'<div class="notice" role="status" data-code="no_picture">{text}</div>')
        try:
            task = parse_instruction(instruction)
            request = Request(upload.data, task, owner=identity.owner, client=identity.fair_key(address))
            result = await self.pipeline.run(request)
        except HunyuanOcrError as e:
            self._keep(session, upload, None, identity)
            return session, View(notices=render_error(e, language), picture=_preview(session, upload, language))
        result = await asyncio.shield(self._record(result, identity, instruction, upload, address))
        self._keep(session, upload, result, identity)
        return session, self.render(session, language)

    async def _record(self, result: Result, identity: Identity, instruction: str, upload: OpenedUpload, address: str) -> Result:
        """Write the record and its audit entry, both or none: the caller may be cancelled."""
        recorded = await self.recorder.record(
            result, owner=identity.owner, source="page", instruction=instruction, image=upload.data
        )
        self.audit_log.record(identity, "create", f"/v1/records/{result.id}", address=address)
        return recorded

    def _keep(self, session: Session, upload: OpenedUpload, result: Result | None, identity: Identity) -> None:
        self.pictures.put(upload.with_result(result), identity.fingerprint, session.token)

    @staticmethod
    def own_session(session: Session, identity: Identity) -> Session:
        """Return the session if it belongs to the identity, otherwise a new one. Gradio's `session_hash` does not prove that."""
        return session if session.owner in (None, identity.owner) else Session()

    def render(self, session: Session, language: Language) -> View:
        """Render the image and the result of the session in `language`."""
        upload = self.pictures.get(session.token)
        if upload is None or upload.result is None:
            return View(render_warnings(session.notices, language), _preview(session, upload, language) if upload else "")
        result = upload.result
        pages = len(result.page_sizes)
        codes = render_codes(result.codes, language)
        return View(
            notices=render_warnings(result.notices, language) + muted(_footnote(result, language)),
            picture=render_pages(upload.sheets, pages, language, result.lines, result.fields, token=session.token or ""),
            fields=render_fields(result.fields, language, pages) + codes,
            text=render_text(result.markdown or result.text, language, translate("no_text", language)) + codes,
            json=render_text(result_json(result), language),
            tab="fields" if result.fields else "text",
        )


def _opened(data: bytes, pages: tuple[Page, ...]) -> tuple[OpenedUpload, tuple[ResultWarning, ...]]:
    return OpenedUpload(data, make_previews(pages), len(pages)), tuple(notice for page in pages for notice in page.notices)


def _preview(session: Session, upload: OpenedUpload, language: Language) -> str:
    return render_pages(upload.sheets, upload.pages, language, token=session.token or "")


def _footnote(result: Result, language: Language) -> str:
    return escape_html(translate("took", language).format(f"{result.elapsed_ms / 1000:.1f}", result.model))


def result_json(result: Result) -> str:
    """Return the response of the API as indented JSON with each point on one line."""
    answer = json.dumps(OcrResponse.of(result).model_dump(mode="json"), ensure_ascii=False, indent=2)
    return re.sub(r"\[\n\s+(-?[\d.]+),\n\s+(-?[\d.]+)\n\s+\]", r"[\1, \2]", answer)


def upload_error(reason: str, settings: Settings, language: Language) -> str:
    """Return HTML for a failed upload. `reason`: the error code that picker.js received, or "network"."""
    errors = (
        ImageTooLarge(f"The file is larger than {settings.images.max_bytes // 2**20} MB.", hint="Choose a smaller file."),
        UploadBudgetExceeded("Too many files are being uploaded.", hint="Wait a moment and choose the file again."),
        EmptyInput("The file is empty.", hint="Choose another file."),
    )
    for error in errors:
        if error.code == reason:
            return render_error(error, language)
    return f'<div class="notice error" role="alert" data-code="upload_failed">{translate("upload_failed", language)}</div>'
