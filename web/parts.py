"""The page's components and the words on them; nothing happens here."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import gradio as gr

from hunyuanocr.config import Settings
from hunyuanocr.types import TaskKind
from web.desk import Session, View
from web.shelf import Shelf
from web.strings import LANGUAGES, Language, presets, safe, say

HERE = Path(__file__).parent

# `watch` tells of the new value a moment before it is drawn.
_PICTURE_JS = """
watch("value", () => setTimeout(() => element.dispatchEvent(new Event("picture", { bubbles: true })), 50));
"""
_PRESET_JS = """
element.addEventListener("click", (event) => {
  const chip = event.target.closest("button");
  if (chip) trigger("preset", { instruction: chip.textContent });
});
"""


def asset(name: str) -> str:
    """A text file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


class Page:
    """The components, in the order in which a phone shows them."""

    def __init__(self, settings: Settings, shelf: Shelf, tasks: Set[TaskKind]) -> None:
        self.tasks = tasks
        self.session = gr.State(Session(), delete_callback=lambda s: shelf.drop(s.token))
        with gr.Row(elem_id="top"):
            self.title = gr.HTML(elem_id="title", js_on_load=None, apply_default_css=False)
            self.account = gr.HTML(elem_id="account", js_on_load=None, apply_default_css=False)
            self.language = gr.Radio(list(LANGUAGES.items()), value="en", show_label=False, container=False, elem_id="language")
        with gr.Row(equal_height=False, elem_id="work"):
            with gr.Column(scale=3, min_width=300):
                limit = settings.images.max_bytes
                self.picker = gr.HTML(elem_id="picker", js_on_load=asset("picker.js"), apply_default_css=False, max_bytes=limit)
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

    def words(self, language: Language) -> dict[Any, Any]:
        """Updates that put every fixed word into `language`."""
        return {
            self.title: f"<h1>{say('title', language)}</h1><p>{say('subtitle', language)}</p>",
            self.picker: gr.HTML(_picker(language)),
            self.instruction: gr.Textbox(label=say("instruction", language), placeholder=say("placeholder", language)),
            self.presets: _presets(language, self.tasks),
            self.read: gr.Button(say("read", language)),
            self.fields_tab: gr.Tab(say("fields", language)),
            self.text_tab: gr.Tab(say("text", language)),
        }

    def view(self, view: View, language: Language) -> dict[Any, Any]:
        """Updates that show a result."""
        nothing = f'<div class="waiting">{say("empty", language)}</div>'
        empty = f'<div class="waiting">{say("waiting", language)}</div>'
        return {
            self.notices: view.notices, self.picture: view.picture or nothing, self.fields: view.fields or empty,
            self.text: view.text or empty, self.json: view.json or empty, self.tabs: gr.Tabs(selected=view.tab),
        }  # fmt: skip

    @property
    def everything(self) -> list[Any]:
        """All components that an event may change."""
        parts = [self.session, self.language, self.account, self.instruction, self.title, self.picker, self.presets, self.read]
        return [*parts, self.fields_tab, self.text_tab, self.tabs, self.notices, self.picture, self.fields, self.text, self.json]


def _picker(language: Language) -> str:
    def way(kind: str, words: str, attributes: str) -> str:
        return f'<label class="{kind}" tabindex="0" role="button">{words}<input type="file" {attributes} tabindex="-1"></label>'

    camera = 'accept="image/*" capture="environment"'  # a live camera needs HTTPS; this opens the phone's own on plain HTTP
    files = 'accept="image/*,.heic,.heif,.tif,.tiff,.pdf,application/pdf"'
    return (
        f'<div class="drop"><div class="buttons">{way("camera", say("camera", language), camera)}'
        f"{way('file', say('choose', language), files)}</div>"
        f'<p class="by-hand">{say("drop", language)}</p><p>{say("formats", language)}</p>'
        f'<p class="sending" role="status">{say("sending", language)}</p></div>'
    )


def _presets(language: Language, tasks: Set[TaskKind]) -> str:
    chips = "".join(f"<button type=button>{safe(words)}</button>" for words in presets(language, tasks))
    return f'<div class="chips">{chips}</div>'
