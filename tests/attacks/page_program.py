"""The appliance with its page as `app_web.py` serves it, around a reader for tests.

Its arguments: a folder, and settings as JSON. Into the folder it writes `routes.json`, the (method, path) of every route,
Gradio's own too, and `watched.txt`, a line for each path that Python opens, each address it contacts and each program it starts.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
_LOG = os.open(FOLDER / "watched.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_WATCHED = {
    "open": 0,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
    "subprocess.Popen": 1,
}


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in _WATCHED:
        os.write(_LOG, f"{event} {arguments[_WATCHED[event]]!r}\n".encode("utf-8", "replace"))


def serve() -> int:
    import app_web
    from hunyuanocr import log_setup
    from hunyuanocr.config import load_settings
    from tests.support.fake_backend import FakeBackend
    from tests.support.route_walker import routes_of

    given = json.loads(sys.argv[2])
    settings = load_settings(**given | {"server": {"port": 0, "api_port": 0, "grace_s": 1.0} | given.get("server", {})})
    log_setup.configure_logging(settings.log)
    reader = FakeBackend()
    reader.text = "合计 ¥36.80"
    page_app, api_app = app_web.create_apps(settings, reader, "A reader for tests.")
    routes: list[Any] = page_app.routes
    (own,) = [route.app for route in routes if type(getattr(route, "app", None)).__name__ == "GradioIsolationMiddleware"]
    (FOLDER / "routes.json").write_text(json.dumps([*routes_of(page_app.routes), *routes_of(own.app.routes)]))
    with app_web.listening(settings) as (page, api):
        app_web.announce(settings, "A reader for tests.", page, api)
        sys.stdout.flush()
        return asyncio.run(app_web.serve(page_app, page, api_app, api))


if __name__ == "__main__":
    sys.addaudithook(watch)
    sys.exit(serve())
