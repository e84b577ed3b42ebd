"""Who asks, and what he sees: keys, tenants, devices, and the first start."""

import hmac
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.clock import utc_now
from hunyuanocr.errors import InvalidValue, StoreUnavailable
from hunyuanocr.services.api_keys import ALL_SCOPES, DEFAULT_SCOPES, create_api_key
from hunyuanocr.store import keys
from tests.api.auth.conftest import AWAY, JWT, Build, RunningApp, code
from tests.support.fake_backend import picture, wait_until

READ: dict[str, Any] = {"files": {"file": ("a.png", picture(), "image/png")}}


async def test_missing_and_invalid_keys_are_rejected_on_every_route(running_app: RunningApp) -> None:
    async with running_app.client() as nobody:
        assert code(await nobody.get("/v1/records")) == (401, "unauthorized")
        assert (await nobody.get("/health")).status_code == 200
        for bad in (
            "hyo_0_0",
            "hyo_",
            "",
            "é",
            "\x00",
            "x" * 5000,
            running_app.keys["admin"] + "x",
            running_app.keys["admin"][:-1],
        ):
            for header in ({b"X-API-Key": bad.encode()}, {b"Authorization": b"Bearer " + bad.encode()}):
                answer = await nobody.get("/v1/records", headers=header)
                assert code(answer) == (401, "bad_key"), bad
                assert bad not in answer.text or not bad, "it is not sent back"
        assert code(await nobody.get("/v1/records", headers={"Authorization": "Digest YTpi"})) == (401, "unauthorized")
        for lasting in ("key", "api_key", "token", "access_token", "ticket"):
            answer = await nobody.get("/v1/records", params={lasting: running_app.keys["admin"]})
            assert code(answer) == (401, "unauthorized"), "no key in an address"


async def test_each_owner_sees_its_own_data(running_app: RunningApp) -> None:
    async with running_app.client("clinic") as clinic, running_app.client("shop") as shop, running_app.client("reader") as reader:
        id = (await clinic.post("/ocr", **READ)).json()["id"]
        job = (await clinic.post("/v1/jobs", **READ)).json()["id"]
        batch = (await clinic.post("/v1/batch", **READ)).headers["location"]
        mine = [f"/v1/records/{id}", f"/v1/jobs/{job}", batch, f"{batch}/results"]
        assert [(await clinic.get(place)).status_code for place in mine] == [200] * 4
        for other in (shop, reader):
            for place in (*mine, f"/v1/records/{id}/image"):
                assert code(await other.get(place)) == (404, "not_found")
            assert (await other.get("/v1/records")).json()["data"] == []
            assert (await other.get("/v1/jobs")).json()["data"] == []
            assert (await other.get("/v1/records/export")).text.count(id) == 0
        for place in (f"/v1/records/{id}", f"/v1/jobs/{job}", batch):
            assert code(await shop.delete(place)) == (404, "not_found")
            assert code(await reader.delete(place)) == (403, "missing_scope")
        assert (await clinic.delete(f"/v1/records/{id}")).status_code == 204


async def test_keys_of_one_owner_share_records(running_app: RunningApp) -> None:
    running_app.key("till 1", DEFAULT_SCOPES, owner="market")
    running_app.key("till 2", DEFAULT_SCOPES, owner="market")
    async with running_app.client("till 1") as one, running_app.client("till 2") as two:
        id = (await one.post("/ocr", **READ)).json()["id"]
        assert (await two.get(f"/v1/records/{id}")).status_code == 200


async def test_keys_are_made_used_listed_and_revoked(running_app: RunningApp) -> None:
    async with running_app.client("admin") as admin:
        made = (await admin.post("/v1/admin/keys", json={"name": "pda", "scopes": ["submit"], "days": 1})).json()
        assert (made["owner"], made["scopes"], made["seen_at"]) == ("pda", ["submit"], None)
        async with running_app.client(made["key"]) as pda:
            assert (await pda.post("/ocr", **READ)).status_code == 200
            assert code(await pda.get("/v1/records")) == (403, "missing_scope")
            assert code(await pda.post("/v1/admin/keys", json={"name": "mine", "scopes": ["admin"]})) == (403, "missing_scope")
            await running_app.authenticator.api_keys.flush_last_used()
            listed = (await admin.get("/v1/admin/keys")).json()["data"]
            (pda_listed,) = [key for key in listed if key["id"] == made["id"]]
            assert pda_listed["seen_at"] is not None
            assert "key" not in pda_listed
            assert made["key"].split("_")[2] not in str(listed)
            assert (await admin.delete(f"/v1/admin/keys/{made['id']}")).status_code == 204
            assert code(await pda.post("/ocr", **READ)) == (401, "bad_key")
        assert code(await admin.delete(f"/v1/admin/keys/{made['id']}")) == (404, "not_found")
        wrong: dict[str, Any]
        for wrong in ({"name": ""}, {"name": "a\nb"}, {"scopes": []}, {"scopes": ["root"]}, {"days": 0}, {"key": "hyo_mine"}):
            assert code(await admin.post("/v1/admin/keys", json={"name": "x"} | wrong)) == (422, "invalid_value"), wrong


async def test_a_key_that_another_process_revokes_is_refused_within_a_second(running_app: RunningApp) -> None:
    async with running_app.client("shop") as shop:
        assert (await shop.get("/v1/records")).status_code == 200
        with running_app.authenticator.database.transaction() as session:  # as `hunyuanocr keys revoke` does
            assert keys.revoke(session, running_app.keys["shop"].split("_")[1], utc_now())
        revoked = time.monotonic()
        while (await shop.get("/v1/records")).status_code == 200:
            assert time.monotonic() - revoked < 60, "never"


async def test_cached_keys_expire_while_the_database_is_unavailable(
    running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise StoreUnavailable("gone")

    async with running_app.client("shop") as shop:
        assert (await shop.get("/v1/models")).status_code == 200
        monkeypatch.setattr(running_app.authenticator.database, "read_transaction", away)
        running_app.authenticator.api_keys.invalidate()
        assert (await shop.get("/v1/models")).status_code == 200
        running_app.authenticator.api_keys.ticks = lambda: time.monotonic() + 400
        assert code(await shop.get("/v1/models")) == (503, "store_unavailable")


def test_stored_keys_are_hashed() -> None:
    text, key = create_api_key("till", "shop", DEFAULT_SCOPES)
    assert text.split("_", 2)[2] not in str(key)
    assert len(text.split("_", 2)[2]) == 43, "256 bits"
    assert create_api_key("till", "shop", DEFAULT_SCOPES)[0] != text
    with pytest.raises(InvalidValue):
        create_api_key("till", "shop", DEFAULT_SCOPES, expires_at=utc_now() - timedelta(seconds=1))


async def test_key_comparison_takes_constant_time(running_app: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock would be at the mercy of the machine: instead, whatever key comes, digests of one length are compared once, in
    constant time, also where there is no such key.
    """
    compared, compare = [], hmac.compare_digest

    def seen(one: Any, other: Any) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    good = running_app.keys["clinic"]
    wrong_at_once = "_".join([*good.split("_")[:2], "A" * 43])
    wrong_at_the_end = good[:-1] + ("A" if good[-1] != "A" else "B")
    monkeypatch.setattr(hmac, "compare_digest", seen)
    async with running_app.client() as anybody:
        for key, status in ((good, 200), (wrong_at_once, 401), (wrong_at_the_end, 401), ("hyo_000000000000_" + "A" * 43, 401)):
            compared.clear()
            answer = await anybody.get("/v1/records", headers={"X-API-Key": key})
            assert (answer.status_code, compared) == (status, [(64, 64)]), key


# Where nobody is asked.


async def test_loopback_needs_no_authentication_by_default(build: Build) -> None:
    running_app = await build()
    async with running_app.client("any word", address="127.0.0.1", base="http://127.0.0.1:8000") as here:
        assert (await here.post("/ocr", **READ)).status_code == 200
        assert (await here.get("/v1/admin/keys")).status_code == 200
        forwarded = await here.get("/v1/records", headers={"X-Forwarded-For": "192.168.1.7"})
        assert code(forwarded) == (401, "bad_key"), "a proxy on this machine that nobody named hands on other people's requests"
    async with running_app.client(address="192.168.1.20") as away:
        assert code(await away.get("/v1/records")) == (401, "unauthorized")


async def test_the_first_key_enables_authentication_permanently(build: Build) -> None:
    running_app = await build()
    async with running_app.client(address="127.0.0.1") as here:
        made = (await here.post("/v1/admin/keys", json={"name": "a", "scopes": ["admin"]})).json()
        assert code(await here.get("/v1/records")) == (401, "unauthorized")
        async with running_app.client(made["key"], address="127.0.0.1") as admin:
            assert (await admin.delete(f"/v1/admin/keys/{made['id']}")).status_code == 204
        assert code(await here.get("/v1/records")) == (401, "unauthorized")
    assert running_app.authenticator.api_keys.marker_file.exists()


async def test_authentication_stays_enabled_while_the_database_is_unavailable(build: Build, tmp_path: Path) -> None:
    nowhere = {"url": f"sqlite:///{tmp_path / 'file' / 'x.db'}"}
    (tmp_path / "file").write_text("no folder")
    running_app = await build(store=nowhere, data=tmp_path)
    async with running_app.client(address="127.0.0.1") as here:
        assert (await here.get("/v1/models")).status_code == 200, "never any keys: nothing to protect"
    (tmp_path / "keys-in-use").touch()
    running_app = await build(store=nowhere, data=tmp_path)
    async with running_app.client(address="127.0.0.1") as here:
        assert code(await here.get("/v1/models")) == (401, "unauthorized")
        key, _ = create_api_key("a", "a", DEFAULT_SCOPES)
        assert code(await here.get("/v1/models", headers={"X-API-Key": key})) == (503, "store_unavailable")


@pytest.mark.parametrize(
    "network", [{}, {"security": {"require_auth_on_loopback": True}}, {"security": {"allow_anonymous": True}}]
)
async def test_keys_of_another_instance_in_the_data_folder_are_reported(
    build: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, network: Any
) -> None:
    """Without a word, an address on loopback asked for a key because of another instance's marker file."""
    await build(data=tmp_path, **network)
    assert "keys were created" not in caplog.text
    (tmp_path / "keys-in-use").touch()
    running_app = await build(data=tmp_path, **network)
    await wait_until(lambda: bool(network) or "need a key" in caplog.text)
    async with running_app.client(address="127.0.0.1") as here:
        for _ in range(2):
            await here.get("/v1/models")
    assert caplog.text.count("need a key, because keys were created") == (0 if network else 1)
    assert (str(tmp_path) in caplog.text) == (not network)


async def test_a_key_that_is_created_while_running_is_reported(build: Any, caplog: pytest.LogCaptureFixture) -> None:
    running_app = await build()
    async with running_app.client(address="127.0.0.1") as here:
        assert (await here.get("/v1/models")).status_code == 200
        running_app.key("admin", ALL_SCOPES)
        assert code(await here.get("/v1/models")) == (401, "unauthorized")
    assert caplog.text.count("need a key, because keys were created") == 1


async def test_anonymous_access_excludes_administration(build: Any) -> None:
    running_app = await build(**AWAY, security={"allow_anonymous": True})
    async with running_app.client("any word") as visitor, running_app.client(address="127.0.0.1") as here:
        assert (await visitor.post("/ocr", **READ)).status_code == 200
        assert (await visitor.get("/v1/records")).status_code == 200
        assert code(await visitor.get("/v1/admin/keys")) == (403, "missing_scope")
        assert (await here.get("/v1/admin/keys")).status_code == 200
    running_app.key("admin", ALL_SCOPES)
    async with running_app.client("admin") as admin:
        assert (await admin.get("/v1/admin/keys")).status_code == 200


async def test_loopback_of_a_proxy_is_not_local(build: Build) -> None:
    running_app = await build(
        server={"host": "0.0.0.0"}, security={"allow_anonymous": True}, network={"trusted_proxies": ["192.168.1.9", "127.0.0.1"]}
    )
    for proxy, administers in (("192.168.1.9", 403), ("127.0.0.1", 200)):
        async with running_app.client(address=proxy, headers={"X-Forwarded-For": "127.0.0.1"}) as client:
            assert (await client.get("/v1/admin/keys")).status_code == administers, proxy


async def test_devices_are_identified_by_address(build: Build) -> None:
    running_app = await build(**AWAY, security={"devices": ["192.168.1.20", "10.1.0.0/16"]})
    async with (
        running_app.client() as scanner,
        running_app.client(address="10.1.2.3") as other,
        running_app.client(address="10.2.0.1") as stranger,
    ):
        id = (await scanner.post("/ocr", **READ)).json()["id"]
        assert (await scanner.get(f"/v1/records/{id}")).status_code == 200
        assert code(await other.get(f"/v1/records/{id}")) == (404, "not_found")
        assert code(await scanner.get("/v1/admin/keys")) == (403, "missing_scope")
        assert code(await scanner.get("/v1/records", headers={"X-API-Key": "wrong"})) == (401, "bad_key")
        for spoofed in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"):
            assert code(await stranger.get("/v1/records", headers={spoofed: "192.168.1.20"})) == (401, "unauthorized")


@pytest.mark.parametrize(("settings", "asks"), [
    ({}, False), (AWAY, True), (AWAY | {"security": {"allow_anonymous": True}}, False),
    ({"security": {"require_auth_on_loopback": True}}, True),
    (AWAY | {"security": {"jwt": JWT}}, False), ({"server": {"host": "::1"}}, False), ({"server": {"host": "192.168.1.5"}}, True),
    ({"server": {"host": "localhost"}}, False), ({"server": {"host": "shop-pc"}}, True),
    (AWAY | {"store": {"enabled": False}}, True),
])  # fmt: skip
async def test_the_first_start_creates_an_administrator_key(build: Build, settings: dict[str, Any], asks: bool) -> None:
    running_app = await build(**settings)
    given = running_app.authenticator.bootstrap_admin_key()
    assert (given is not None) == asks
    if given is not None:
        assert running_app.authenticator.bootstrap_admin_key() is None, "once"
        async with running_app.client(given[0]) as admin:
            assert [key["name"] for key in (await admin.get("/v1/admin/keys")).json()["data"]] == ["admin"]
