"""Who is let in: every way to prove who one is, in one place. The guard asks it, and routes that deal with keys and logins."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from dataclasses import replace

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection

from api.auth import csrf
from api.auth.api_keys import PREFIX, ApiKeyCache, create_api_key, identity_of_key
from api.auth.audit import AuditLogWriter
from api.auth.identity import ALL_SCOPES, ANONYMOUS, LOCAL_ADMIN, Identity, Scope, device_identity
from api.auth.jwt_verifier import JwtVerifier
from api.auth.policy import RoutePolicy, policy_for
from api.auth.sessions import COOKIE, SessionCookies
from api.auth.tickets import TicketStore
from api.network.ip import NetworkSet, parse_ip
from api.network.middleware import AUTH_FAILED, client_host
from hunyuanocr.config import Settings
from hunyuanocr.errors import CrossOriginRefused, HunyuanOcrError, InvalidCredential, MissingScope, Unauthorized
from hunyuanocr.services.container import Services
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.store import keys
from hunyuanocr.store.database import Database

log = logging.getLogger(__name__)

TICKET_S = 30.0
LINK_S = 3600.0  # how long the login link of the first start is good
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Authenticator:
    """One for the process; the apps on both ports share it.

    Keys and the audit log are in the appliance's database, also where no records are kept. On 127.0.0.1 with nothing configured
    nobody is asked, and then a database is not needed.
    """

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings.security
        self._origins = settings.network.origins
        self.exposed = not _loopback(settings.server.host)
        self._asks = (
            self.exposed or self._settings.require_auth_on_loopback or self._settings.jwt.used
            or bool(self._settings.devices) or bool(settings.network.trusted_proxies)
        )  # fmt: skip
        mark = settings.data / "keys-in-use"
        self.database = services.database or Database(settings.database_url)
        self._own = None if services.database else self.database
        writes = services.database is not None or self._asks or mark.exists()
        self.clock = clock = services.recorder.clock
        self.keyring = ApiKeyCache(self.database, mark, clock)
        self.tokens = JwtVerifier(self._settings.jwt)
        self.tickets, self.links = TicketStore(TICKET_S), TicketStore(LINK_S)
        self.sessions = SessionCookies(self.keyring, settings.data / "session.key", self._settings.session_hours, clock)
        self.audit_log = AuditLogWriter(self.database if writes else None, clock)
        self._devices = NetworkSet(self._settings.devices)
        self._keeper = Timekeeper(self._own, clock) if self._own and writes else None
        self._retention = Retention(self._own, services.recorder, settings, self._keeper) if self._own and self._keeper else None
        self.pending_sockets: Counter[str] = Counter()  # sockets that are open and have not said yet whose they are, by address
        self._tasks: list[asyncio.Task[None]] = []

    async def authenticate(self, asked: HTTPConnection, ticket: str | None = None) -> Identity:
        """Who asks: by a key, token or ticket, the page's session, or where he is. Raises Unauthorized, StoreUnavailable.

        What is sent on purpose must be good. Where nobody is asked for a key any word will do: many programs insist on one.
        """
        near = await self._by_place(asked)
        given = credential_from(asked)
        known = (
            await self.identity_from_token(given)
            if given is not None
            else await self.identity_from_ticket(ticket)
            if ticket is not None
            else None
        )
        if known is not None:
            return known
        sent = given is not None or ticket is not None
        if not sent:
            cookie = asked.cookies.get(COOKIE)
            session = None if cookie is None else await self.sessions.identity(cookie)
            if session is not None:
                return session
        if near is not None and (near.method == "local" or not sent):
            return near
        if sent:
            raise InvalidCredential("This key, token or ticket is not good here, or not any more.")
        if COOKIE in asked.cookies and self.sessions.is_forged(asked.cookies[COOKIE]):
            self.count_failure(asked)
        raise Unauthorized("Who asks? A key is needed here.")

    def count_failure(self, asked: HTTPConnection) -> None:
        """Write a failed authentication into the audit log, and have `AddressRates` count it, whatever the answer's status is."""
        scope = asked.scope
        state = scope.setdefault("state", {})
        state[AUTH_FAILED] = True
        door = policy_for("WS" if scope["type"] == "websocket" else scope["method"], get_route_path(scope))
        self.audit_log.record(
            None, "refused", door.path, status=401, address=client_host(scope), request_id=state.get("request_id", "")
        )  # fmt: skip

    async def identity_from_token(self, given: str) -> Identity | None:
        """Whose key or token it is; None when it is no good."""
        if given.startswith(PREFIX):
            key = await self.keyring.lookup(given)
            return None if key is None else identity_of_key(key)
        identity = await self.tokens.verify(given)
        return None if identity is None or self._over(identity) else identity

    async def identity_from_ticket(self, ticket: str) -> Identity | None:
        """Whose ticket it is, which is used up by that; None when it is no good, or its key is not any more."""
        identity = self.tickets.redeem(ticket)
        return identity if identity is not None and await self.is_valid(identity) else None

    async def is_valid(self, identity: Identity) -> bool:
        """Whether it is still good: its key not revoked, its time not over. Raises StoreUnavailable."""
        if self._over(identity):
            return False
        return identity.key is None or await self.keyring.by_id(identity.key) is not None

    def _over(self, identity: Identity) -> bool:
        """Whether its time is over, also where the machine's clock was set back since."""
        return identity.until is not None and identity.until <= self.clock.now().timestamp()

    async def _by_place(self, asked: HTTPConnection) -> Identity | None:
        """What the address alone is good for. That of a proxy which is not trusted is none (`api.network.ClientAddress`)."""
        address = parse_ip(asked.client.host) if asked.client else None
        here = address is not None and address.is_loopback
        if self._settings.allow_anonymous:
            return LOCAL_ADMIN if here else replace(ANONYMOUS, name=f"visitor:{address}")
        if here and not self._asks and not await self.keyring.has_keys():
            return LOCAL_ADMIN
        return device_identity(str(address)) if address in self._devices else None

    def authorize(self, asked: HTTPConnection, identity: Identity, door: RoutePolicy) -> None:
        """Raises MissingScope, and ForeignSite where a browser asks on behalf of another site."""
        if identity.ambient:
            self.check_origin(asked)
        if identity.method in ("local", "device") and csrf.is_public_host(asked.headers, self._settings.public_hostnames):
            raise CrossOriginRefused("This machine does not go by that name.")
        self.require_scope(identity, door)

    @staticmethod
    def require_scope(identity: Identity, door: RoutePolicy) -> None:
        """Raises MissingScope."""
        if isinstance(door.needs, Scope) and not identity.has_scope(door.needs):
            raise MissingScope(f"This needs the scope '{door.needs.value}'.")

    def check_origin(self, asked: HTTPConnection) -> None:
        """Raises ForeignSite for what changes something and comes from another website."""
        unsafe = asked.scope["type"] == "websocket" or asked.scope["method"] not in _SAFE
        if unsafe and csrf.is_cross_origin(asked.headers, self._origins, asked.scope["scheme"]):
            raise CrossOriginRefused("Another website may not ask for this.")

    def bootstrap_admin_key(self) -> tuple[str, str] | None:
        """An administrator's key and a login code, where a key is needed and none was ever made. Raises StoreUnavailable."""
        wanted = (
            (self.exposed or self._settings.require_auth_on_loopback)
            and not self._settings.allow_anonymous
            and not self._settings.jwt.used
        )
        if not wanted:
            return None
        text, key = create_api_key("admin", "local", ALL_SCOPES)
        with self.database.transaction() as session:
            if keys.list_all(session):
                return None
            keys.insert(session, key)
        self.keyring.invalidate()
        return text, self.links.issue(identity_of_key(key))

    async def start(self) -> None:
        """Begin what runs beside the requests."""
        work = (self.keyring.preload(), self.audit_log.run(), self._note_use())
        self._tasks = [asyncio.create_task(each) for each in work]
        if self._retention is not None:
            self._tasks.append(asyncio.create_task(self._retention.run()))
        if self._keeper is not None:
            self._tasks.append(asyncio.create_task(self._keeper.run()))

    async def _note_use(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.keyring.flush_last_used()
            except HunyuanOcrError as e:
                log.debug("The use of keys is not written: %s", e.message)

    async def close(self) -> None:
        """Write what waits, and end; before the services' database is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for write in (self.audit_log.flush, self.keyring.flush_last_used):
            try:
                await write()
            except HunyuanOcrError as e:
                log.warning("The latest of the audit log is lost: %s %s", e.message, e.hint)
        await asyncio.to_thread(self.keyring.close)
        if self._own is not None:
            await asyncio.to_thread(self._own.close)


def credential_from(asked: HTTPConnection) -> str | None:
    """The key or token that a request carries: `Authorization: Bearer`, or `X-API-Key`. Never in an address."""
    kind, _, text = asked.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    given = asked.headers.get("x-api-key")
    return None if given is None else given.strip()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
