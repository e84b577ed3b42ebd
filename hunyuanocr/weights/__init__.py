"""Model folders: found, verified by their headers within milliseconds, fetched by `hunyuanocr fetch` only. Needs no torch."""

from hunyuanocr.errors import WeightsInvalid, WeightsMissing
from hunyuanocr.weights.verify import Checkpoint, find, verify

__all__ = ["Checkpoint", "WeightsInvalid", "WeightsMissing", "find", "verify"]
