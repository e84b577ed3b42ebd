"""Security headers for browsers; scripts of other websites get no access."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_backend import picture

ELSEWHERE = {"origin": "https://evil.example"}


async def test_headers_of_every_answer(come: Any) -> None:
    visit = await come()
    async with visit("127.0.0.1") as client:
        for path, status in (("/health", 200), ("/docs", 200), ("/nowhere", 404), ("/v1/records", 200), ("/docs/assets/x", 404)):
            r = await client.get(path)
            assert r.status_code == status, path
            assert r.headers["x-content-type-options"] == "nosniff"
            assert r.headers["referrer-policy"] == "same-origin"
            assert "camera=(self)" in r.headers["permissions-policy"]
        assert "frame-ancestors 'self'" in (await client.get("/docs")).headers["content-security-policy"]
        assert (await client.get("/v1/records")).headers["cache-control"] == "no-store"
        assert (await client.post("/ocr", files={"file": picture()})).headers["cache-control"] == "no-store"
        assert "no-store" not in (await client.get("/docs/assets/swagger-ui.css")).headers.get("cache-control", "")


@pytest.mark.parametrize("allowed", [[], ["https://till.shop.lan"]])
async def test_cors_blocks_other_websites(come: Any, allowed: list[Any]) -> None:
    visit = await come(origins=allowed)
    async with visit("127.0.0.1") as client:
        for r in (
            await client.get("/version", headers=ELSEWHERE),
            await client.post("/ocr", files={"file": picture()}, headers=ELSEWHERE),
            await client.options("/ocr", headers=ELSEWHERE | {"access-control-request-method": "POST"}),
            await client.get("/version", headers={"origin": "null"}),
        ):
            assert "access-control-allow-origin" not in r.headers
            assert "access-control-allow-credentials" not in r.headers


@pytest.mark.usefixtures("half_past")
async def test_cors_allows_configured_origins(come: Any) -> None:
    visit = await come(origins=["https://till.shop.lan"], requests_per_minute_per_ip=2)
    till = {"origin": "https://till.shop.lan"}
    async with visit("127.0.0.1") as client:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"}
        r = await client.options("/ocr", headers=till | asked)
        assert (r.status_code, r.headers["access-control-allow-origin"]) == (200, "https://till.shop.lan")
        assert "authorization" in r.headers["access-control-allow-headers"].lower()
        for status in (200, 200, 429):  # a refusal can be read too
            r = await client.get("/version", headers=till)
            assert (r.status_code, r.headers["access-control-allow-origin"]) == (status, "https://till.shop.lan")
            assert "retry-after" in r.headers["access-control-expose-headers"].lower()
