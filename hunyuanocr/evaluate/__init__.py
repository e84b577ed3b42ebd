"""How well a reader reads a folder of images whose truth is known: `load_dataset`, `evaluate`, `summarise`."""

from hunyuanocr.evaluate.dataset import LabelledDocument, load_dataset
from hunyuanocr.evaluate.run import Outcome, evaluate
from hunyuanocr.evaluate.summary import summarise

__all__ = ["LabelledDocument", "Outcome", "evaluate", "load_dataset", "summarise"]
