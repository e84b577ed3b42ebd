"""What happens when a person chooses a picture or asks for something; knows the pipeline, not Gradio."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import nullcontext
from dataclasses import dataclass

from api.auth.audit import AuditLogWriter
from api.auth.identity import LOCAL_ADMIN, Identity
from api.schemas.ocr import OcrResponse
from hunyuanocr.config import Settings
from hunyuanocr.errors import EmptyInput, HunyuanOcrError, ImageTooLarge, UploadBudgetExceeded
from hunyuanocr.images import is_document
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.types import Page, Result, ResultWarning
from web.i18n import Language, escape_html, translate
from web.preview_html import make_previews, render_pages
from web.result_html import muted, render_error, render_fields, render_text, render_warnings
from web.upload_store import OpenedUpload, PendingUploads, PictureCache

_AT_ONCE = 2  # pictures that are decoded for the page: each may have as many pixels as `images.max_pixels` allows
_TRAY_AGE_S = 60.0  # an upload that no page shows at once was broken off
_SHELF_AGE_S = 900.0  # a person who comes back later chooses the picture again


@dataclass(frozen=True)
class Session:
    """What the page remembers of one person: the token of the picture, which its last result is kept with."""

    token: str | None = None
    notices: tuple[ResultWarning, ...] = ()  # about the picture, before anything is read
    owner: str | None = None  # who chose the picture: nobody else has it read, whatever page he says his is


@dataclass(frozen=True)
class View:
    """HTML for each part of the page; `tab` is the one to open."""

    notices: str = ""
    picture: str = ""
    fields: str = ""
    text: str = ""
    json: str = ""
    tab: str = "fields"


class PageController:
    """Takes uploads and has them read by the pipeline. None of them ever touches the disk.

    What is read is recorded as the API's readings are, and stands in the audit log.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, recorder: Recorder, trail: AuditLogWriter) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.recorder = recorder
        self.trail = trail
        self._opening = asyncio.Semaphore(_AT_ONCE)
        self.uploads = PendingUploads(4 * settings.images.max_bytes, _TRAY_AGE_S)
        self.pictures = PictureCache(4 * settings.images.max_bytes, _SHELF_AGE_S)

    async def open_upload(
        self, token: str, language: Language, who: Identity = LOCAL_ADMIN, address: str = ""
    ) -> tuple[Session, View]:
        """An upload of the tray → its preview and warnings."""
        try:
            data = self.uploads.take(token, who.fingerprint)
            async with nullcontext() if is_document(data) else self._opening:  # documents come in turn, and hold up no picture
                pages = await self.pipeline.decoding.preview(data, who.fair_key(address))
            chosen, notices = await asyncio.to_thread(_opened, data, pages)
        except HunyuanOcrError as e:
            return Session(), View(notices=render_error(e, language))
        session = Session(self.pictures.put(chosen, who.fingerprint), notices=notices, owner=who.owner)
        return session, self.render(session, language)

    async def run(
        self, session: Session, instruction: str, language: Language, who: Identity = LOCAL_ADMIN, address: str = ""
    ) -> tuple[Session, View]:
        """The chosen picture and an instruction → the result, which is kept as a record of whoever asks."""
        session = self.own_session(session, who)
        chosen = self.pictures.get(session.token)
        if chosen is None:
            words = translate("expired" if session.token else "no_picture", language)
            return session, View(notices=f'<div class="notice" role="status" data-code="no_picture">{words}</div>')
        try:
            asked = Request(chosen.data, parse_instruction(instruction), owner=who.owner, client=who.fair_key(address))
            result = await self.pipeline.run(asked)
        except HunyuanOcrError as e:
            self._keep(session, chosen, None, who)
            return session, View(notices=render_error(e, language), picture=_preview(session, chosen, language))
        result = await self.recorder.record(result, owner=who.owner, source="page", instruction=instruction, image=chosen.data)
        self.trail.record(who, "create", f"/v1/records/{result.id}", address=address)
        self._keep(session, chosen, result, who)
        return session, self.render(session, language)

    def _keep(self, session: Session, chosen: OpenedUpload, result: Result | None, who: Identity) -> None:
        self.pictures.put(chosen.with_result(result), who.fingerprint, session.token)

    @staticmethod
    def own_session(session: Session, who: Identity) -> Session:
        """The session, if it is this person's. Gradio finds it by a word that the browser makes up, which is no proof."""
        return session if session.owner in (None, who.owner) else Session()

    def render(self, session: Session, language: Language) -> View:
        """Everything in the person's language; also when the language changes."""
        chosen = self.pictures.get(session.token)
        if chosen is None or chosen.result is None:
            return View(render_warnings(session.notices, language), _preview(session, chosen, language) if chosen else "")
        result = chosen.result
        pages = len(result.page_sizes)
        return View(
            notices=render_warnings(result.notices, language) + muted(_footnote(result, language)),
            picture=render_pages(chosen.sheets, pages, language, result.lines, result.fields, token=session.token or ""),
            fields=render_fields(result.fields, language, pages),
            text=render_text(result.markdown or result.text, language, translate("no_text", language)),
            json=render_text(result_json(result), language),
            tab="fields" if result.fields else "text",
        )


def _opened(data: bytes, pages: tuple[Page, ...]) -> tuple[OpenedUpload, tuple[ResultWarning, ...]]:
    return OpenedUpload(data, make_previews(pages), len(pages)), tuple(notice for page in pages for notice in page.notices)


def _preview(session: Session, chosen: OpenedUpload, language: Language) -> str:
    return render_pages(chosen.sheets, chosen.pages, language, token=session.token or "")


def _footnote(result: Result, language: Language) -> str:
    return escape_html(translate("took", language).format(f"{result.elapsed_ms / 1000:.1f}", result.model))


def result_json(result: Result) -> str:
    """The API's answer as JSON, points on one line each."""
    answer = json.dumps(OcrResponse.of(result).model_dump(mode="json"), ensure_ascii=False, indent=2)
    return re.sub(r"\[\n\s+(-?[\d.]+),\n\s+(-?[\d.]+)\n\s+\]", r"[\1, \2]", answer)


def upload_error(reason: str, settings: Settings, language: Language) -> str:
    """What the browser says when it could not send the file: an error's code, or anything else when the network broke."""
    refusals = (
        ImageTooLarge(f"The file is larger than {settings.images.max_bytes // 2**20} MB.", hint="Choose a smaller one."),
        UploadBudgetExceeded("Too many pictures are being uploaded.", hint="Wait a moment and choose it again."),
        EmptyInput("The file is empty.", hint="Choose another one."),
    )
    for error in refusals:
        if error.code == reason:
            return render_error(error, language)
    return f'<div class="notice error" role="alert" data-code="upload_failed">{translate("upload_failed", language)}</div>'
