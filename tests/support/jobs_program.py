"""The API with its jobs as a program of its own, to be killed: `python -m tests.support.jobs_program PORT SECONDS`.

The settings come from the environment, the reader takes SECONDS for each picture. No picture is to blame for a death: on a slow
machine the same one may be under way at three of them.
"""

import sys

import uvicorn

from api.app import create_app
from hunyuanocr.config import load_settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.jobs import recovery
from tests.support.fake_backend import FakeBackend

if __name__ == "__main__":
    recovery.MAX_ATTEMPTS = 1000
    settings = load_settings(pipeline={"cache_mb": 0})
    pipeline = Pipeline(FakeBackend(float(sys.argv[2])), settings)
    uvicorn.run(create_app(settings, pipeline), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
