"""The page: a Gradio app at `/`. It loads nothing from other servers."""

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
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from web.components import HERE, PageComponents, read_asset
from web.controller import PageController
from web.events import bind_events
from web.gradio_events import EventSchema
from web.gradio_logging import redirect_tracebacks
from web.gradio_memory import GradioMemory
from web.open_pages import OpenPages, PageLimits
from web.session_isolation import GradioIsolationMiddleware
from web.uploads import uploads

log = logging.getLogger(__name__)

_EXPIRE_INTERVAL_S = 5.0
_FONTS = (  # system fonts; the browser uses the first one that has the character
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "WenQuanYi Micro Hei",
    "sans-serif",
)


def mount_page(
    app: FastAPI,
    pipeline: Pipeline,
    settings: Settings,
    *,
    limits: PageLimits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Mount the page at `/` of `app`, after all routes: it receives every request that no route matches.

    The caller starts the pipeline.
    """
    limits = limits or PageLimits()
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(
        10**9
    )  # otherwise Gradio tabulates its last 10,000 events after each event
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    controller = PageController(pipeline, settings, app.state.services.recorder, app.state.authenticator.audit_log)
    redirect_tracebacks()
    app.include_router(uploads(controller))
    gr.mount_gradio_app(
        app,
        _blocks(controller),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=_theme(),
        head=f"<style>{read_asset('page.css')}</style>",
        js=read_asset("page.js"),
        favicon_path=str(HERE / "favicon.png"),
    )
    mounts = (route for route in reversed(app.routes) if isinstance(route, Mount))
    mount, page = next((each, each.app) for each in mounts if isinstance(each.app, gr.routes.App))
    pages = OpenPages(GradioMemory(page, limits.events), limits, clock)
    mount.app = GradioIsolationMiddleware(page, EventSchema(page.get_blocks()), pages)
    _expire_periodically(app, controller, pages)
    errors.register_exception_handlers(page)  # errors of the page have the format of the API
    app.state.end_streams = page.stop_event.set  # streams of open pages would delay the shutdown
    return app


def _theme() -> gr.themes.Base:
    mono = ("ui-monospace", "Consolas", "monospace")
    theme = gr.themes.Default(primary_hue="teal", neutral_hue="slate", radius_size="lg", font=_FONTS, font_mono=mono)
    return theme.set(  # darker than the defaults of Gradio, to be readable in sunlight (contrast of WCAG AA)
        color_accent="*primary_700",
        body_text_color_subdued="*neutral_600",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )


def _expire_periodically(app: FastAPI, controller: PageController, pages: OpenPages) -> None:
    """Add a task to the lifespan of `app` that drops expired uploads, images and pages, also while there are no requests."""
    inner = app.router.lifespan_context

    async def expire() -> None:
        while True:
            await asyncio.sleep(_EXPIRE_INTERVAL_S)
            try:
                controller.uploads.expire()
                controller.pictures.expire()
                await pages.expire()
            except Exception:  # try again later; an ended task would keep everything
                log.exception("Cannot drop expired uploads and pages.")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        task = asyncio.create_task(expire())
        try:
            async with inner(app) as state:
                yield state
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app.router.lifespan_context = lifespan


def _blocks(controller: PageController) -> gr.Blocks:
    with gr.Blocks(title="HunyuanOCR", analytics_enabled=False) as blocks:
        page = PageComponents(controller.settings, controller.pictures, controller.pipeline.backend.tasks)
        bind_events(blocks, page, controller)
    return blocks
