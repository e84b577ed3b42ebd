"""`hunyuanocr serve`: the same as `python app_web.py`, with its flags."""

from __future__ import annotations

import typer


def serve(context: typer.Context) -> None:
    """Serve the page and the API; takes the flags of app_web.py, --help too."""
    import app_web

    raise typer.Exit(app_web.main(context.args))
