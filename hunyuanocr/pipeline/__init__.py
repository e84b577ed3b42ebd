"""The OCR pipeline: bytes and a task in, a typed and grounded Result out."""

from hunyuanocr.pipeline.pipeline import Pipeline
from hunyuanocr.pipeline.request import Request
from hunyuanocr.pipeline.timing import Timing

__all__ = ["Pipeline", "Request", "Timing"]
