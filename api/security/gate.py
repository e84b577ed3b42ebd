"""Who is let in: every way to prove who one is, in one place. The guard asks it, and routes that deal with keys and logins."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from dataclasses import replace
from typing import Annotated

from fastapi import Depends
from starlette._utils import get_route_path
from starlette.requests import HTTPConnection

from api.network.addresses import Networks, address_of
from api.network.doors import AUTH_FAILED, host_of
from api.security import origins
from api.security.doors import Door, door_of
from api.security.identity import EVERYTHING, LOCAL, VISITOR, Identity, Scope, device
from api.security.keyring import PREFIX, Keyring, bearer, new_key
from api.security.sessions import COOKIE, Sessions
from api.security.tickets import Tickets
from api.security.tokens import Tokens
from api.security.trail import Trail
from hunyuanocr.config import Settings
from hunyuanocr.errors import BadKey, ForeignSite, HunyuanOcrError, MissingScope, Unauthorized
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.services.together import Services
from hunyuanocr.store import keys
from hunyuanocr.store.database import Database

log = logging.getLogger(__name__)

TICKET_S = 30.0
LINK_S = 3600.0  # how long the login link of the first start is good
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """One for the process; the apps on both ports share it.

    Keys and the audit log are in the appliance's database, also where no records are kept. On 127.0.0.1 with nothing configured
    nobody is asked, and then a database is not needed.
    """

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings.security
        self._origins = settings.network.origins
        self.away = not _loopback(settings.server.host)
        self._asks = (
            self.away or self._settings.required or self._settings.jwt.used
            or bool(self._settings.devices) or bool(settings.network.trusted_proxies)
        )  # fmt: skip
        mark = settings.data / "keys-in-use"
        self.database = services.database or Database(settings.database_url)
        self._own = None if services.database else self.database
        writes = services.database is not None or self._asks or mark.exists()
        self.clock = clock = services.recorder.clock
        self.keyring = Keyring(self.database, mark, clock)
        self.tokens = Tokens(self._settings.jwt)
        self.tickets, self.links = Tickets(TICKET_S), Tickets(LINK_S)
        self.sessions = Sessions(self.keyring, settings.data / "session.key", self._settings.session_hours, clock)
        self.trail = Trail(self.database if writes else None, clock)
        self._devices = Networks(self._settings.devices)
        self._keeper = Timekeeper(self._own, clock) if self._own and writes else None
        self._retention = Retention(self._own, services.recorder, settings, self._keeper) if self._own and self._keeper else None
        self.unnamed: Counter[str] = Counter()  # sockets that are open and have not said yet whose they are, by address
        self._tasks: list[asyncio.Task[None]] = []

    async def identify(self, asked: HTTPConnection, ticket: str | None = None) -> Identity:
        """Who asks: by a key, token or ticket, the page's session, or where he is. Raises Unauthorized, StoreUnavailable.

        What is sent on purpose must be good. Where nobody is asked for a key any word will do: many programs insist on one.
        """
        near = await self._by_place(asked)
        given = credential(asked)
        known = await self.bearer_of(given) if given is not None else await self.of_ticket(ticket) if ticket is not None else None
        if known is not None:
            return known
        sent = given is not None or ticket is not None
        if not sent:
            cookie = asked.cookies.get(COOKIE)
            session = None if cookie is None else await self.sessions.identity(cookie)
            if session is not None:
                return session
        if near is not None and (near.by == "local" or not sent):
            return near
        if sent:
            raise BadKey("This key, token or ticket is not good here, or not any more.")
        if COOKIE in asked.cookies and self.sessions.is_forged(asked.cookies[COOKIE]):
            self.count_failure(asked)
        raise Unauthorized("Who asks? A key is needed here.")

    def count_failure(self, asked: HTTPConnection) -> None:
        """Write a failed authentication into the audit log, and have `AddressRates` count it, whatever the answer's status is."""
        scope = asked.scope
        state = scope.setdefault("state", {})
        state[AUTH_FAILED] = True
        door = door_of("WS" if scope["type"] == "websocket" else scope["method"], get_route_path(scope))
        self.trail.note(
            None, "refused", door.path, status=401, address=host_of(scope), request_id=state.get("request_id", "")
        )  # fmt: skip

    async def bearer_of(self, given: str) -> Identity | None:
        """Whose key or token it is; None when it is no good."""
        if given.startswith(PREFIX):
            key = await self.keyring.find(given)
            return None if key is None else bearer(key)
        identity = await self.tokens.check(given)
        return None if identity is None or self._over(identity) else identity

    async def of_ticket(self, ticket: str) -> Identity | None:
        """Whose ticket it is, which is used up by that; None when it is no good, or its key is not any more."""
        identity = self.tickets.take(ticket)
        return identity if identity is not None and await self.holds(identity) else None

    async def holds(self, identity: Identity) -> bool:
        """Whether it is still good: its key not revoked, its time not over. Raises StoreUnavailable."""
        if self._over(identity):
            return False
        return identity.key is None or await self.keyring.by_id(identity.key) is not None

    def _over(self, identity: Identity) -> bool:
        """Whether its time is over, also where the machine's clock was set back since."""
        return identity.until is not None and identity.until <= self.clock.now().timestamp()

    async def _by_place(self, asked: HTTPConnection) -> Identity | None:
        """What the address alone is good for. That of a proxy which is not trusted is none (`api.network.ClientAddress`)."""
        address = address_of(asked.client.host) if asked.client else None
        here = address is not None and address.is_loopback
        if self._settings.open:
            return LOCAL if here else replace(VISITOR, name=f"visitor:{address}")
        if here and not self._asks and not await self.keyring.any():
            return LOCAL
        return device(str(address)) if address in self._devices else None

    def permit(self, asked: HTTPConnection, identity: Identity, door: Door) -> None:
        """Raises MissingScope, and ForeignSite where a browser asks on behalf of another site."""
        if identity.ambient:
            self.same_site(asked)
        if identity.by in ("local", "device") and origins.public(asked.headers, self._settings.hosts):
            raise ForeignSite("This machine does not go by that name.")
        self.scoped(identity, door)

    @staticmethod
    def scoped(identity: Identity, door: Door) -> None:
        """Raises MissingScope."""
        if isinstance(door.needs, Scope) and not identity.may(door.needs):
            raise MissingScope(f"This needs the scope '{door.needs.value}'.")

    def same_site(self, asked: HTTPConnection) -> None:
        """Raises ForeignSite for what changes something and comes from another website."""
        unsafe = asked.scope["type"] == "websocket" or asked.scope["method"] not in _SAFE
        if unsafe and origins.foreign(asked.headers, self._origins, asked.scope["scheme"]):
            raise ForeignSite("Another website may not ask for this.")

    def first_key(self) -> tuple[str, str] | None:
        """An administrator's key and a login code, where a key is needed and none was ever made. Raises StoreUnavailable."""
        wanted = (self.away or self._settings.required) and not self._settings.open and not self._settings.jwt.used
        if not wanted:
            return None
        text, key = new_key("admin", "local", EVERYTHING)
        with self.database.begin() as session:
            if keys.every(session):
                return None
            keys.insert(session, key)
        self.keyring.forget()
        return text, self.links.issue(bearer(key))

    async def start(self) -> None:
        """Begin what runs beside the requests."""
        work = (self.keyring.look(), self.trail.run(), self._note_use())
        self._tasks = [asyncio.create_task(each) for each in work]
        if self._retention is not None:
            self._tasks.append(asyncio.create_task(self._retention.run()))
        if self._keeper is not None:
            self._tasks.append(asyncio.create_task(self._keeper.run()))

    async def _note_use(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.keyring.note_use()
            except HunyuanOcrError as e:
                log.debug("The use of keys is not written: %s", e.message)

    async def close(self) -> None:
        """Write what waits, and end; before the services' database is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for write in (self.trail.flush, self.keyring.note_use):
            try:
                await write()
            except HunyuanOcrError as e:
                log.warning("The latest of the audit log is lost: %s %s", e.message, e.hint)
        await asyncio.to_thread(self.keyring.close)
        if self._own is not None:
            await asyncio.to_thread(self._own.close)


def credential(asked: HTTPConnection) -> str | None:
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


def _gate(request: HTTPConnection) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


TheGate = Annotated[Gate, Depends(_gate)]
