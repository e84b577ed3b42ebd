"""The components of the page and their labels; `web.events` has the event handlers."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import gradio as gr

from hunyuanocr.config import Settings
from hunyuanocr.types import TaskKind
from web.controller import Session, View
from web.i18n import LANGUAGES, Language, escape_html, presets, translate
from web.upload_store import PictureCache

HERE = Path(__file__).parent

# `watch` runs before the new value is rendered; hence the delay.
_PICTURE_JS = """
watch("value", () => setTimeout(() => element.dispatchEvent(new Event("picture", { bubbles: true })), 50));
"""
_PRESET_JS = """
element.addEventListener("click", (event) => {
  const chip = event.target.closest("button");
  if (chip) trigger("preset", { instruction: chip.textContent });
});
"""


def read_asset(name: str) -> str:
    """Return the text of a file in this folder."""
    return (HERE / name).read_text(encoding="utf-8")


class PageComponents:
    """The components in the order in which a phone shows them."""

    def __init__(self, settings: Settings, pictures: PictureCache, tasks: Set[TaskKind]) -> None:
        self.tasks = tasks
        self.session = gr.State(Session(), delete_callback=lambda s: pictures.drop(s.token))
        with gr.Row(elem_id="top"):
            self.title = gr.HTML(elem_id="title", js_on_load=None, apply_default_css=False)
            self.account = gr.HTML(elem_id="account", js_on_load=None, apply_default_css=False)
            self.language = gr.Radio(list(LANGUAGES.items()), value="en", show_label=False, container=False, elem_id="language")
        with gr.Row(equal_height=False, elem_id="work"):
            with gr.Column(scale=3, min_width=300):
                limit = settings.images.max_bytes
                self.picker = gr.HTML(
                    elem_id="picker", js_on_load=read_asset("picker.js"), apply_default_css=False, max_bytes=limit
                )
                self.instruction = gr.Textbox(max_lines=1, elem_id="instruction")
                self.presets = gr.HTML(elem_id="presets", js_on_load=_PRESET_JS, apply_default_css=False)
                self.read = gr.Button(variant="primary", elem_id="read")
                self.notices = gr.HTML(elem_id="notices", js_on_load=None, apply_default_css=False)
            with gr.Column(scale=4, min_width=300):
                self.picture = gr.HTML(elem_id="picture", js_on_load=_PICTURE_JS, apply_default_css=False)
            with gr.Column(scale=4, min_width=300), gr.Tabs(elem_id="results") as self.tabs:
                with gr.Tab(id="fields") as self.fields_tab:
                    self.fields = gr.HTML(elem_id="fields", js_on_load=None, apply_default_css=False)
                with gr.Tab(id="text") as self.text_tab:
                    self.text = gr.HTML(elem_id="text", js_on_load=None, apply_default_css=False)
                with gr.Tab("JSON", id="json"):
                    self.json = gr.HTML(elem_id="json", js_on_load=None, apply_default_css=False)

    def labels(self, language: Language) -> dict[Any, Any]:
        """Return updates that set all labels in `language`."""
        return {
            self.title: f"<h1>{translate('title', language)}</h1><p>{translate('subtitle', language)}</p>",
            self.picker: gr.HTML(_picker(language)),
            self.instruction: gr.Textbox(
                label=translate("instruction", language), placeholder=translate("placeholder", language)
            ),
            self.presets: _presets(language, self.tasks),
            self.read: gr.Button(translate("read", language)),
            self.fields_tab: gr.Tab(translate("fields", language)),
            self.text_tab: gr.Tab(translate("text", language)),
        }

    def render(self, view: View, language: Language) -> dict[Any, Any]:
        """Return updates that show a result."""
        no_image = f'<div class="waiting">{translate("empty", language)}</div>'
        no_result = f'<div class="waiting">{translate("waiting", language)}</div>'
        return {
            self.notices: view.notices,
            self.picture: view.picture or no_image,
            self.fields: view.fields or no_result,
            self.text: view.text or no_result,
            self.json: view.json or no_result,
            self.tabs: gr.Tabs(selected=view.tab),
        }

    @property
    def all(self) -> list[Any]:
        """Return all components that an event may update."""
        parts = [self.session, self.language, self.account, self.instruction, self.title, self.picker, self.presets, self.read]
        return [*parts, self.fields_tab, self.text_tab, self.tabs, self.notices, self.picture, self.fields, self.text, self.json]


def _picker(language: Language) -> str:
    def file_input(kind: str, label: str, attributes: str) -> str:
        return f'<label class="{kind}" tabindex="0" role="button">{label}<input type="file" {attributes} tabindex="-1"></label>'

    camera = 'accept="image/*" capture="environment"'  # the camera app; a live camera needs HTTPS
    files = 'accept="image/*,.heic,.heif,.avif,.tif,.tiff,.pdf,application/pdf"'
    return (
        f'<div class="drop"><div class="buttons">{file_input("camera", translate("camera", language), camera)}'
        f"{file_input('file', translate('choose', language), files)}</div>"
        f'<p class="by-hand">{translate("drop", language)}</p><p>{translate("formats", language)}</p>'
        f'<p class="sending" role="status">{translate("sending", language)}</p></div>'
    )


def _presets(language: Language, tasks: Set[TaskKind]) -> str:
    chips = "".join(f"<button type=button>{escape_html(preset)}</button>" for preset in presets(language, tasks))
    return f'<div class="chips">{chips}</div>'
