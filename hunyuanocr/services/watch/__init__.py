"""A folder whose new pictures are read: answers are filed in it, originals are moved to done/ or failed/."""

from hunyuanocr.services.watch.watcher import Wanted, Watcher, check, watcher_for

__all__ = ["Wanted", "Watcher", "check", "watcher_for"]
