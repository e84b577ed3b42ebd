"""The server watches a folder if its settings name one."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from api.app import create_app
from hunyuanocr.config import PipelineSettings, Settings, WatchSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import open_client
from tests.support.fake_backend import FakeBackend, picture, wait_until


async def test_an_image_in_the_folder_becomes_a_result_and_a_record(reader: FakeBackend, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    watch = WatchSettings(folder=folder, interval_s=0.02)
    settings = Settings(data=tmp_path / "data", pipeline=PipelineSettings(cache_mb=0), watch=watch)
    async with AsyncExitStack() as stack:
        client = await open_client(stack, settings, reader)
        (folder / "a.png").write_bytes(picture(1))
        await wait_until((folder / "done" / "a.png").exists)
        answer = json.loads((folder / "done" / "a.png.json").read_text())
        record = (await client.get(f"/v1/records/{answer['id']}")).json()
        assert (record["source"], record["text"]) == ("watch", "#012030")


def test_a_file_instead_of_the_folder_fails_at_start(reader: FakeBackend, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    settings = Settings(watch=WatchSettings(folder=tmp_path / "a"))
    with pytest.raises(ConfigError, match="is not a folder"):
        create_app(settings, Pipeline(reader, settings))
