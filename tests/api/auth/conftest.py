"""An appliance on the network, and people with and without keys before it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.auth.api_keys import ApiKeyCache
from hunyuanocr.clock import utc_now
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.api_keys import ALL_SCOPES, DEFAULT_SCOPES, Scope, create_api_key
from hunyuanocr.store import keys
from tests.support.fake_backend import FakeBackend, wait_until

SECRET = "a secret of the provider that is long enough for HS256"
JWT = {"secret": SECRET, "issuer": "https://id.shop", "audience": "ocr"}
AWAY = {"server": {"host": "0.0.0.0"}}


@dataclass
class RunningApp:
    """An app and its keys by name."""

    app: FastAPI
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def authenticator(self) -> Any:
        return self.app.state.authenticator

    def key(self, name: str, scopes: Any = DEFAULT_SCOPES, owner: str | None = None, *, ended: str = "") -> str:
        """A new key, or one that has ended: `revoked` or `expired`."""
        text, key = create_api_key(name, owner or name, scopes)
        values = vars(key)
        if ended:
            values = values | {f"{'revoked' if ended == 'revoked' else 'expires'}_at": utc_now() - timedelta(seconds=1)}
        with self.authenticator.database.transaction() as session:
            keys.insert(session, keys.ApiKeyRow(**values))
        self.authenticator.api_keys.invalidate()
        self.keys[name] = text
        return text

    def client(self, key: str | None = None, *, address: str = "192.168.1.20", **options: Any) -> httpx.AsyncClient:
        """Someone at this address, with a key of this name (or the text of one)."""
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys.get(key, key)}"}
        transport = httpx.ASGITransport(self.app, client=(address, 4711))
        base = options.pop("base", "http://192.168.1.5:8000")
        headers |= options.pop("headers", {})
        return httpx.AsyncClient(transport=transport, base_url=base, timeout=60, headers=headers, **options)


Build = Callable[..., Any]


@pytest.fixture(autouse=True)
def patient_with_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the database takes on a busy machine, the keys are those that are there now."""
    monkeypatch.setattr(ApiKeyCache, "wait_s", 60.0)


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """`await build(security={…}, server={…})` → a RunningApp, running. Another one on the same data folder is a restart."""
    running: dict[Path, AsyncExitStack] = {}
    async with AsyncExitStack() as stack:

        async def built(page: bool = False, **settings: Any) -> RunningApp:
            given = Settings(**{"pipeline": {"cache_mb": 0}} | settings)
            pipeline = Pipeline(FakeBackend(), given)
            app = create_app(given, pipeline)
            if page:
                from web.app import mount_page

                mount_page(app, pipeline, given)
            if given.data in running:
                await running[given.data].aclose()
            running[given.data] = life = await stack.enter_async_context(AsyncExitStack())
            await life.enter_async_context(app.router.lifespan_context(app))
            await wait_until(lambda: pipeline.state.ready)
            return RunningApp(app)

        yield built


@pytest.fixture
async def running_app(build: Build) -> RunningApp:
    """On the network, with a key of each kind."""
    made = await build(**AWAY, security={"jwt": JWT})
    made.key("admin", ALL_SCOPES, "local")
    made.key("clinic", DEFAULT_SCOPES)
    made.key("shop", DEFAULT_SCOPES)
    made.key("reader", [Scope.READ])
    made.key("kiosk", [Scope.SUBMIT])
    return made


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token as the provider makes it, but for what the test changes; a claim that is None is left out."""
    usual = {"iss": JWT["issuer"], "aud": JWT["audience"], "sub": "nurse", "scope": "read submit", "exp": time.time() + 600}
    return jwt.encode({name: value for name, value in (usual | claims).items() if value is not None}, key, algorithm, headers)


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status and the error's code."""
    return answer.status_code, answer.json()["code"]
