"""`/login` and `/logout` of the web page, and `/v1/tickets` for WebSocket clients that cannot send headers."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from api.auth.identity import Identity
from api.auth.policy import LOGIN_PAGES
from api.auth.sessions import COOKIE
from api.deps import AuthenticatorDep, IdentityDep
from api.errors import ErrorResponse
from api.network.middleware import client_host
from api.openapi import operation_id
from hunyuanocr.errors import BadRequest, ImageTooLarge, InvalidCredential, Unauthorized

router = APIRouter(generate_unique_id_function=operation_id)

_MAX_FORM_BYTES = 16 * 1024
_HEADERS = {  # not `no-referrer`: browsers would then send `Origin: null` with the form
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>登录 / Log in</title>
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 24em; margin: 12vh auto; padding: 0 1em; color: #1e293b }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .6em; margin: .4em 0; border-radius: .5em }}
input {{ border: 1px solid #64748b }}
button {{ border: 0; background: #0f766e; color: #fff }}
[role=alert] {{ background: #fee2e2; color: #7f1d1d; padding: .6em; border-radius: .5em }}
p {{ color: #475569 }}
</style></head><body><h1>{title}</h1>{message}{form}</body></html>"""
_LOGIN_FORM = """<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<label>密钥 / Key<input type="password" name="key" required autofocus autocomplete="current-password"></label>
<button>登录 / Log in</button></form>
<p>没有密钥？请找管理员要。<br>Ask your administrator for a key.</p>"""
_CODE_FORM = """<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<input type="hidden" name="code" value="{code}"><button>进入 / Enter</button></form>"""
_LOGOUT_FORM = """<p><a href="/">打开页面 / Open the page</a></p>
<form method="post" action="/logout"><button>退出登录 / Log out</button></form>"""
_ERROR = '<p role="alert">密钥或登录码不对，或者已经过期。<br>The key or code is invalid or has expired.</p>'


class Ticket(BaseModel):
    """Ticket for one WebSocket connection."""

    ticket: str = Field(description="Send it as `wss://…/v1/ws?ticket=…`.")
    expires_in: float = Field(description="Lifetime in seconds.")


@router.post(
    "/v1/tickets",
    summary="Create a WebSocket ticket",
    tags=["cameras"],
    responses={429: {"model": ErrorResponse, "description": "Too many unused tickets. Retry after `Retry-After` seconds."}},
)
async def create_ticket(authenticator: AuthenticatorDep, identity: IdentityDep) -> Ticket:
    """Create a ticket for browser scripts, whose WebSockets cannot send headers. It authenticates one connection as you."""
    return Ticket(ticket=authenticator.tickets.issue(identity), expires_in=authenticator.tickets.seconds)


@router.get("/login", include_in_schema=False)
async def login_page(
    request: Request,
    authenticator: AuthenticatorDep,
    code: Annotated[str, Query(max_length=200)] = "",
    next: Annotated[str, Query()] = "/",
) -> Response:
    """Return the login form. Only its button redeems a one-time code in the URL, so that link previews do not use it up."""
    if code:
        return _html(_CODE_FORM.format(next=_safe_target(next), code=escape(code, quote=True)))
    try:
        identity = await authenticator.authenticate(request)
    except InvalidCredential:
        authenticator.count_failure(request)  # count it as on other routes: otherwise keys could be guessed here without a limit
        raise
    except Unauthorized:
        return _html(_LOGIN_FORM.format(next=_safe_target(next)))
    if not _has_session(request, identity):
        return RedirectResponse(_safe_target(next), 303)  # authenticated without a session: no login is needed
    return _html(_LOGOUT_FORM, message=f"<p>{escape(identity.name)}</p>", title="已登录 / Logged in")


@router.post("/login", include_in_schema=False)
async def login(request: Request, authenticator: AuthenticatorDep) -> Response:
    """Create a session for a key, a token or a one-time code."""
    authenticator.check_origin(request)  # another website must not log a user in as somebody else
    form = await _form(request)
    code, key, target = form.get("code"), form.get("key", "").strip(), _safe_target(form.get("next", "/"))
    identity = authenticator.links.redeem(code) if code else await authenticator.identity_from_token(key)
    if identity is not None and not await authenticator.is_valid(identity):
        identity = None
    audit = {"address": client_host(request.scope), "request_id": request.state.request_id}
    if identity is None:
        authenticator.audit_log.record(None, "login", "/login", status=401, **audit)
        return _html(_LOGIN_FORM.format(next=target), message=_ERROR, status=401)
    authenticator.audit_log.record(identity, "login", "/login", **audit)
    cookie, seconds = authenticator.sessions.create(identity)
    response = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE, cookie, max_age=seconds, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
    return response


@router.post("/logout", include_in_schema=False)
async def logout(request: Request, authenticator: AuthenticatorDep) -> Response:
    """End the session, also for copies of its cookie."""
    authenticator.check_origin(request)
    cookie = request.cookies.get(COOKIE)
    identity = None if cookie is None else await authenticator.sessions.identity(cookie)
    if cookie is not None and authenticator.sessions.is_forged(cookie):
        authenticator.count_failure(request)
    if cookie is not None and identity is not None:
        await asyncio.to_thread(authenticator.sessions.revoke, cookie)
        authenticator.audit_log.record(
            identity, "logout", "/logout", address=client_host(request.scope), request_id=request.state.request_id
        )
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
    return response


def _has_session(request: Request, identity: Identity) -> bool:
    return COOKIE in request.cookies and identity.ambient and identity.method in ("key", "token")


def _safe_target(target: str) -> str:
    """Return the page to open after the login. Other targets are replaced: the login must not redirect to another site."""
    return target if target in LOGIN_PAGES else LOGIN_PAGES[0]


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of the login form. Raises BadRequest and ImageTooLarge."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BadRequest("A login must be a form.", hint="Send 'key' as application/x-www-form-urlencoded.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM_BYTES:
            raise ImageTooLarge("The login form is too large.", hint="Send 'key' only.")
    try:
        return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=8).items()}
    except ValueError as e:
        raise BadRequest("The login form has too many fields.", hint="Send 'key' only.") from e


def _html(form: str, *, message: str = "", title: str = "登录 / Log in", status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, message=message, form=form), status, headers=_HEADERS)
