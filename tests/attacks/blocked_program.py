"""The appliance as `app_web.py` serves it, whose event loop is blocked by `GET /block/{how}`; the first argument is the grace."""

import asyncio
import hashlib
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import app_web
from api.app import create_app
from api.network import NetworkLimits
from hunyuanocr import log_setup
from hunyuanocr.config import load_settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from tests.support.fake_backend import FakeBackend

BLOCKS: dict[str, Callable[[], object]] = {
    "sleep": lambda: time.sleep(600),  # checks for signals
    "digest": lambda: hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1),  # neither holds the lock nor checks for signals
    "device": lambda: deque(iter(partial(os.read, os.open("/dev/zero", os.O_RDONLY), 2**16), b""), maxlen=1),
    "pattern": lambda: re.fullmatch("(a+)+b", "a" * 60),  # holds the lock of the interpreter, and checks for signals
}  # fmt: skip

settings = load_settings(server={"port": 0, "api_port": 0, "grace_s": float(sys.argv[1])})
log_setup.configure_logging(settings.log)
pipeline = Pipeline(FakeBackend(), settings)
services, network = Services(settings, pipeline), NetworkLimits(settings)
apps = [create_app(settings, pipeline, services, network) for _ in range(2)]


@apps[1].get("/block/{how}")
async def block(how: str) -> None:
    BLOCKS[how]()


with app_web.listening(settings) as (page, api):
    app_web.announce(settings, "A reader for tests.", page, api)
    sys.stdout.flush()
    sys.exit(asyncio.run(app_web.serve(apps[0], page, apps[1], api)))
