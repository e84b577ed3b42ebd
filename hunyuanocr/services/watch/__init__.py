"""A folder whose new pictures are read: answers are filed in it, originals are moved to done/ or failed/."""

from hunyuanocr.services.watch.watcher import Watcher, WatchOptions, create_watcher, validate

__all__ = ["WatchOptions", "Watcher", "create_watcher", "validate"]
