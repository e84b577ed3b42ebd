"""The page: a Gradio app at `/` that shows what `desk` does. Nothing on it comes from outside this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from api import errors
from api.auth.identity import Identity
from api.auth.sessions import COOKIE
from hunyuanocr.config import Settings
from hunyuanocr.errors import DeadlineExceeded, QueueFull
from hunyuanocr.pipeline import Pipeline
from web.components import HERE, PageComponents, read_asset
from web.controller import PageController, Session, View, upload_error
from web.gradio_events import EventSchema
from web.gradio_logging import redirect_tracebacks
from web.gradio_memory import GradioMemory
from web.i18n import Language, escape_html, negotiate_language, translate
from web.open_pages import OpenPages, PageLimits
from web.result_html import render_error
from web.session_isolation import OPEN_PAGES, GradioIsolationMiddleware
from web.uploads import uploads

log = logging.getLogger(__name__)

_EXPIRE_EVERY_S = 5.0
_FONTS = (  # of the system; the first that is there and has the character
    "system-ui", "-apple-system", "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "WenQuanYi Micro Hei",
    "sans-serif",
)  # fmt: skip


def mount_page(
    app: FastAPI, pipeline: Pipeline, settings: Settings, *,
    limits: PageLimits | None = None, clock: Callable[[], float] = time.monotonic,
) -> FastAPI:  # fmt: skip
    """Put the page at `/` of `app`, last: it answers whatever no route answers. The caller starts the pipeline."""
    limits = limits or PageLimits()
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)  # else it makes a table of its last 10,000 events after each one
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    desk = PageController(pipeline, settings, app.state.services.recorder, app.state.gate.audit_log)
    redirect_tracebacks()
    app.include_router(uploads(desk))
    gr.mount_gradio_app(
        app, _blocks(desk), path="/", footer_links=[], run_history=False, show_error=False, ssr_mode=False, pwa=False,
        mcp_server=False, enable_monitoring=False, theme=_theme(),
        head=f"<style>{read_asset('page.css')}</style>", js=read_asset("page.js"), favicon_path=str(HERE / "favicon.png"),
    )  # fmt: skip
    mounts = (route for route in reversed(app.routes) if isinstance(route, Mount))
    mount, page = next((each, each.app) for each in mounts if isinstance(each.app, gr.routes.App))
    pages = OpenPages(GradioMemory(page, limits.events), limits, clock)
    mount.app = GradioIsolationMiddleware(page, EventSchema(page.get_blocks()), pages)
    _expire_regularly(app, desk, pages)
    errors.register_exception_handlers(
        page
    )  # what the page refuses has the API's form too, and a phone that leaves in the middle is no error
    app.state.end_streams = page.stop_event.set  # an open page holds a stream that would keep a server from ending
    return app


def _theme() -> gr.themes.Base:
    mono = ("ui-monospace", "Consolas", "monospace")
    theme = gr.themes.Default(primary_hue="teal", neutral_hue="slate", radius_size="lg", font=_FONTS, font_mono=mono)
    return theme.set(  # darker than Gradio's own: grey and white on teal must be read in sunlight (WCAG AA)
        color_accent="*primary_700", body_text_color_subdued="*neutral_600",
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
    )  # fmt: skip


def _expire_regularly(app: FastAPI, desk: PageController, pages: OpenPages) -> None:
    """Forget what is too old, also where nobody comes any more."""
    inner = app.router.lifespan_context

    async def expire() -> None:
        while True:
            await asyncio.sleep(_EXPIRE_EVERY_S)
            try:
                desk.uploads.expire()
                desk.pictures.expire()
                await pages.expire()
            except Exception:  # the next time may go better; without a next time everything would be kept
                log.exception("What the page keeps could not be expired.")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        forgetting = asyncio.create_task(expire())
        try:
            async with inner(app) as state:
                yield state
        finally:
            forgetting.cancel()
            with suppress(asyncio.CancelledError):
                await forgetting

    app.router.lifespan_context = lifespan


def _blocks(desk: PageController) -> gr.Blocks:
    with gr.Blocks(title="HunyuanOCR", analytics_enabled=False) as blocks:
        page = PageComponents(desk.settings, desk.pictures, desk.pipeline.backend.tasks)
        _bind_events(blocks, page, desk)
    return blocks


def _identity(request: gr.Request) -> Identity:
    """Whom the guard has let in; an event's request is the browser's own."""
    identity: Identity = request.request.scope["state"]["identity"]
    return identity


async def _heard(request: gr.Request) -> None:
    """Wait until the page fetches results; ends the event where it does not. What nobody fetches is not computed."""
    try:
        await _pages(request).until_heard(request.session_hash)
    except DeadlineExceeded as e:
        raise gr.Error(e.message, print_exception=False) from None


def _fitting(view: View, language: Language, request: gr.Request) -> View:
    """The view, or an error where too many results wait already until they are fetched."""
    if _pages(request).reserve(request.session_hash, sum(map(len, vars(view).values()))):
        return view
    return View(notices=render_error(QueueFull("Too many results wait to be fetched.", retry_after=1.0), language))


def _pages(request: gr.Request) -> OpenPages:
    pages: OpenPages = request.request.scope["state"][OPEN_PAGES]
    return pages


def _address(request: gr.Request) -> str:
    return request.client.host if request.client else ""


def _instruction(event: gr.EventData) -> str:
    return str(event.instruction)


def _bind_events(blocks: gr.Blocks, page: PageComponents, desk: PageController) -> None:
    """Connect what a person does with what happens."""
    account = f'<a href="/login">{escape_html(translate("account", "zh"))} · {escape_html(translate("account", "en"))}</a>'

    async def open_page(request: gr.Request) -> dict[Any, Any]:
        await _heard(request)
        language = negotiate_language(request.headers.get("accept-language"))
        link = account if COOKIE in request.cookies and _identity(request).method != "local" else ""
        return {page.language: language, page.account: link, **page.labels(language), **page.render(View(), language)}

    async def change_language(session: Session, language: Language, request: gr.Request) -> dict[Any, Any]:
        await _heard(request)
        shown = desk.render(desk.own_session(session, _identity(request)), language)
        return {**page.labels(language), **page.render(_fitting(shown, language, request), language)}

    async def choose(old: Session, language: Language, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        await _heard(request)
        who = _identity(request)
        desk.pictures.drop(desk.own_session(old, who).token)
        session, view = await desk.open_upload(str(event.token), language, who, _address(request))
        return {page.session: session, **page.render(view, language)}

    def refused(language: Language, event: gr.EventData) -> dict[Any, Any]:
        return {page.notices: upload_error(str(event.reason), desk.settings, language)}

    async def read(session: Session, instruction: str, language: Language, request: gr.Request) -> dict[Any, Any]:
        await _heard(request)
        session, view = await desk.run(session, instruction, language, _identity(request), _address(request))
        return {page.session: session, **page.render(_fitting(view, language, request), language)}

    quiet: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}
    waiting: dict[str, Any] = quiet | {"show_progress": "minimal", "show_progress_on": page.picture}
    asked = [page.session, page.instruction, page.language]
    ready = "(l) => { document.documentElement.lang = l; document.documentElement.dataset.ready = ''; }"
    opened = blocks.load(open_page, None, page.all, **quiet)
    changed = page.language.input(change_language, [page.session, page.language], page.all, **quiet)
    for event in (opened, changed):
        event.then(None, page.language, js=ready)
    page.picker.picked(choose, [page.session, page.language], page.all, **waiting)
    page.picker.refused(refused, page.language, page.notices, **quiet)
    page.presets.preset(_instruction, None, page.instruction, **quiet).then(read, asked, page.all, **waiting)
    gr.on([page.read.click, page.instruction.submit], read, asked, page.all, **waiting)
