"""Serve the page and the API on `--port` and the API alone on `--api-port`, in one process with one backend.

Started by ./launch_web_pt.sh, or by ./launch_vllm.sh for vLLM; both install missing packages first.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import uvicorn
from fastapi import FastAPI
from rich.console import Console

from hunyuanocr import log_setup
from hunyuanocr.backends import create_backend, create_evidence_backend
from hunyuanocr.backends.base import Backend
from hunyuanocr.config import Settings
from hunyuanocr.config.flags import create_parser, settings_from_flags
from hunyuanocr.errors import ConfigError, HunyuanOcrError, StoreUnavailable
from hunyuanocr.lan import lan_addresses
from hunyuanocr.malloc import limit_malloc_arenas
from hunyuanocr.telemetry import disable_telemetry

if TYPE_CHECKING:
    from hunyuanocr.services.container import Services
    from hunyuanocr.store.folder import DataFolder

_FINAL_S = 1.0  # for responses that are still being sent after the grace period
_ALL_INTERFACES = ("0.0.0.0", "::", "")  # noqa: S104 -- compared, not bound
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
log = logging.getLogger("app_web")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit status: 0; 1 if serving failed; 2 if flags or settings are invalid."""
    disable_telemetry()  # before the backends and the page are imported
    limit_malloc_arenas()
    try:
        settings = settings_from_flags(create_parser().parse_args(argv))
        log_setup.configure_logging(settings.log)
        settings = _without_impossible_page(settings)
        _check_tls(settings)
        folder = _claim_folder(settings)
        backend, reason = create_backend(settings)  # before the ports are opened: missing parts are reported immediately
        _allow_connections(settings)
        with listening(settings) as (page_socket, api_socket):
            page_app, api_app = create_apps(settings, backend, reason, folder)
            announce(settings, reason, page_socket, api_socket)
            _print_first_key(page_app, page_socket)
            return asyncio.run(serve(page_app, page_socket, api_app, api_socket))
    except HunyuanOcrError as e:
        _err.print(f"Error: {e.message}\n  {e.hint}", markup=False)
        return 2


def _without_impossible_page(settings: Settings) -> Settings:
    """Return the settings with the page off if Gradio cannot be imported, which needs a temporary folder."""
    if not settings.server.page:
        return settings
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        log.warning("The page is off, because no temporary folder is writable: set TMPDIR to a writable folder.")
        return settings.model_copy(update={"server": settings.server.model_copy(update={"page": False})})
    return settings


def _check_tls(settings: Settings) -> None:
    from api.uvicorn_config import validate_tls  # noqa: PLC0415 -- settings are checked before the API is loaded

    validate_tls(settings.network)


def _claim_folder(settings: Settings) -> DataFolder:
    """Lock the data folder until the process exits. Raise ConfigError if another server uses it."""
    from hunyuanocr.services.container import claim_folder  # noqa: PLC0415
    from hunyuanocr.store.folder import DataFolder  # noqa: PLC0415

    folder = DataFolder(settings.data)
    claim_folder(folder, settings)
    return folder


def _allow_connections(settings: Settings) -> None:
    """Raise the soft limit of file descriptors, which many Linux systems set to 1,024, to the hard limit."""
    from api.network.descriptors import connection_limit  # noqa: PLC0415

    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    configured = settings.network.connections
    if (allowed := connection_limit(configured)) < configured:
        log.warning(
            "The limit of %d file descriptors allows %d connections, fewer than the %d of 'network.connections'. Increase "
            "'ulimit -n', LimitNOFILE of systemd, or the ulimits of Docker.",
            hard_limit,
            allowed,
            configured,
        )


@contextmanager
def listening(settings: Settings) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Bind both sockets before anything is loaded, so that a port in use is reported immediately."""
    server = settings.server
    with (
        bound_socket(server.host, server.port, "--port") as page,
        bound_socket(server.host, server.api_port, "--api-port") as api,
    ):
        yield page, api


def bound_socket(host: str, port: int, flag: str) -> socket.socket:
    """Return a listening socket. Raise ConfigError, which names `flag`, if the port is in use or the address is not available."""
    from api.network.descriptors import Listener  # noqa: PLC0415
    from api.network.http_protocol import FULL  # noqa: PLC0415

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio sets TCP_NODELAY only if the protocol is IPPROTO_TCP
        listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, refusal=FULL)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            hint = f"Choose another with {flag}, or stop the program that uses the port (ss -ltnp lists it)."
            raise ConfigError(f"Port {port} is in use by another program.", hint=hint) from e
        if e.errno == errno.EACCES:
            raise ConfigError(f"Only root can open port {port}.", hint=f"Choose a port above 1023 with {flag}.") from e
        raise ConfigError(f"Cannot listen on {host}: {e.strerror}.", hint="Set --host to an address of this machine.") from e
    return listener


def create_apps(settings: Settings, backend: Backend, reason: str, folder: DataFolder | None = None) -> tuple[FastAPI, FastAPI]:
    """Create two apps with one pipeline. The lifespan of the first starts and closes it; the second runs without a lifespan."""
    from api.app import create_app  # noqa: PLC0415
    from api.auth.authenticator import Authenticator  # noqa: PLC0415
    from api.network import NetworkLimits  # noqa: PLC0415
    from hunyuanocr.pipeline import Pipeline  # noqa: PLC0415
    from hunyuanocr.services.container import Services  # noqa: PLC0415

    pipeline = Pipeline(backend, settings, create_evidence_backend(settings, backend), reason)
    services = Services(settings, pipeline, folder)
    shared = services, NetworkLimits(settings), Authenticator(settings, services)
    apps = create_app(settings, pipeline, *shared), create_app(settings, pipeline, *shared)
    if settings.server.page:
        from web.app import mount_page  # noqa: PLC0415 -- Gradio uses much memory: loaded only with the page

        mount_page(apps[0], pipeline, settings)
    return apps


def announce(settings: Settings, reason: str, page: socket.socket, api: socket.socket) -> None:
    """Print the backend, the reason for it and the URLs; with JSON logs, log them."""
    lines = [reason]
    for label, listener in (("Page and API" if settings.server.page else "API", page), ("API alone", api)):
        lines.append(f"{label + ':':<14}{'  '.join(_urls(settings, listener))}")
    for line in lines:
        if settings.log.format == "json":
            log.info("%s", line)
        else:
            _out.print(line, markup=False)


def _urls(settings: Settings, listener: socket.socket) -> list[str]:
    """Return the base URLs of a listening socket; addresses on the LAN first."""
    scheme = "http" if settings.network.tls_cert is None else "https"
    hosts = [*lan_addresses(), "127.0.0.1"] if settings.server.host in _ALL_INTERFACES else [settings.server.host]
    port = listener.getsockname()[1]
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts]


def _print_first_key(app: FastAPI, page: socket.socket) -> None:
    """Create and print the administrator key and a login link at the first start on the network.

    They are printed to the terminal, never logged.
    """
    try:
        created = app.state.authenticator.bootstrap_admin_key()
    except StoreUnavailable as e:
        _err.print(f"Cannot create the administrator key, which clients need: {e.message} {e.hint}", markup=False)
        return
    if created is None:
        return
    key, code = created
    settings: Settings = app.state.settings
    _out.print(f"Administrator key, shown only once: {key}", markup=False)
    if settings.server.page:
        url = f"{_urls(settings, page)[0]}/login?code={code}"
        _out.print(f"Login link for the page, valid once and for one hour: {url}", markup=False)


class _Server(uvicorn.Server):
    """A server without signal handlers: two servers run in this process, and `serve` handles the signals for both."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: FastAPI, lifespan: Literal["on", "off"]) -> _Server:
    from api.uvicorn_config import uvicorn_options  # noqa: PLC0415

    return _Server(
        uvicorn.Config(
            app,
            lifespan=lifespan,
            access_log=False,
            log_level="warning",
            log_config=None,
            **uvicorn_options(app.state.settings),
        )
    )


async def serve(page_app: FastAPI, page_socket: socket.socket, api_app: FastAPI, api_socket: socket.socket) -> int:
    """Run both servers until a signal; return the exit status: 1 if one of them did not start."""
    from api.exit_watchdog import ExitWatchdog  # noqa: PLC0415

    servers = page, api = _server(page_app, "on"), _server(api_app, "off")
    services: Services = page_app.state.services
    grace_s = page_app.state.settings.server.grace_s
    draining: list[asyncio.Task[None]] = []

    def finish(timeout_s: float = _FINAL_S) -> None:
        for server in servers:
            server.config.timeout_graceful_shutdown = math.ceil(timeout_s)
            server.should_exit = True
        end_streams = getattr(page_app.state, "end_streams", None)
        if end_streams is not None:
            end_streams()

    async def drain() -> None:
        started = loop.time()
        try:
            await services.drain(grace_s)
        finally:
            finish(max(_FINAL_S, grace_s - (loop.time() - started)))

    def request_stop() -> None:
        if not draining and all(server.started for server in servers):
            draining.append(loop.create_task(drain()))
            return
        for server in servers:
            server.force_exit = bool(draining)  # a second signal stops immediately
        finish()

    async def run(server: _Server, listener: socket.socket) -> None:
        await server.serve(sockets=[listener])
        finish()  # a server that failed to start or stopped also stops the other

    loop = asyncio.get_running_loop()
    with ExitWatchdog(grace_s, lambda: loop.call_soon_threadsafe(request_stop)).watching():
        await asyncio.gather(run(page, page_socket), run(api, api_socket))
    return 0 if all(server.started for server in servers) else 1


if __name__ == "__main__":
    sys.exit(main())
