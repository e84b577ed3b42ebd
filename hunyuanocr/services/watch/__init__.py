"""Watch a folder: read new files, write results, move the originals to done/ or failed/."""

from hunyuanocr.services.watch.watcher import Watcher, WatchOptions, create_watcher, validate

__all__ = ["WatchOptions", "Watcher", "create_watcher", "validate"]
