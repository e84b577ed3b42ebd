"""An HTTP client of an app in this process that also gives access to the app."""

import httpx
from fastapi import FastAPI

from hunyuanocr.services.container import Services


class AppClient(httpx.AsyncClient):
    """Sends requests to `app` without a network; `address` is the client address that the app sees."""

    def __init__(self, app: FastAPI, *, base_url: str = "http://test", address: str = "127.0.0.1", timeout: float = 60) -> None:
        self.app = app
        super().__init__(transport=httpx.ASGITransport(app, client=(address, 123)), base_url=base_url, timeout=timeout)

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services
