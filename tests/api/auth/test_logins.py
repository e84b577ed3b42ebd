"""The page's login and its session, and browsers that ask for somebody else."""

import time

import pytest

from hunyuanocr.clock import boot_ticks, utc_now
from hunyuanocr.config import Settings
from hunyuanocr.store import keys
from tests.api.auth.conftest import AWAY, code, token
from tests.support.fake_backend import picture

READ = {"files": {"file": ("a.png", picture(), "image/png")}}


async def logged_in(house, form, **options):
    client = house.client(**options)
    return client, await client.post("/login", data=form)


async def test_a_login_is_a_session_until_the_logout(house):
    client, answer = await logged_in(house, {"key": house.keys["clinic"], "next": "/docs"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert house.keys["clinic"] not in answer.text + str(answer.headers)
    assert (await client.post("/ocr", **READ)).status_code == 200
    assert (await client.get("/v1/records")).json()["data"][0]["source"] == "ocr"
    assert "clinic" in (await client.get("/login")).text
    copied = dict(client.cookies)
    assert (await client.post("/logout")).status_code == 303
    assert not client.cookies
    async with house.client(cookies=copied) as thief:
        assert code(await thief.get("/v1/records")) == (401, "unauthorized")
    await client.aclose()


async def test_a_session_ends_with_its_key_and_over_https_the_cookie_is_for_https(house):
    client, answer = await logged_in(house, {"key": house.keys["shop"]}, base="https://192.168.1.5")
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert (await client.get("/v1/records")).status_code == 200
    with house.gate.database.transaction() as session:
        keys.revoke(session, house.keys["shop"].split("_")[1], utc_now())
    house.gate.keyring.invalidate()
    assert code(await client.get("/v1/records")) == (401, "unauthorized")
    await client.aclose()


@pytest.fixture
def again(build, tmp_path):
    """An appliance with this data folder, as after a restart."""
    return lambda: build(**AWAY, data=tmp_path)


async def test_a_logout_and_a_revoked_key_outlast_a_restart(again):
    house = await again()
    for name in ("leaver", "stayer", "revoked"):
        house.key(name)
    copied = {}
    for name in house.keys:
        client, answer = await logged_in(house, {"key": house.keys[name]})
        copied[name] = dict(client.cookies)
        assert answer.status_code == 303
        if name == "leaver":
            assert (await client.post("/logout")).status_code == 303
        await client.aclose()
    with house.gate.database.transaction() as session:
        keys.revoke(session, house.keys["revoked"].split("_")[1], utc_now())
    house = await again()
    for name, inside in (("leaver", False), ("revoked", False), ("stayer", True)):
        async with house.client(cookies=copied[name]) as client:
            assert ((await client.get("/v1/records")).status_code == 200) == inside, name


async def test_where_it_cannot_be_told_who_has_logged_out_everybody_has(again, tmp_path, caplog):
    house = await again()
    house.key("clinic")
    client, _ = await logged_in(house, {"key": house.keys["clinic"]})
    copied = dict(client.cookies)
    assert (await client.post("/logout")).status_code == 303
    for damage in (b"", b"[]", b"{", b'{"a": null}', b"\xff"):
        (tmp_path / "session.ended").write_bytes(damage)
        house = await again()
        async with house.client(cookies=copied) as thief:
            assert code(await thief.get("/v1/records")) == (401, "unauthorized"), damage
        assert "session.ended is damaged" in caplog.text
        caplog.clear()
    house.key("clinic")
    client, _ = await logged_in(house, {"key": house.keys["clinic"]})
    house = await again()
    async with house.client(cookies=dict(client.cookies)) as stayer:
        assert (await stayer.get("/v1/records")).status_code == 200
        assert (await stayer.post("/logout")).status_code == 303
    assert (tmp_path / "session.ended").stat().st_mode & 0o777 == 0o600


async def test_those_who_left_are_forgotten_when_their_time_is_over(house, monkeypatch):
    sessions = house.gate.sessions
    shop = await house.gate.identity_from_token(house.keys["shop"])
    first, _ = sessions.create(shop)
    sessions.revoke(first)
    assert len(sessions._ended) == 1
    await house.app.state.services._keeper.ready()
    monkeypatch.setattr(sessions._clock, "ticks", lambda: boot_ticks() + 1e6)
    second, _ = sessions.create(shop)
    sessions.revoke(second)
    assert len(sessions._ended) == 1


async def test_forged_cookies_are_nothing(house):
    client, _ = await logged_in(house, {"key": house.keys["kiosk"]})
    ((name, good),) = client.cookies.items()
    body, signature = good.split(".")
    other, _ = house.gate.sessions.create(await house.gate.identity_from_token(house.keys["admin"]))
    swapped = f"{other.split('.')[0]}.{signature}"
    for forged in (body, f"{body}.", f".{signature}", swapped, good[:-1], "x" * 9000, "é", ".", "e30.e30"):
        async with house.client(headers={"Cookie": f"{name}={forged}".encode()}) as forger:
            assert code(await forger.get("/v1/models")) == (401, "unauthorized"), forged[:50]
    await client.aclose()


async def test_a_token_may_log_in_and_lasts_no_longer(house):
    client, answer = await logged_in(house, {"key": token(exp=time.time() + 5)})
    assert 0 < int(answer.headers["set-cookie"].split("Max-Age=")[1].split(";")[0]) <= 35
    assert (await client.get("/v1/models")).status_code == 200
    identity = await house.gate.sessions.identity(client.cookies["hunyuanocr_session"])
    assert (identity.owner, identity.has_scope("admin")) == ("nurse", False)
    await client.aclose()


async def test_a_login_link_is_good_once_and_not_used_up_by_looking(build):
    house = await build(**AWAY)
    _, link = house.gate.bootstrap_admin_key()
    async with house.client() as preview:
        for _ in range(2):
            page = await preview.get("/login", params={"code": link})
            assert (page.status_code, link in page.text) == (200, True)
            assert "set-cookie" not in page.headers
            assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await preview.post("/login", data={"code": link})).status_code == 303
        assert (await preview.get("/v1/admin/keys")).status_code == 200
    async with house.client() as second:
        assert (await second.post("/login", data={"code": link})).status_code == 401
        assert code(await second.get("/v1/admin/keys")) == (401, "unauthorized")


async def test_what_the_login_does_not_take(house):
    async with house.client() as client:
        key = house.keys["admin"]
        for form in ({"key": ""}, {"key": "wrong"}, {"code": "wrong"}, {"code": key}, {"key": key + " x"}, {"name": key}):
            answer = await client.post("/login", data=form)
            assert (answer.status_code, "alert" in answer.text) == (401, True), form
        assert code(await client.post("/login", json={"key": house.keys["admin"]})) == (400, "bad_request")
        assert code(await client.post("/login", data={"key": "x" * 20_000})) == (413, "image_too_large")
        assert code(await client.post("/login", data={f"k{n}": "1" for n in range(20)})) == (400, "bad_request")
        for elsewhere in ("//evil.com", "https://evil.com", "/\\evil.com", "javascript:alert(1)", '"><script>'):
            answer = await client.post("/login", data={"key": house.keys["admin"], "next": elsewhere})
            assert answer.headers["location"] == "/"
            async with house.client() as nobody:
                assert elsewhere not in (await nobody.get("/login", params={"next": elsewhere})).text
        page = (await client.get("/login", params={"code": '"><script>alert(1)</script>'})).text
        assert "<script>" not in page


# Browsers that ask for somebody else.


async def test_another_website_may_not_use_a_session_or_log_somebody_in(house):
    client, _ = await logged_in(house, {"key": house.keys["clinic"]})
    near = ("http://192.168.1.5:9999", "http://192.168.1.50:8000", "https://192.168.1.5")
    for origin in ("http://evil.com", "null", "http://[", "", *near):
        for path, sent in (("/ocr", READ), ("/login", {"data": {"key": house.keys["shop"]}}), ("/logout", {})):
            assert code(await client.post(path, **sent, headers={"Origin": origin})) == (403, "foreign_site"), (path, origin)
    assert (await client.post("/ocr", **READ, headers={"Origin": "http://192.168.1.5:8000"})).status_code == 200
    await client.aclose()
    async with house.client("clinic", headers={"Origin": "http://evil.com"}) as script:
        assert (await script.post("/ocr", **READ)).status_code == 200, "a key that is sent on purpose speaks for itself"


@pytest.mark.parametrize(("origin", "base", "ours"), [
    ("http://ocr.lan", "http://ocr.lan", True), ("http://ocr.lan:8000", "http://ocr.lan:8000", True),
    ("https://ocr.lan", "https://ocr.lan", True), ("https://ocr.lan", "http://ocr.lan", True),  # a proxy that names no scheme
    ("https://ocr.lan:8443", "https://ocr.lan:8443", True), ("http://ocr.lan:9999", "http://ocr.lan", False),
    ("https://ocr.lan:9999", "https://ocr.lan", False), ("http://ocr.lan", "https://ocr.lan", False),
    ("http://ocr.lan:8443", "https://ocr.lan:8443", False), ("http://ocr.lan", "http://ocr.lan:8000", False),
])  # fmt: skip
async def test_another_port_or_a_page_without_https_is_another_website(house, origin, base, ours):
    async with house.client(base=base) as browser:
        answer = await browser.post("/login", data={"key": house.keys["shop"]}, headers={"Origin": origin})
    assert answer.status_code == (303 if ours else 403)


async def test_where_nobody_is_asked_no_website_may_ask_either(build):
    house = await build(network={"origins": ["https://till.shop.lan"]}, security={"public_hostnames": ["ocr.shop.com"]})
    async with house.client(address="127.0.0.1", base="http://127.0.0.1:8000") as browser:
        assert code(await browser.post("/ocr", **READ, headers={"Origin": "http://evil.com"})) == (403, "foreign_site")
        assert (await browser.post("/ocr", **READ, headers={"Origin": "https://till.shop.lan"})).status_code == 200
        assert (await browser.post("/ocr", **READ, headers={"Origin": "http://127.0.0.1:8000"})).status_code == 200
        for rebound in ("evil.com", "evil.com:8000", "127.0.0.1.evil.com", "a.b.c.", "[evil"):
            assert code(await browser.get("/v1/records", headers={"Host": rebound})) == (403, "foreign_site"), rebound
        for own in ("127.0.0.1:8000", "localhost", "[::1]:8000", "192.168.1.5", "shop-pc", "shop-pc.local", "ocr.shop.com"):
            assert (await browser.get("/v1/records", headers={"Host": own})).status_code == 200, own


def test_settings_that_would_open_the_door_by_mistake():
    for wrong in ({"devices": ["0.0.0.0/0"]}, {"devices": ["::/0"]}, {"open": True, "required": True}):
        with pytest.raises(ValueError, match="security"):
            Settings(security=wrong)
