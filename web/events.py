"""The events of the page: what happens when a user opens it, chooses a file, reads it or changes the language."""

from __future__ import annotations

from typing import Any

import gradio as gr

from api.auth.identity import Identity
from api.auth.sessions import COOKIE
from hunyuanocr.errors import DeadlineExceeded, QueueFull
from web.components import PageComponents
from web.controller import PageController, Session, View, upload_error
from web.i18n import Language, escape_html, negotiate_language, translate
from web.newest_action import NewestActions
from web.open_pages import OpenPages
from web.result_html import render_error
from web.session_isolation import OPEN_PAGES

_Updates = dict[Any, Any]  # component → new value

_READY_JS = "(l) => { document.documentElement.lang = l; document.documentElement.dataset.ready = ''; }"


class PageEvents:
    """The event handlers. Each returns updates for the components of the page."""

    def __init__(self, page: PageComponents, controller: PageController) -> None:
        self.page = page
        self.controller = controller
        self._actions = NewestActions()

    async def open_page(self, request: gr.Request) -> _Updates:
        """Render the empty page in the browser's language, with a logout link for users who logged in with a cookie."""
        await _wait_for_listener(request)
        language = negotiate_language(request.headers.get("accept-language"))
        logged_in = COOKIE in request.cookies and _identity(request).method != "local"
        page = self.page
        return {
            page.language: language,
            page.account: _account_link() if logged_in else "",
            **page.labels(language),
            **page.render(View(), language),
        }

    async def change_language(self, session: Session, language: Language, request: gr.Request) -> _Updates:
        """Render the labels and the current result in another language."""
        await _wait_for_listener(request)
        view = self.controller.render(self.controller.own_session(session, _identity(request)), language)
        return {**self.page.labels(language), **self.page.render(_within_budget(view, language, request), language)}

    async def choose(self, old: Session, language: Language, event: gr.EventData, request: gr.Request) -> _Updates:
        """Show the uploaded file that `event.token` names, and drop the previous one."""
        await _wait_for_listener(request)
        identity = _identity(request)
        self.controller.pictures.drop(self.controller.own_session(old, identity).token)
        opening = self.controller.open_upload(str(event.token), language, identity, _client_host(request))
        return self._show(await self._actions.run(str(request.session_hash), opening), language)

    async def show_upload_error(self, old: Session, language: Language, event: gr.EventData, request: gr.Request) -> _Updates:
        """Show why the browser could not upload the file, and drop the previous one, which must not be read in its place."""
        await _wait_for_listener(request)
        self.controller.pictures.drop(self.controller.own_session(old, _identity(request)).token)
        view = View(notices=upload_error(str(event.reason), self.controller.settings, language))
        return self._show(await self._actions.run(str(request.session_hash), _finished((Session(), view))), language)

    async def read(self, session: Session, instruction: str, language: Language, request: gr.Request) -> _Updates:
        """Read the chosen image and show the result."""
        await _wait_for_listener(request)
        reading = self.controller.run(session, instruction, language, _identity(request), _client_host(request))
        done = await self._actions.run(str(request.session_hash), reading)
        return self._show(done and (done[0], _within_budget(done[1], language, request)), language)

    def _show(self, done: tuple[Session, View] | None, language: Language) -> _Updates:
        """Return the updates that show a result; none if a newer action has replaced this one."""
        if done is None:
            return {self.page.notices: gr.skip()}
        return {self.page.session: done[0], **self.page.render(done[1], language)}


def bind_events(blocks: gr.Blocks, page: PageComponents, controller: PageController) -> None:
    """Connect the components with their event handlers."""
    events = PageEvents(page, controller)
    # `multiple`: Gradio would ignore an event while an earlier one is running, but the newest must win.
    private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}
    private |= {"trigger_mode": "multiple"}
    with_progress: dict[str, Any] = private | {"show_progress": "minimal", "show_progress_on": page.picture}
    read_inputs = [page.session, page.instruction, page.language]
    opened = blocks.load(events.open_page, None, page.all, **private)
    changed = page.language.input(events.change_language, [page.session, page.language], page.all, **private)
    for event in (opened, changed):
        event.then(None, page.language, js=_READY_JS)
    picked = page.picker.picked(events.choose, [page.session, page.language], page.all, **with_progress)
    picked.then(None, js=_event_js("upload-opened"))
    refused = page.picker.refused(events.show_upload_error, [page.session, page.language], page.all, **private)
    refused.success(None, js=_event_js("upload-refused"))
    preset = page.presets.preset(_instruction, None, page.instruction, **private)
    preset.then(events.read, read_inputs, page.all, **with_progress)
    gr.on([page.read.click, page.instruction.submit], events.read, read_inputs, page.all, **with_progress)


def _event_js(name: str) -> str:
    return f'() => {{ document.dispatchEvent(new Event("{name}")); }}'


async def _finished(result: tuple[Session, View]) -> tuple[Session, View]:
    return result


def _account_link() -> str:
    return f'<a href="/login">{escape_html(translate("account", "zh"))} · {escape_html(translate("account", "en"))}</a>'


def _identity(request: gr.Request) -> Identity:
    """Return the identity that AuthMiddleware stored in the request."""
    identity: Identity = request.request.scope["state"]["identity"]
    return identity


async def _wait_for_listener(request: gr.Request) -> None:
    """Wait until the page listens for results. Raise gr.Error if it does not, so that nothing is computed in vain."""
    try:
        await _open_pages(request).wait_for_listener(request.session_hash)
    except DeadlineExceeded as e:
        raise gr.Error(e.message, print_exception=False) from None


def _within_budget(view: View, language: Language, request: gr.Request) -> View:
    """Return the view, or an error if too many results are waiting to be fetched."""
    if _open_pages(request).reserve(request.session_hash, sum(map(len, vars(view).values()))):
        return view
    return View(notices=render_error(QueueFull("Too many results are waiting to be fetched.", retry_after=1.0), language))


def _open_pages(request: gr.Request) -> OpenPages:
    pages: OpenPages = request.request.scope["state"][OPEN_PAGES]
    return pages


def _client_host(request: gr.Request) -> str:
    return request.client.host if request.client else ""


def _instruction(event: gr.EventData) -> str:
    return str(event.instruction)
