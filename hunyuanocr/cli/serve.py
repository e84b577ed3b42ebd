"""`hunyuanocr serve`: the same as `python app_web.py`, with its flags."""

from __future__ import annotations

import typer


def serve(context: typer.Context) -> None:
    """Serve the page and the API; takes the flags of app_web.py (`hunyuanocr serve --help-server` lists them)."""
    import app_web

    arguments = ["--help" if a == "--help-server" else a for a in context.args]
    raise typer.Exit(app_web.main(arguments))
