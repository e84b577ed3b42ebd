"""The appliance as `app_web.py` serves it, around a reader that takes as many seconds as the first argument says."""

import asyncio
import sys

import app_web
from api.app import create_app
from api.network import Network
from hunyuanocr import logs
from hunyuanocr.config import load_settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.together import Services
from tests.readers import TestReader

settings = load_settings(server={"port": 0, "api_port": 0, "grace_s": float(sys.argv[2])}, pipeline={"cache_mb": 0})
logs.set_up(settings.log)
pipeline = Pipeline(TestReader(float(sys.argv[1])), settings)
services, network = Services(settings, pipeline), Network(settings)
apps = [create_app(settings, pipeline, services, network) for _ in range(2)]
with app_web._listening(settings) as (page, api):
    app_web._announce(settings, "A reader for tests.", page, api)
    sys.stdout.flush()
    sys.exit(asyncio.run(app_web._serve(apps[0], page, apps[1], api)))
