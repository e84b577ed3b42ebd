"""What happens when a person chooses a picture or asks for something; knows the pipeline, not Gradio."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import nullcontext
from dataclasses import dataclass

from api.schemas import OcrAnswer
from api.security.identity import LOCAL, Identity
from api.security.trail import Trail
from hunyuanocr.config import Settings
from hunyuanocr.errors import EmptyInput, HunyuanOcrError, ImageTooLarge, UploadsFull
from hunyuanocr.images import is_document
from hunyuanocr.instructions import understand
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.services.recording import Recorder
from hunyuanocr.types import Notice, Page, Result
from web.draw import picture, sheets
from web.shelf import Picture, Shelf, Tray
from web.strings import Language, safe, say
from web.table import copyable, failure, quiet, table, warnings

_AT_ONCE = 2  # pictures that are decoded for the page: each may have as many pixels as `images.max_pixels` allows
_TRAY_AGE_S = 60.0  # an upload that no page shows at once was broken off
_SHELF_AGE_S = 900.0  # a person who comes back later chooses the picture again


@dataclass(frozen=True)
class Session:
    """What the page remembers of one person: the token of the picture, which its last result is kept with."""

    token: str | None = None
    notices: tuple[Notice, ...] = ()  # about the picture, before anything is read
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


class Desk:
    """Takes uploads and has them read by the pipeline. None of them ever touches the disk.

    What is read is recorded as the API's readings are, and stands in the audit log.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, recorder: Recorder, trail: Trail) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.recorder = recorder
        self.trail = trail
        self._opening = asyncio.Semaphore(_AT_ONCE)
        self.tray = Tray(4 * settings.images.max_bytes, _TRAY_AGE_S)
        self.shelf = Shelf(4 * settings.images.max_bytes, _SHELF_AGE_S)

    async def choose(
        self, token: str, language: Language, who: Identity = LOCAL, address: str = ""
    ) -> tuple[Session, View]:
        """An upload of the tray → its preview and warnings."""
        try:
            data = self.tray.take(token, who.mark)
            async with nullcontext() if is_document(data) else self._opening:  # documents come in turn, and hold up no picture
                pages = await self.pipeline.decoding.preview(data, who.fair_key(address))
            chosen, notices = await asyncio.to_thread(_opened, data, pages)
        except HunyuanOcrError as e:
            return Session(), View(notices=failure(e, language))
        session = Session(self.shelf.put(chosen, who.mark), notices=notices, owner=who.owner)
        return session, self.show(session, language)

    async def read(
        self, session: Session, instruction: str, language: Language, who: Identity = LOCAL, address: str = ""
    ) -> tuple[Session, View]:
        """The chosen picture and an instruction → the result, which is kept as a record of whoever asks."""
        session = self.mine(session, who)
        chosen = self.shelf.get(session.token)
        if chosen is None:
            words = say("expired" if session.token else "no_picture", language)
            return session, View(notices=f'<div class="notice" role="status" data-code="no_picture">{words}</div>')
        try:
            asked = Request(chosen.data, understand(instruction), owner=who.owner, client=who.fair_key(address))
            result = await self.pipeline.run(asked)
        except HunyuanOcrError as e:
            self._keep(session, chosen, None, who)
            return session, View(notices=failure(e, language), picture=_preview(session, chosen, language))
        result = await self.recorder.record(result, owner=who.owner, source="page", instruction=instruction, image=chosen.data)
        self.trail.note(who, "create", f"/v1/records/{result.id}", address=address)
        self._keep(session, chosen, result, who)
        return session, self.show(session, language)

    def _keep(self, session: Session, chosen: Picture, result: Result | None, who: Identity) -> None:
        self.shelf.put(chosen.with_result(result), who.mark, session.token)

    @staticmethod
    def mine(session: Session, who: Identity) -> Session:
        """The session, if it is this person's. Gradio finds it by a word that the browser makes up, which is no proof."""
        return session if session.owner in (None, who.owner) else Session()

    def show(self, session: Session, language: Language) -> View:
        """Everything in the person's language; also when the language changes."""
        chosen = self.shelf.get(session.token)
        if chosen is None or chosen.result is None:
            return View(warnings(session.notices, language), _preview(session, chosen, language) if chosen else "")
        result = chosen.result
        pages = len(result.page_sizes)
        return View(
            notices=warnings(result.notices, language) + quiet(_footnote(result, language)),
            picture=picture(chosen.sheets, pages, language, result.lines, result.fields, token=session.token or ""),
            fields=table(result.fields, language, pages),
            text=copyable(result.markdown or result.text, language, say("no_text", language)),
            json=copyable(wire(result), language),
            tab="fields" if result.fields else "text",
        )


def _opened(data: bytes, pages: tuple[Page, ...]) -> tuple[Picture, tuple[Notice, ...]]:
    return Picture(data, sheets(pages), len(pages)), tuple(notice for page in pages for notice in page.notices)


def _preview(session: Session, chosen: Picture, language: Language) -> str:
    return picture(chosen.sheets, chosen.pages, language, token=session.token or "")


def _footnote(result: Result, language: Language) -> str:
    return safe(say("took", language).format(f"{result.elapsed_ms / 1000:.1f}", result.model))


def wire(result: Result) -> str:
    """The API's answer as JSON, points on one line each."""
    answer = json.dumps(OcrAnswer.of(result).model_dump(mode="json"), ensure_ascii=False, indent=2)
    return re.sub(r"\[\n\s+(-?[\d.]+),\n\s+(-?[\d.]+)\n\s+\]", r"[\1, \2]", answer)


def failed_upload(reason: str, settings: Settings, language: Language) -> str:
    """What the browser says when it could not send the file: an error's code, or anything else when the network broke."""
    refusals = (
        ImageTooLarge(f"The file is larger than {settings.images.max_bytes // 2**20} MB.", hint="Choose a smaller one."),
        UploadsFull("Too many pictures are being uploaded.", hint="Wait a moment and choose it again."),
        EmptyInput("The file is empty.", hint="Choose another one."),
    )
    for error in refusals:
        if error.code == reason:
            return failure(error, language)
    return f'<div class="notice error" role="alert" data-code="upload_failed">{say("upload_failed", language)}</div>'
