"""A backend that is made of a language model: prompts in, parsed results out."""

from hunyuanocr.backends.vlm.backend import VlmBackend

__all__ = ["VlmBackend"]
