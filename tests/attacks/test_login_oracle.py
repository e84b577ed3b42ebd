"""No route tells right credentials from wrong ones without counting the wrong ones and writing them into the audit log."""

from typing import Any

import pytest

from api.auth.sessions import COOKIE
from hunyuanocr.services.api_keys import ALL_SCOPES
from hunyuanocr.store import audit
from tests.api.auth import conftest as security
from tests.api.auth.conftest import AWAY, Build, code
from tests.support.route_walker import example, routes_of, send_request

build, patient_with_keys = security.build, security.patient_with_keys  # fixtures

WRONG = "hyo_000000000000_" + "A" * 43


@pytest.fixture
async def running_app(build: Build) -> Any:
    made = await build(
        page=True,
        **AWAY,
        network={"requests_per_minute_per_ip": 0, "requests_per_minute_per_key": 0, "auth_failures_per_minute": 10_000},
    )
    made.key("admin", ALL_SCOPES)
    made.failures = []
    rates = made.app.state.network.rates
    count = rates.count_auth_failure

    async def counted(who: Any) -> None:
        made.failures.append(who)
        await count(who)

    rates.count_auth_failure = counted
    return made


async def refusals(running_app: Any) -> Any:
    """How many refused credentials the audit log has."""
    await running_app.authenticator.audit_log.flush()
    with running_app.authenticator.database.read_transaction() as session:
        lines = audit.list_latest(session, 1000)
    return sum(line.times for line in lines if line.status == 401)


def carried(running_app: Any, how: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Headers with a right and with a wrong credential."""
    key, cookie = running_app.keys["admin"], running_app.right_session
    forged = cookie[:-2] + ("AA" if cookie[-2:] != "AA" else "BB")
    return {
        "key": ({"X-API-Key": key}, {"X-API-Key": WRONG}),
        "bearer": ({"Authorization": f"Bearer {key}"}, {"Authorization": f"Bearer {WRONG}"}),
        "cookie": ({"Cookie": f"{COOKIE}={cookie}"}, {"Cookie": f"{COOKIE}={forged}"}),
    }[how]


@pytest.mark.parametrize("how", ["key", "bearer", "cookie"])
async def test_every_route_that_answers_otherwise_to_a_wrong_credential_counts_it(running_app: Any, how: str) -> None:
    async with running_app.client() as browser:
        await browser.post("/login", data={"key": running_app.keys["admin"]})
        running_app.right_session = browser.cookies[COOKIE]
    html, reported = {"Accept": "text/html"}, set()
    for method, path in sorted(set(routes_of(running_app.app.routes))):
        right, wrong = carried(running_app, how)
        before, noted = len(running_app.failures), await refusals(running_app)
        bad = await send_request(running_app.app, method, example(path), wrong | html)
        counted, written = len(running_app.failures) - before, await refusals(running_app) - noted
        if (method, path) == ("POST", "/logout"):
            assert counted == (how == "cookie")  # the right cookie would end the session
            continue
        good = await send_request(running_app.app, method, example(path), right | html)
        if (good[0], good[1].get("location")) != (bad[0], bad[1].get("location")):
            reported.add(path)
            assert counted == 1, (method, path)
            assert written == 1, (method, path)
            assert bad[0] in (401, 303), (method, path)
    assert {"/v1/records", "/gradio_api/queue/join", "/v1/admin/keys", "/"} <= reported
    assert how == "cookie" or "/login" in reported


async def test_a_wrong_key_at_the_login_page_is_refused_as_anywhere(running_app: Any) -> None:
    for headers in ({"X-API-Key": WRONG}, {"Authorization": f"Bearer {WRONG}"}):
        async with running_app.client(headers=headers) as guesser:
            assert code(await guesser.get("/login")) == code(await guesser.get("/v1/records")) == (401, "bad_key")
    assert len(running_app.failures) == 4
    assert await refusals(running_app) == 4


async def test_guesses_at_the_login_page_use_up_the_failures_of_an_address(build: Build) -> None:
    running_app = await build(**AWAY, network={"requests_per_minute_per_ip": 0, "auth_failures_per_minute": 5})
    running_app.key("admin", ALL_SCOPES)
    async with (
        running_app.client(headers={"X-API-Key": WRONG}) as guesser,
        running_app.client("admin", address="192.168.1.21") as other,
    ):
        answers = [await guesser.get("/login") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
        assert (await other.get("/v1/records")).status_code == 200


async def test_a_forged_cookie_counts_and_an_expired_one_does_not(running_app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_app.client() as browser:
        await browser.post("/login", data={"key": running_app.keys["admin"]})
        running_app.authenticator.sessions.revoke(browser.cookies[COOKIE])
        page = await browser.get("/login")
        assert (page.status_code, len(running_app.failures)) == (200, 0)
        assert "password" in page.text
    async with running_app.client(cookies={COOKIE: "a.b"}, headers={"Accept": "text/html"}) as forger:
        assert (await forger.get("/login")).status_code == 200
        assert (await forger.get("/")).headers["location"] == "/login?next=/"
    assert (len(running_app.failures), await refusals(running_app)) == (2, 2)


@pytest.mark.parametrize("form", [{"key": WRONG}, {"code": "A" * 43}, {"key": ""}, {"key": "any word"}])
async def test_a_wrong_form_counts(running_app: Any, form: dict[str, str]) -> None:
    async with running_app.client() as guesser:
        assert (await guesser.post("/login", data=form)).status_code == 401
    assert (len(running_app.failures), await refusals(running_app)) == (1, 1)


async def test_without_a_credential_the_login_page_opens_and_a_right_key_is_led_on(running_app: Any) -> None:
    async with running_app.client() as somebody, running_app.client("admin") as known:
        assert (await somebody.get("/login")).status_code == 200
        assert (await known.get("/login")).status_code == 303
    assert running_app.failures == []
