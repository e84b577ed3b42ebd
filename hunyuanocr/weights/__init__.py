"""Model folders: find, verify and download. Verification reads headers only; only `hunyuanocr fetch` downloads."""

from hunyuanocr.errors import WeightsInvalid, WeightsMissing
from hunyuanocr.weights.verify import Checkpoint, find, verify

__all__ = ["Checkpoint", "WeightsInvalid", "WeightsMissing", "find", "verify"]
