"""Choosing and reading through a real pipeline; the reader behind it reads the text that the test gives it."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.auth.audit import AuditLogWriter
from api.auth.identity import LOCAL_ADMIN, Identity
from hunyuanocr.backends.base import BackendName
from hunyuanocr.config import ImageSettings, Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.api_keys import DEFAULT_SCOPES
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.store import audit, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.search import RecordQuery
from tests.support.fake_backend import FakeBackend, picture
from web.controller import PageController, Session, result_json, upload_error


@pytest.fixture
async def desk() -> AsyncIterator[PageController]:
    settings = Settings(images=ImageSettings(max_pages=3))
    reader = FakeBackend()
    reader.text = "便民超市\n2026-11-20\n合计 ¥36.80"
    pipeline = Pipeline(reader, settings)
    await pipeline.start()
    yield PageController(pipeline, settings, Recorder(None, settings), AuditLogWriter(None))
    await pipeline.close()


def reader_of(desk: PageController) -> FakeBackend:
    assert isinstance(desk.pipeline.backend, FakeBackend)
    return desk.pipeline.backend


def upload(desk: Any, data: bytes, who: Identity = LOCAL_ADMIN) -> Any:
    return desk.uploads.put(data, who.fingerprint)


async def test_an_upload_is_shown_and_is_kept_once(desk: PageController) -> None:
    session, view = await desk.open_upload(upload(desk, picture(size=(400, 300))), "en")
    assert "<img" in view.picture
    assert 'viewBox="0 0 400 300"' in view.picture
    assert (len(desk.uploads), len(desk.pictures)) == (0, 1)
    assert desk.pictures.get(session.token).result is None


async def test_reading_fills_every_part_of_the_page(desk: PageController) -> None:
    session, _ = await desk.open_upload(upload(desk, picture(size=(400, 300))), "zh")
    session, view = await desk.run(session, "提取总金额", "zh")
    assert "¥36.80" in view.fields
    assert "data-box" in view.picture
    assert "合计" in view.text
    answer = json.loads(result_json(desk.pictures.get(session.token).result))
    assert answer["fields"] == {"total_amount": "¥36.80"}
    assert answer["backend"] == "ppocr"
    assert view.tab == "fields"
    assert "test-reader" in view.notices


async def test_a_models_answer_is_shown_with_what_proves_it(desk: PageController) -> None:
    model, evidence_backend = FakeBackend(name=BackendName.TORCH), reader_of(desk)
    model.text, model.values = "", {"total_amount": "¥36.80", "date": "2026-11-21"}
    pipeline = Pipeline(model, desk.settings, evidence_backend)
    await pipeline.start()
    other = PageController(pipeline, desk.settings, desk.recorder, desk.audit_log)
    session, _ = await other.open_upload(upload(other, picture(size=(400, 300))), "en")
    session, view = await other.run(session, "extract total amount and date", "en")
    assert view.picture.count('class="line"') == 3, "the lines of the evidence backend"
    assert view.picture.count("data-box") == 1
    assert "on the page" in view.fields
    assert "not found, please check" in view.fields
    assert "便民超市" in view.text
    evidence_backend.fault = RuntimeError
    _, view = await other.run(session, "extract total amount", "en")
    assert "no_evidence" in view.notices
    await pipeline.close()


async def test_the_picture_may_be_asked_again_in_other_words(desk: PageController) -> None:
    session, _ = await desk.open_upload(upload(desk, picture()), "zh")
    session, first = await desk.run(session, "提取日期", "zh")
    session, second = await desk.run(session, "识别全部文字", "zh")
    assert "2026-11-20" in first.fields
    assert first.tab == "fields"
    assert "便民超市" in second.text
    assert second.tab == "text"


async def test_the_language_changes_what_is_shown_without_reading_again(desk: PageController) -> None:
    session, _ = await desk.open_upload(upload(desk, picture()), "zh")
    session, _ = await desk.run(session, "提取总金额", "zh")
    begun = reader_of(desk).begun
    assert "Total amount" in desk.render(session, "en").fields
    assert "总金额" in desk.render(session, "zh").fields
    assert reader_of(desk).begun == begun


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_input"),
        (b"a shopping list\n" * 40, "unsupported_media_type"),
        (picture(form="JPEG")[:300], "unreadable_image"),
    ],
)
async def test_a_bad_file_is_an_error_with_a_hint_and_is_not_kept(desk: PageController, data: bytes, code: str) -> None:
    session, view = await desk.open_upload(upload(desk, data), "zh")
    assert f'data-code="{code}"' in view.notices
    assert "<span>请" in view.notices
    assert len(desk.uploads) == 0
    assert session.token is None
    assert len(desk.pictures) == 0


async def test_too_many_pages_are_refused_before_anything_is_read(desk: PageController) -> None:
    page, out = Image.new("L", (60, 60)), io.BytesIO()
    page.save(out, "TIFF", save_all=True, append_images=[page] * 4)
    _, view = await desk.open_upload(upload(desk, out.getvalue()), "en")
    assert 'data-code="too_many_pages"' in view.notices
    assert len(desk.pictures) == 0


async def test_pages_of_a_document_are_all_shown(desk: PageController) -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 90)).save(out, "PDF", save_all=True, append_images=[Image.new("RGB", (90, 60))])
    _, view = await desk.open_upload(upload(desk, out.getvalue()), "en")
    assert view.picture.count("<figure") == 2


async def test_without_a_picture_reading_asks_for_one(desk: PageController) -> None:
    _, view = await desk.run(Session(), "提取总金额", "zh")
    assert "请先拍照" in view.notices
    assert reader_of(desk).begun == 0
    _, view = await desk.run(Session("forgotten"), "提取总金额", "en")
    assert "has expired" in view.notices


async def test_an_error_of_the_reader_is_shown_and_the_picture_stays(desk: PageController) -> None:
    session, _ = await desk.open_upload(upload(desk, picture()), "en")
    reader_of(desk).fault = lambda: RuntimeError("inside")
    session, view = await desk.run(session, "extract total amount", "en")
    assert 'data-code="reader_failed"' in view.notices
    assert "inside" not in view.notices
    assert "<img" in view.picture
    assert view.fields == ""
    reader_of(desk).fault = None
    _, view = await desk.run(session, "extract total amount", "en")
    assert "¥36.80" in view.fields


async def test_what_the_reader_cannot_do_is_said(desk: PageController) -> None:
    session, _ = await desk.open_upload(upload(desk, picture()), "zh")
    _, view = await desk.run(session, "翻译成英文", "zh")
    assert 'data-code="task_not_supported"' in view.notices


def test_an_upload_that_did_not_arrive() -> None:
    assert 'data-code="image_too_large"' in upload_error("image_too_large", Settings(), "en")
    assert 'data-code="uploads_full"' in upload_error("uploads_full", Settings(), "zh")
    assert 'data-code="empty_input"' in upload_error("empty_input", Settings(), "zh")
    assert 'data-code="upload_failed"' in upload_error("anything", Settings(), "zh")


async def test_what_is_read_is_a_record_of_who_asked_and_nobody_else_has_it_read(tmp_path: Path) -> None:
    clinic, other = (Identity(owner, owner, DEFAULT_SCOPES, "key") for owner in ("clinic", "other"))
    settings, reader = Settings(data=tmp_path), FakeBackend()
    pipeline, database = Pipeline(reader, settings), Database(settings.database_url)
    await pipeline.start()
    trail = AuditLogWriter(database)
    desk = PageController(pipeline, settings, Recorder(database, settings), trail)
    session, _ = await desk.open_upload(upload(desk, picture(), clinic), "en", clinic)
    _, view = await desk.run(session, "read all", "en", other)
    assert (reader.begun, view.text) == (0, "")
    session, _ = await desk.run(session, "read all", "en", clinic, "192.168.1.20")
    assert desk.own_session(session, other) == Session()
    await trail.flush()
    found = await database.read(records.search, RecordQuery("clinic"), 9)
    assert [(r.id, r.source, r.instruction) for r in found] == [(desk.pictures.get(session.token).result.id, "page", "read all")]
    (line,) = await database.read(audit.list_latest, 9)
    assert (line.who, line.action, line.what, line.address) == ("clinic", "create", f"/v1/records/{found[0].id}", "192.168.1.20")
    assert await database.read(records.search, RecordQuery("local"), 9) == []
    await pipeline.close()
    database.close()
