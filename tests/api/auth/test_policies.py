"""Every door of what is served, the page's too, and everybody before it: who gets in, who does not."""

import time
from typing import Any

import pytest
from starlette.responses import Response

from api.auth.policy import ANONYMOUS, AUTHENTICATED, DEFAULT_POLICY, ROUTE_POLICIES, policy_for
from hunyuanocr.services.api_keys import ALL_SCOPES, Scope
from tests.api.auth.conftest import AWAY, JWT, Build, token
from tests.support.route_walker import denied, example, routes_of, send_request

NEEDS = {
    Scope.READ: {"reader", "admin"},
    Scope.SUBMIT: {"kiosk", "admin"},
    Scope.ADMIN: {"admin"},
    AUTHENTICATED: {"reader", "kiosk", "admin"},
}
GRADIO = ("/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/app_id")  # of the page's, what it uses


@pytest.fixture
async def served(build: Build) -> Any:
    running_app = await build(
        page=True, **AWAY, security={"jwt": JWT}, network={"auth_failures_per_minute": 0, "requests_per_minute_per_ip": 0}
    )
    running_app.key("reader", [Scope.READ])
    running_app.key("kiosk", [Scope.SUBMIT])
    running_app.key("admin", ALL_SCOPES)
    running_app.key("revoked", ALL_SCOPES, ended="revoked")
    running_app.key("expired", ALL_SCOPES, ended="expired")
    return running_app


def strangers(running_app: Any) -> dict[Any, Any]:
    """Each with what he shows."""
    key = running_app.keys["admin"]
    shown = {
        "wrong key": key[:-1] + ("A" if key[-1] != "A" else "B"), "another's id": key.replace("hyo_", "hyo_0", 1), "empty": "",
        "revoked": running_app.keys["revoked"], "expired": running_app.keys["expired"], "nonsense": "any word",
        "expired token": token(exp=time.time() - 120), "forged token": token("another secret that is as long as the first one"),
        "unsigned token": token("", "none"),
    }  # fmt: skip
    return {"nobody": {}} | {who: {"Authorization": f"Bearer {text}"} for who, text in shown.items()}


def stated(method: str, path: str) -> bool:
    return method == "OPTIONS" or policy_for(method, path) is not DEFAULT_POLICY


async def test_every_route_has_a_policy(served: Any) -> None:
    found = set(routes_of(served.app.routes))
    assert {("POST", "/v1/ocr"), ("WS", "/v1/ws"), ("POST", GRADIO[0]), ("POST", "/page/uploads")} <= found
    assert ("POST", "/gradio_api/upload") in found, "closed doors are in the table too"
    assert {("GET", "/docs/assets/{path:path}"), ("GET", "/"), ("GET", "/openapi.json"), ("GET", GRADIO[1])} <= found
    assert len(found) > 100, "the walk went into the mounts"
    assert [(method, path) for method, path in sorted(found) if not stated(method, example(path))] == []


async def test_every_policy_has_a_route(served: Any) -> None:
    found = [(method, example(path)) for method, path in routes_of(served.app.routes)]
    for door in ROUTE_POLICIES:
        assert any(door.matches("GET" if method == "HEAD" else method, path) for method, path in found), door.path


async def test_a_route_without_a_policy_requires_admin(served: Any) -> None:
    async def door() -> Response:
        return Response("in")

    served.app.add_api_route("/v1/forgotten", door)
    assert not all(stated(method, example(path)) for method, path in routes_of(served.app.routes))
    for name, inside in (("reader", False), ("kiosk", False), ("admin", True)):
        status, headers = await send_request(served.app, "GET", "/v1/forgotten", {"X-API-Key": served.keys[name]})
        assert denied(status, headers) != inside


@pytest.mark.timeout(300)
async def test_required_scopes_of_every_route(served: Any) -> None:
    """The table of route × identity: in each row somebody is let in, and somebody is not."""
    before = strangers(served)
    known = {name: {"X-API-Key": served.keys[name]} for name in ("reader", "kiosk", "admin")}
    wrong = []
    for method, path in sorted(set(routes_of(served.app.routes))):
        if method == "OPTIONS":
            continue
        where = example(path)
        needs = policy_for(method, where).needs
        everybody = before | known if needs != ANONYMOUS else {"nobody": {}}
        if path.startswith("/gradio_api/") and path not in GRADIO:
            everybody = {"nobody": {}, "wrong key": before["wrong key"]} | known  # one line of the table for all of them
        for who, headers in everybody.items():
            status, said = await send_request(served.app, method, where, headers)
            inside = needs == ANONYMOUS or who in NEEDS[needs]
            expected = None if inside else 403 if who in known else 401
            if expected is None and denied(status, said):
                wrong.append((method, path, who, status))
            if method == "WS" and who == "nobody":
                expected = None  # it is opened, and may say who it is: tests/api/auth/test_websockets.py
            if expected is not None and not (status == expected and denied(status, said)):
                wrong.append((method, path, who, status))
    assert wrong == []


SPELLINGS = (
    "//v1/records",
    "/v1/records/",
    "/health/../v1/records",
    "/v1/%72ecords",
    "/V1/records",
    "/login/x",
    "/health\n",
    "/version/x",
    "/health/x/",
    "//v1//records//",
    "/%2Fv1/records",
    "//v1/admin/keys/",
    "/v1/ocr/../../health",
    "/v1;/records",
    "/\u200b/v1/records",
    "",
)


async def test_other_spellings_of_a_path_are_not_open(served: Any) -> None:
    for path in SPELLINGS:
        status, headers = await send_request(served.app, "GET", path)
        assert denied(status, headers), (path, status)
    for method in ("get", "HEAD ", "PROPFIND", "CONNECT", "WS", "*"):
        status, headers = await send_request(served.app, method, "/v1/records")
        assert denied(status, headers), method


async def test_a_slash_too_many_has_the_policy_of_the_path_without_it(served: Any) -> None:
    assert [(await send_request(served.app, "GET", path))[0] for path in ("/health/", "//health", "/version//")] == [200] * 3
    kiosk = {"X-API-Key": served.keys["kiosk"]}  # it may not read
    for path in ("/v1/records", "//v1/records/", "/v1//admin/keys"):
        assert (await send_request(served.app, "GET", path, kiosk))[0] == 403, path


async def test_www_authenticate(served: Any) -> None:
    browser = {"User-Agent": "Mozilla/5.0"}  # test_basic.py: other clients are offered a second scheme
    status, headers = await send_request(served.app, "GET", "/v1/records", browser)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    status, headers = await send_request(served.app, "GET", "/v1/records", browser | {"X-API-Key": "x"})
    assert (status, headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
    status, headers = await send_request(served.app, "GET", "/v1/records", {"X-API-Key": served.keys["kiosk"]})
    assert (status, headers["www-authenticate"]) == (403, 'Bearer error="insufficient_scope"')


async def test_openapi_documents_the_required_scope(served: Any) -> None:
    paths = served.app.openapi()["paths"]
    assert paths["/v1/records"]["get"]["security"] == [{scheme: ["read"]} for scheme in ("key", "bearer", "basic")]
    assert paths["/v1/admin/keys"]["post"]["security"][0] == {"key": ["admin"]}
    assert paths["/health"]["get"]["security"] == []
    for path, methods in paths.items():
        for method, operation in methods.items():
            if operation["security"]:
                assert {"401", "403"} <= set(operation["responses"]) or "4XX" in operation["responses"], (method, path)


async def test_browsers_are_redirected_to_the_login(served: Any) -> None:
    html = {"Accept": "text/html,*/*"}
    for path in ("/", "/docs"):
        status, headers = await send_request(served.app, "GET", path, html)
        assert (status, headers["location"]) == (303, f"/login?next={path}")
    assert (await send_request(served.app, "GET", "/v1/records", html))[0] == 401, "programs and scripts get their answer"
    assert (await send_request(served.app, "GET", "/", html | {"X-API-Key": "wrong"}))[0] == 401
