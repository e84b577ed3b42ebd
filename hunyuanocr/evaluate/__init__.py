"""How well a reader reads a folder of images whose truth is known: `load`, `evaluate`, `summarise`."""

from hunyuanocr.evaluate.run import Outcome, evaluate
from hunyuanocr.evaluate.summary import summarise
from hunyuanocr.evaluate.truth import Sample, load

__all__ = ["Outcome", "Sample", "evaluate", "load", "summarise"]
