"""Authentication and authorisation rules, used by `AuthMiddleware` and by the routes for keys and logins."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
from collections import Counter
from dataclasses import dataclass, replace

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection

from api.auth import csrf
from api.auth.api_keys import ApiKeyCache, identity_of_key
from api.auth.audit import AuditLogWriter
from api.auth.identity import ANONYMOUS, LOCAL_ADMIN, Identity, device_identity
from api.auth.jwt_verifier import JwtVerifier
from api.auth.policy import RoutePolicy, policy_for
from api.auth.sessions import COOKIE, SessionCookies
from api.auth.tickets import TicketStore
from api.network.ip import NetworkSet, parse_ip
from api.network.middleware import AUTH_FAILED, client_host
from hunyuanocr.config import Settings
from hunyuanocr.errors import CrossOriginRefused, HunyuanOcrError, InvalidCredential, MissingScope, Unauthorized
from hunyuanocr.services.api_keys import ALL_SCOPES, PREFIX, Scope, create_api_key
from hunyuanocr.services.container import Services
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.store import keys
from hunyuanocr.store.database import Database

log = logging.getLogger(__name__)

TICKET_S = 30.0
LINK_S = 3600.0  # lifetime of the login link that the first start prints
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class SocketLimits:
    """Limits of WebSockets that have not authenticated yet: their number, in total and of one client address, and the time."""

    pending: int = 128
    pending_per_client: int = 16
    timeout_s: float = 10.0


class Authenticator:
    """Authenticates requests. The apps on both ports of the process share one instance.

    API keys and the audit log are in the database, even if records are not stored. On 127.0.0.1 with the default settings no
    authentication is required, and no database is needed.
    """

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings.security
        self._origins = settings.network.origins
        self.exposed = not _is_loopback(settings.server.host)
        self._auth_required = (
            self.exposed
            or self._settings.require_auth_on_loopback
            or self._settings.jwt.used
            or bool(self._settings.devices)
            or bool(settings.network.trusted_proxies)
        )
        self._data, self._keys_reported = settings.data, False
        marker_file = settings.data / "keys-in-use"
        self.database = services.database or Database(settings.database_url)
        self._own_database = None if services.database else self.database
        writes = services.database is not None or self._auth_required or marker_file.exists()
        self.clock = clock = services.recorder.clock
        self.api_keys = ApiKeyCache(self.database, marker_file, clock)
        self.tokens = JwtVerifier(self._settings.jwt)
        self.tickets, self.links = TicketStore(TICKET_S), TicketStore(LINK_S)
        self.sessions = SessionCookies(self.api_keys, settings.data / "session.key", self._settings.session_hours, clock)
        self.audit_log = AuditLogWriter(self.database if writes else None, clock)
        self._devices = NetworkSet(self._settings.devices)
        self._timekeeper = Timekeeper(self._own_database, clock) if self._own_database and writes else None
        self._retention = (
            Retention(self._own_database, services.recorder, settings, self._timekeeper)
            if self._own_database and self._timekeeper
            else None
        )
        self.socket_limits = SocketLimits()
        self.pending_sockets: Counter[str] = Counter()  # open WebSockets that have not authenticated yet, by client address
        self._tasks: list[asyncio.Task[None]] = []

    async def authenticate(self, connection: HTTPConnection, ticket: str | None = None) -> Identity:
        """Return the identity by API key, token, ticket, session cookie or client address.

        A key, token or ticket that is sent must be valid. If no authentication is required, any is accepted, because many
        clients insist on sending one. A password of HTTP Basic need not be valid if the cookie or the address suffices: it may
        be meant for a proxy. Raises Unauthorized, InvalidCredential, StoreUnavailable.
        """
        by_address = await self._by_address(connection)
        basic = ticket is None and uses_basic(connection)
        credential = credential_from(connection) if ticket is None else None
        identity = (
            await self.identity_from_token(credential)
            if credential is not None
            else await self.identity_from_ticket(ticket)
            if ticket is not None
            else None
        )
        if identity is not None:
            return replace(identity, ambient=True) if basic else identity
        sent = credential is not None or ticket is not None
        if not sent or basic:
            cookie = connection.cookies.get(COOKIE)
            session = None if cookie is None else await self.sessions.identity(cookie)
            if session is not None:
                return session
        if by_address is not None and (by_address.method == "local" or not sent or basic):
            return by_address
        if sent:
            raise InvalidCredential("The key, token or ticket is invalid, expired or revoked.")
        if COOKIE in connection.cookies and self.sessions.is_forged(connection.cookies[COOKIE]):
            self.count_failure(connection)
        raise Unauthorized("Authentication required.")

    def count_failure(self, connection: HTTPConnection) -> None:
        """Write a failed authentication to the audit log and have `IpRateLimitMiddleware` count it, whatever the status is."""
        scope = connection.scope
        state = scope.setdefault("state", {})
        state[AUTH_FAILED] = True
        policy = policy_for("WS" if scope["type"] == "websocket" else scope["method"], get_route_path(scope))
        self.audit_log.record(
            None, "refused", policy.path, status=401, address=client_host(scope), request_id=state.get("request_id", "")
        )

    async def identity_from_token(self, credential: str) -> Identity | None:
        """Return the identity of an API key or token; None if it is invalid. Raises StoreUnavailable."""
        if credential.startswith(PREFIX):
            key = await self.api_keys.lookup(credential)
            return None if key is None else identity_of_key(key)
        identity = await self.tokens.verify(credential)
        return None if identity is None or self._is_expired(identity) else identity

    async def identity_from_ticket(self, ticket: str) -> Identity | None:
        """Redeem a ticket and return its identity; None if the ticket or its key is invalid. Raises StoreUnavailable."""
        identity = self.tickets.redeem(ticket)
        return identity if identity is not None and await self.is_valid(identity) else None

    async def is_valid(self, identity: Identity) -> bool:
        """Return whether the identity has not expired and its key is not revoked. Raises StoreUnavailable."""
        if self._is_expired(identity):
            return False
        return identity.key is None or await self.api_keys.by_id(identity.key) is not None

    def _is_expired(self, identity: Identity) -> bool:
        """Return whether the identity has expired. `Clock` does not go back when the system clock is set back."""
        return identity.until is not None and identity.until <= self.clock.now().timestamp()

    async def _by_address(self, connection: HTTPConnection) -> Identity | None:
        """Return the identity that the client address alone grants. Behind an untrusted proxy the address is unknown."""
        address = parse_ip(connection.client.host) if connection.client else None
        local = address is not None and address.is_loopback
        if self._settings.allow_anonymous:
            return LOCAL_ADMIN if local else replace(ANONYMOUS, name=f"visitor:{address}")
        if local and not self._auth_required:
            if not await self.api_keys.has_keys():
                return LOCAL_ADMIN
            self._report_keys()
        return device_identity(str(address)) if address in self._devices else None

    def _report_keys(self) -> None:
        """Log once that this machine's own clients need a key now; possibly another instance created the keys."""
        if not self._keys_reported:
            self._keys_reported = True
            log.warning(
                "Clients on this machine need a key, because keys were created in the data folder %s, possibly by another "
                "instance. Create a key with 'hunyuanocr keys create', or use another folder: HUNYUANOCR_DATA=/another/folder.",
                self._data.absolute(),
            )

    async def _check_keys(self) -> None:
        """Read the keys before the first request needs them."""
        await self.api_keys.preload()
        if not self._auth_required and not self._settings.allow_anonymous and await self.api_keys.has_keys():
            self._report_keys()

    def authorize(self, connection: HTTPConnection, identity: Identity, policy: RoutePolicy) -> None:
        """Check that the identity may use the route. Raises MissingScope, and CrossOriginRefused for cross-site requests."""
        if identity.ambient:
            self.check_origin(connection)
        if identity.method in ("local", "device") and csrf.is_public_host(connection.headers, self._settings.public_hostnames):
            raise CrossOriginRefused("The host name is not allowed.")
        self.require_scope(identity, policy)

    @staticmethod
    def require_scope(identity: Identity, policy: RoutePolicy) -> None:
        """Check the scope of the identity. Raises MissingScope."""
        if isinstance(policy.needs, Scope) and not identity.has_scope(policy.needs):
            raise MissingScope(f"The scope '{policy.needs.value}' is required.")

    def check_origin(self, connection: HTTPConnection) -> None:
        """Check the origin of a request that can change data. Raises CrossOriginRefused for another website."""
        unsafe = connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE_METHODS
        if unsafe and csrf.is_cross_origin(connection.headers, self._origins, connection.scope["scheme"]):
            raise CrossOriginRefused("Cross-origin request rejected.")

    def bootstrap_admin_key(self) -> tuple[str, str] | None:
        """Create the first administrator key and a login code; None if no key is required or one exists.

        Raises StoreUnavailable.
        """
        required = (
            (self.exposed or self._settings.require_auth_on_loopback)
            and not self._settings.allow_anonymous
            and not self._settings.jwt.used
        )
        if not required:
            return None
        text, key = create_api_key("admin", "local", ALL_SCOPES)
        with self.database.transaction() as conn:
            if keys.list_all(conn):
                return None
            keys.insert(conn, key)
        self.api_keys.invalidate()
        return text, self.links.issue(identity_of_key(key))

    async def start(self) -> None:
        """Start the background tasks."""
        coroutines = (self._check_keys(), self.audit_log.run(), self._flush_last_used())
        self._tasks = [asyncio.create_task(each) for each in coroutines]
        if self._retention is not None:
            self._tasks.append(asyncio.create_task(self._retention.run()))
        if self._timekeeper is not None:
            self._tasks.append(asyncio.create_task(self._timekeeper.run()))

    async def _flush_last_used(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.api_keys.flush_last_used()
            except HunyuanOcrError as e:
                log.debug("The time of last use of the keys cannot be written: %s", e.message)

    async def close(self) -> None:
        """Write pending data and stop the tasks. Call before the services close their database."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for write in (self.audit_log.flush, self.api_keys.flush_last_used):
            try:
                await write()
            except HunyuanOcrError as e:
                log.warning("The last audit log entries or key usage times are lost: %s %s", e.message, e.hint)
        await asyncio.to_thread(self.api_keys.close)
        if self._own_database is not None:
            await asyncio.to_thread(self._own_database.close)


def credential_from(connection: HTTPConnection) -> str | None:
    """Return the key or token of a request, without spaces: `Authorization: Bearer`, `X-API-Key`, or the password of `Basic`.

    The query string is not accepted. `X-API-Key` has precedence over `Basic`, which may be meant for a proxy.
    """
    scheme, _, text = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return text.strip()
    api_key = connection.headers.get("x-api-key")
    if api_key is not None:
        return api_key.strip()
    return _basic_password(text) if scheme.lower() == "basic" else None


def uses_basic(connection: HTTPConnection) -> bool:
    """Return whether the credential of a request is the password of HTTP Basic, which browsers send by themselves."""
    headers = connection.headers
    return headers.get("authorization", "").lower().startswith("basic ") and "x-api-key" not in headers


def _basic_password(text: str) -> str:
    """Return the password of HTTP Basic (RFC 7617), whatever the user name is; empty if the header is malformed."""
    try:
        user_and_password = base64.b64decode(text.strip(), validate=True).decode("utf-8", "replace")
    except ValueError:  # binascii.Error is one
        return ""
    return user_and_password.partition(":")[2].strip()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
