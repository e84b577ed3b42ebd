"""POST /v1/admin/model: another model takes over, what cannot be loaded changes nothing, and nobody else may ask for it."""

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import WeightsMissing
from hunyuanocr.services.model_memory import fits_second_model
from hunyuanocr.weights.verify import find
from tests.support.checkpoints import random_checkpoint
from tests.support.fake_backend import wait_until

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("models")
    return random_checkpoint(home / "first"), random_checkpoint(home / "second", seed=2)


@asynccontextmanager
async def opened(model: Path) -> AsyncIterator[FastAPI]:
    settings = Settings(
        backend="torch",
        model_path=model,
        device="cpu",
        torch=TorchSettings(vram_gb=0.2, max_num_seqs=2),
        pipeline={"evidence_backend": "off"},
        store={"enabled": False},
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await wait_until(lambda: app.state.pipeline.state.ready)
        yield app


def client(app: FastAPI, host: str = "127.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(host, 999)), base_url="http://test", timeout=120)


async def test_a_model_is_replaced_and_reported(models: tuple[Path, Path], tmp_path: Path) -> None:
    async with opened(models[0]) as app, client(app) as here:
        answer = await here.post("/v1/admin/model", json={"model_path": str(models[1])})
        assert (answer.status_code, answer.json()["id"]) == (200, "second"), answer.text
        for path in ("/version", "/ready"):
            assert (await here.get(path)).json()["model"] == "second"
        assert "(second)" in (await here.get("/ready")).json()["detail"]
        for wrong, code in (
            ({"model_path": str(tmp_path / "none")}, "invalid_value"),
            ({"backend": "magic"}, "invalid_value"),
            ({"modelpath": "x"}, "invalid_value"),
        ):
            refused = await here.post("/v1/admin/model", json=wrong)
            assert refused.status_code == 422, refused.text
            assert refused.json()["code"] == code, refused.text
        assert (await here.get("/version")).json()["model"] == "second"


async def test_swapping_is_local_and_one_at_a_time(models: tuple[Path, Path]) -> None:
    async with opened(models[0]) as app:
        for host in ("192.168.1.20", "8.8.8.8", "fe80::1", "testclient"):
            async with client(app, host) as away:
                refused = await away.post("/v1/admin/model", json={"model_path": str(models[1])})
                assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert app.state.pipeline.backend.model == "first"
        async with client(app) as here, app.state.pipeline.loading:
            refused = await here.post("/v1/admin/model", json={"model_path": str(models[1])})
            assert (refused.status_code, refused.json()["code"]) == (409, "model_busy")


def test_concurrent_loading_depends_on_free_memory(models: tuple[Path, Path], tmp_path: Path) -> None:
    settings, meminfo = Settings(backend="torch", model_path=models[0], device="cpu"), tmp_path / "meminfo"
    for available, expected in ((8 << 20, True), (1 << 19, False)):
        meminfo.write_text(f"MemTotal: 9 kB\nMemAvailable: {available} kB\n")
        assert fits_second_model(settings, meminfo) is expected
    assert not fits_second_model(settings, tmp_path / "none")
    assert fits_second_model(Settings(backend="ppocr"), tmp_path / "none")


@pytest.mark.parametrize("path", ["~nosuchuser/model", 5000 * "x", "/a/" + 300 * "x", "a\x00b", "/dev/null/x", "/etc/hostname/x"])
@pytest.mark.parametrize("memory", ["auto", "replace"])
async def test_a_model_path_that_cannot_exist_is_422(path: str, memory: str) -> None:
    """`expanduser` and `stat` raised errors that were answered with 500."""
    app = create_app(Settings(backend="fake", store={"enabled": False}))
    async with app.router.lifespan_context(app), client(app) as here:
        refused = await here.post("/v1/admin/model", json={"backend": "torch", "model_path": path, "memory": memory})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_value"), refused.text
        assert (await here.get("/v1/models")).json()["data"][0]["ready"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.EIO])
def test_an_unreadable_model_folder_is_a_missing_model(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(self: Path, **_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "stat", fails)  # root may read everything
    with pytest.raises(WeightsMissing, match=os.strerror(number)):
        find(tmp_path / "model")
