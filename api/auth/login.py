"""`/login` for people in front of the page, `/logout`, and `/v1/tickets` for programs whose sockets can send no header."""

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
from api.auth.sessions import COOKIE
from api.deps import AuthenticatorDep, IdentityDep
from api.network.middleware import client_host
from api.schemas.common import ErrorResponse
from hunyuanocr.errors import BadRequest, ImageTooLarge, InvalidCredential, Unauthorized

router = APIRouter()

PAGES = ("/", "/docs")  # where a person in front of a browser is led to the login, and back
_MAX_LENGTH = 16 * 1024
_HEADERS = {  # with the policy no-referrer, browsers would send a form's Origin as null
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
}  # fmt: skip
_PAGE = """<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>登录 / Log in</title>
<style>
body {{ font: 18px/1.5 system-ui, sans-serif; max-width: 24em; margin: 12vh auto; padding: 0 1em; color: #1e293b }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .6em; margin: .4em 0; border-radius: .5em }}
input {{ border: 1px solid #64748b }}
button {{ border: 0; background: #0f766e; color: #fff }}
[role=alert] {{ background: #fee2e2; color: #7f1d1d; padding: .6em; border-radius: .5em }}
p {{ color: #475569 }}
</style></head><body><h1>{title}</h1>{said}{form}</body></html>"""
_ASK = """<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<label>密钥 / Key<input type="password" name="key" required autofocus autocomplete="current-password"></label>
<button>登录 / Log in</button></form>
<p>密钥由本机的管理者发放。<br>Whoever runs this machine gives out keys.</p>"""
_LINK = """<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<input type="hidden" name="code" value="{code}"><button>进入 / Enter</button></form>"""
_LEAVE = """<p><a href="/">打开页面 / Open the page</a></p>
<form method="post" action="/logout"><button>退出登录 / Log out</button></form>"""
_WRONG = '<p role="alert">密钥或登录码无效或已失效。<br>This key or code is not good, or not any more.</p>'


class Ticket(BaseModel):
    """A ticket for one connection: `wss://…/v1/ws?ticket=…`."""

    ticket: str
    expires_in: float = Field(description="Seconds.")


@router.post(
    "/v1/tickets", summary="A ticket for one WebSocket", tags=["cameras"],
    responses={429: {"model": ErrorResponse, "description": "Too many tickets wait to be used."}},
)  # fmt: skip
async def create_ticket(gate: AuthenticatorDep, identity: IdentityDep) -> Ticket:
    """For scripts in browsers, whose WebSockets can send no header. It stands for whoever asks, once, for half a minute."""
    return Ticket(ticket=gate.tickets.issue(identity), expires_in=gate.tickets.seconds)


@router.get("/login", include_in_schema=False)
async def login_page(
    request: Request,
    gate: AuthenticatorDep,
    code: Annotated[str, Query(max_length=200)] = "",
    next: Annotated[str, Query()] = "/",
) -> Response:
    """Asks for a key. A one-time code of the address is not used up by looking, as previews of messages do, but by the button."""
    if code:
        return _html(_LINK.format(next=_place(next), code=escape(code, quote=True)))
    try:
        identity = await gate.authenticate(request)
    except InvalidCredential:
        gate.count_failure(request)  # as at any other route: else this one tells right keys from wrong ones, uncounted
        raise
    except Unauthorized:
        return _html(_ASK.format(next=_place(next)))
    if not _by_cookie(request, identity):
        return RedirectResponse(_place(next), 303)  # nothing to log in to
    return _html(_LEAVE, said=f"<p>{escape(identity.name)}</p>", title="已登录 / Logged in")


@router.post("/login", include_in_schema=False)
async def login(request: Request, gate: AuthenticatorDep) -> Response:
    """A key, a token or a one-time code → a session."""
    gate.check_origin(request)  # nobody is to be logged in as somebody else by another website
    form = await _form(request)
    code, key, place = form.get("code"), form.get("key", "").strip(), _place(form.get("next", "/"))
    identity = gate.links.redeem(code) if code else await gate.identity_from_token(key)
    if identity is not None and not await gate.is_valid(identity):
        identity = None
    told = {"address": client_host(request.scope), "request_id": request.state.request_id}
    if identity is None:
        gate.audit_log.record(None, "login", "/login", status=401, **told)
        return _html(_ASK.format(next=place), said=_WRONG, status=401)
    gate.audit_log.record(identity, "login", "/login", **told)
    cookie, seconds = gate.sessions.create(identity)
    response = RedirectResponse(place, 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        COOKIE, cookie, max_age=seconds, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
    return response


@router.post("/logout", include_in_schema=False)
async def logout(request: Request, gate: AuthenticatorDep) -> Response:
    """Ends the session, wherever its cookie is."""
    gate.check_origin(request)
    cookie = request.cookies.get(COOKIE)
    identity = None if cookie is None else await gate.sessions.identity(cookie)
    if cookie is not None and gate.sessions.is_forged(cookie):
        gate.count_failure(request)
    if cookie is not None and identity is not None:
        await asyncio.to_thread(gate.sessions.revoke, cookie)
        gate.audit_log.record(
            identity, "logout", "/logout", address=client_host(request.scope), request_id=request.state.request_id
        )
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
    return response


def _by_cookie(request: Request, identity: Identity) -> bool:
    return COOKIE in request.cookies and identity.ambient and identity.method in ("key", "token")


def _place(given: str) -> str:
    """Where to go afterwards: nowhere else."""
    return given if given in PAGES else PAGES[0]


async def _form(request: Request) -> dict[str, str]:
    """Raises BadRequest and ImageTooLarge."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BadRequest("A login is a form.", hint="Send 'key' as application/x-www-form-urlencoded.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_LENGTH:
            raise ImageTooLarge("The login is too long.", hint="Send a key.")
    try:
        return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=8).items()}
    except ValueError as e:
        raise BadRequest("The login has too many fields.", hint="Send 'key' alone.") from e


def _html(form: str, *, said: str = "", title: str = "登录 / Log in", status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, said=said, form=form), status, headers=_HEADERS)
