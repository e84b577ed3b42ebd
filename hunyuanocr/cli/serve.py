"""`hunyuanocr serve`: runs the program app_web with its own flags."""

from __future__ import annotations

import typer

from hunyuanocr.cli.common import run_program


def serve(context: typer.Context) -> None:
    """Serve the page and the API. All flags, --help too, are those of app_web.py."""
    run_program("app_web", context.args)
