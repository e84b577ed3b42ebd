"""`hunyuanocr serve`: an alias of `python app_web.py` with the same flags."""

from __future__ import annotations

import typer


def serve(context: typer.Context) -> None:
    """Serve the web page and the API; accepts the flags of app_web.py, including --help."""
    import app_web

    raise typer.Exit(app_web.main(context.args))
