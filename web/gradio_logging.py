"""Log exceptions in Gradio events. Gradio prints them to stderr in full, including data that users sent."""

from __future__ import annotations

import logging
import traceback

from gradio import queueing, route_utils, routes

log = logging.getLogger(__name__)


class _LoggingTraceback:
    """A replacement for the module `traceback` inside Gradio."""

    def __getattr__(self, name: str) -> object:
        return getattr(traceback, name)

    @staticmethod
    def print_exc(*_: object, **__: object) -> None:
        log.exception("A page event failed.")


def redirect_tracebacks() -> None:
    """Replace `traceback` in the modules of Gradio, for the whole process. Idempotent."""
    for module in (queueing, route_utils, routes):
        module.traceback = _LoggingTraceback()
