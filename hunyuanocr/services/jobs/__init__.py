"""Queued jobs: the desk accepts them and tells how they stand, the hands read them."""

from hunyuanocr.services.jobs.desk import Desk, Seen
from hunyuanocr.services.jobs.hands import Hands

__all__ = ["Desk", "Hands", "Seen"]
