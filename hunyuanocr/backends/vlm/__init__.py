"""The backend of a vision language model: builds prompts and parses its output."""

from hunyuanocr.backends.vlm.backend import VlmBackend

__all__ = ["VlmBackend"]
