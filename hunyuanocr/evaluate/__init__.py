"""Measure a backend on a folder of labelled images: `load_dataset`, `evaluate`, `summarise`."""

from hunyuanocr.evaluate.dataset import LabelledDocument, load_dataset
from hunyuanocr.evaluate.run import Outcome, evaluate
from hunyuanocr.evaluate.summary import summarise

__all__ = ["LabelledDocument", "Outcome", "evaluate", "load_dataset", "summarise"]
