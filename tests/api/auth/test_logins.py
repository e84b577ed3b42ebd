"""The page's login and its session, and browsers that ask for somebody else."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.clock import boot_ticks, utc_now
from hunyuanocr.config import Settings
from hunyuanocr.store import keys
from tests.api.auth.conftest import AWAY, Build, RunningApp, code, token
from tests.support.fake_backend import picture

READ: dict[str, Any] = {"files": {"file": ("a.png", picture(), "image/png")}}


async def logged_in(running_app: Any, form: dict[Any, Any], **options: Any) -> Any:
    client = running_app.client(**options)
    return client, await client.post("/login", data=form)


async def test_a_session_lasts_until_logout(running_app: RunningApp) -> None:
    client, answer = await logged_in(running_app, {"key": running_app.keys["clinic"], "next": "/docs"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert running_app.keys["clinic"] not in answer.text + str(answer.headers)
    assert (await client.post("/ocr", **READ)).status_code == 200
    assert (await client.get("/v1/records")).json()["data"][0]["source"] == "ocr"
    assert "clinic" in (await client.get("/login")).text
    copied = dict(client.cookies)
    assert (await client.post("/logout")).status_code == 303
    assert not client.cookies
    async with running_app.client(cookies=copied) as thief:
        assert code(await thief.get("/v1/records")) == (401, "unauthorized")
    await client.aclose()


async def test_a_session_ends_with_its_key_and_its_cookie_is_secure_over_https(running_app: RunningApp) -> None:
    client, answer = await logged_in(running_app, {"key": running_app.keys["shop"]}, base="https://192.168.1.5")
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert (await client.get("/v1/records")).status_code == 200
    with running_app.authenticator.database.transaction() as session:
        keys.revoke(session, running_app.keys["shop"].split("_")[1], utc_now())
    running_app.authenticator.api_keys.invalidate()
    assert code(await client.get("/v1/records")) == (401, "unauthorized")
    await client.aclose()


@pytest.fixture
def again(build: Build, tmp_path: Path) -> Callable[..., Any]:
    """An appliance with this data folder, as after a restart."""
    return lambda: build(**AWAY, data=tmp_path)


async def test_revocations_survive_a_restart(again: Callable[..., Any]) -> None:
    running_app = await again()
    for name in ("leaver", "stayer", "revoked"):
        running_app.key(name)
    copied = {}
    for name in running_app.keys:
        client, answer = await logged_in(running_app, {"key": running_app.keys[name]})
        copied[name] = dict(client.cookies)
        assert answer.status_code == 303
        if name == "leaver":
            assert (await client.post("/logout")).status_code == 303
        await client.aclose()
    with running_app.authenticator.database.transaction() as session:
        keys.revoke(session, running_app.keys["revoked"].split("_")[1], utc_now())
    running_app = await again()
    for name, inside in (("leaver", False), ("revoked", False), ("stayer", True)):
        async with running_app.client(cookies=copied[name]) as client:
            assert ((await client.get("/v1/records")).status_code == 200) == inside, name


async def test_a_damaged_revocation_file_ends_all_sessions(
    again: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running_app = await again()
    running_app.key("clinic")
    client, _ = await logged_in(running_app, {"key": running_app.keys["clinic"]})
    copied = dict(client.cookies)
    assert (await client.post("/logout")).status_code == 303
    for damage in (b"", b"[]", b"{", b'{"a": null}', b"\xff"):
        (tmp_path / "session.ended").write_bytes(damage)
        running_app = await again()
        async with running_app.client(cookies=copied) as thief:
            assert code(await thief.get("/v1/records")) == (401, "unauthorized"), damage
        assert "session.ended is damaged" in caplog.text
        caplog.clear()
    running_app.key("clinic")
    client, _ = await logged_in(running_app, {"key": running_app.keys["clinic"]})
    running_app = await again()
    async with running_app.client(cookies=dict(client.cookies)) as stayer:
        assert (await stayer.get("/v1/records")).status_code == 200
        assert (await stayer.post("/logout")).status_code == 303
    assert (tmp_path / "session.ended").stat().st_mode & 0o777 == 0o600


async def test_expired_revocations_are_removed(running_app: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = running_app.authenticator.sessions
    shop = await running_app.authenticator.identity_from_token(running_app.keys["shop"])
    first, _ = sessions.create(shop)
    sessions.revoke(first)
    assert len(sessions.revoked) == 1
    await running_app.app.state.services.keeper.ready()
    monkeypatch.setattr(sessions.clock, "ticks", lambda: boot_ticks() + 1e6)
    second, _ = sessions.create(shop)
    sessions.revoke(second)
    assert len(sessions.revoked) == 1


async def test_forged_cookies_are_rejected(running_app: RunningApp) -> None:
    client, _ = await logged_in(running_app, {"key": running_app.keys["kiosk"]})
    ((name, good),) = client.cookies.items()
    body, signature = good.split(".")
    other, _ = running_app.authenticator.sessions.create(
        await running_app.authenticator.identity_from_token(running_app.keys["admin"])
    )
    swapped = f"{other.split('.')[0]}.{signature}"
    for forged in (body, f"{body}.", f".{signature}", swapped, good[:-1], "x" * 9000, "é", ".", "e30.e30"):
        async with running_app.client(headers={"Cookie": f"{name}={forged}".encode()}) as forger:
            assert code(await forger.get("/v1/models")) == (401, "unauthorized"), forged[:50]
    await client.aclose()


async def test_a_session_does_not_outlast_its_token(running_app: RunningApp) -> None:
    client, answer = await logged_in(running_app, {"key": token(exp=time.time() + 5)})
    assert 0 < int(answer.headers["set-cookie"].split("Max-Age=")[1].split(";")[0]) <= 35
    assert (await client.get("/v1/models")).status_code == 200
    identity = await running_app.authenticator.sessions.identity(client.cookies["hunyuanocr_session"])
    assert (identity.owner, identity.has_scope("admin")) == ("nurse", False)
    await client.aclose()


async def test_a_login_link_is_valid_once_and_not_redeemed_by_get(build: Build) -> None:
    running_app = await build(**AWAY)
    _, link = running_app.authenticator.bootstrap_admin_key()
    async with running_app.client() as preview:
        for _ in range(2):
            page = await preview.get("/login", params={"code": link})
            assert (page.status_code, link in page.text) == (200, True)
            assert "set-cookie" not in page.headers
            assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await preview.post("/login", data={"code": link})).status_code == 303
        assert (await preview.get("/v1/admin/keys")).status_code == 200
    async with running_app.client() as second:
        assert (await second.post("/login", data={"code": link})).status_code == 401
        assert code(await second.get("/v1/admin/keys")) == (401, "unauthorized")


async def test_invalid_login_requests(running_app: RunningApp) -> None:
    async with running_app.client() as client:
        key = running_app.keys["admin"]
        for form in ({"key": ""}, {"key": "wrong"}, {"code": "wrong"}, {"code": key}, {"key": key + " x"}, {"name": key}):
            answer = await client.post("/login", data=form)
            assert (answer.status_code, "alert" in answer.text) == (401, True), form
        assert code(await client.post("/login", json={"key": running_app.keys["admin"]})) == (400, "bad_request")
        assert code(await client.post("/login", data={"key": "x" * 20_000})) == (413, "image_too_large")
        assert code(await client.post("/login", data={f"k{n}": "1" for n in range(20)})) == (400, "bad_request")
        for elsewhere in ("//evil.com", "https://evil.com", "/\\evil.com", "javascript:alert(1)", '"><script>'):
            answer = await client.post("/login", data={"key": running_app.keys["admin"], "next": elsewhere})
            assert answer.headers["location"] == "/"
            async with running_app.client() as nobody:
                assert elsewhere not in (await nobody.get("/login", params={"next": elsewhere})).text
        page = (await client.get("/login", params={"code": '"><script>alert(1)</script>'})).text
        assert "<script>" not in page


# Browsers that ask for somebody else.


async def test_cross_origin_requests_and_logins_are_rejected(running_app: RunningApp) -> None:
    client, _ = await logged_in(running_app, {"key": running_app.keys["clinic"]})
    near = ("http://192.168.1.5:9999", "http://192.168.1.50:8000", "https://192.168.1.5")
    for origin in ("http://evil.com", "null", "http://[", "", *near):
        for path, sent in (("/ocr", READ), ("/login", {"data": {"key": running_app.keys["shop"]}}), ("/logout", {})):
            assert code(await client.post(path, **sent, headers={"Origin": origin})) == (403, "foreign_site"), (path, origin)
    assert (await client.post("/ocr", **READ, headers={"Origin": "http://192.168.1.5:8000"})).status_code == 200
    await client.aclose()
    async with running_app.client("clinic", headers={"Origin": "http://evil.com"}) as script:
        assert (await script.post("/ocr", **READ)).status_code == 200, "a key that is sent on purpose speaks for itself"


@pytest.mark.parametrize(("origin", "base", "ours"), [
    ("http://ocr.lan", "http://ocr.lan", True), ("http://ocr.lan:8000", "http://ocr.lan:8000", True),
    ("https://ocr.lan", "https://ocr.lan", True), ("https://ocr.lan", "http://ocr.lan", True),  # a proxy that names no scheme
    ("https://ocr.lan:8443", "https://ocr.lan:8443", True), ("http://ocr.lan:9999", "http://ocr.lan", False),
    ("https://ocr.lan:9999", "https://ocr.lan", False), ("http://ocr.lan", "https://ocr.lan", False),
    ("http://ocr.lan:8443", "https://ocr.lan:8443", False), ("http://ocr.lan", "http://ocr.lan:8000", False),
])  # fmt: skip
async def test_another_port_or_scheme_is_cross_origin(running_app: RunningApp, origin: str, base: str, ours: bool) -> None:
    async with running_app.client(base=base) as browser:
        answer = await browser.post("/login", data={"key": running_app.keys["shop"]}, headers={"Origin": origin})
    assert answer.status_code == (303 if ours else 403)


async def test_cross_origin_requests_without_authentication_are_rejected(build: Build) -> None:
    running_app = await build(network={"origins": ["https://till.shop.lan"]}, security={"public_hostnames": ["ocr.shop.com"]})
    async with running_app.client(address="127.0.0.1", base="http://127.0.0.1:8000") as browser:
        assert code(await browser.post("/ocr", **READ, headers={"Origin": "http://evil.com"})) == (403, "foreign_site")
        assert (await browser.post("/ocr", **READ, headers={"Origin": "https://till.shop.lan"})).status_code == 200
        assert (await browser.post("/ocr", **READ, headers={"Origin": "http://127.0.0.1:8000"})).status_code == 200
        for rebound in ("evil.com", "evil.com:8000", "127.0.0.1.evil.com", "a.b.c.", "[evil"):
            assert code(await browser.get("/v1/records", headers={"Host": rebound})) == (403, "foreign_site"), rebound
        for own in ("127.0.0.1:8000", "localhost", "[::1]:8000", "192.168.1.5", "shop-pc", "shop-pc.local", "ocr.shop.com"):
            assert (await browser.get("/v1/records", headers={"Host": own})).status_code == 200, own


def test_settings_that_would_disable_authentication_by_mistake() -> None:
    for wrong in ({"devices": ["0.0.0.0/0"]}, {"devices": ["::/0"]}, {"open": True, "required": True}):
        with pytest.raises(ValueError, match="security"):
            Settings(security=wrong)
