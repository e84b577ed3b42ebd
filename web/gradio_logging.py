"""Exceptions in Gradio's events go into our log. Gradio prints them to stderr whole, and their words quote what people sent."""

from __future__ import annotations

import logging
import traceback

from gradio import queueing, route_utils, routes

log = logging.getLogger(__name__)


class _Logged:
    """In the place of the module `traceback` in Gradio's own."""

    def __getattr__(self, name: str) -> object:
        return getattr(traceback, name)

    @staticmethod
    def print_exc(*_: object, **__: object) -> None:
        log.exception("An event of the page failed.")


def redirect_tracebacks() -> None:
    """For the whole process; a second call changes nothing."""
    for module in (queueing, route_utils, routes):
        module.traceback = _Logged()
