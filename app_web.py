"""Serves the page and the API: `--port` has both, `--api-port` the API alone; one process and one reader behind them.

Run through ./launch_web_pt.sh, or ./launch_vllm.sh for the engine vLLM; they install what is missing first.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import math
import os
import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import psutil
import uvicorn
from fastapi import FastAPI
from rich.console import Console

from hunyuanocr import log_setup
from hunyuanocr.backends import create_backend, create_evidence_backend
from hunyuanocr.backends.base import Backend
from hunyuanocr.config import BackendChoice, Settings, TorchSettings, load_settings
from hunyuanocr.errors import ConfigError, HunyuanOcrError, StoreUnavailable
from hunyuanocr.malloc import limit_malloc_arenas
from hunyuanocr.telemetry import disable_telemetry

if TYPE_CHECKING:
    from hunyuanocr.services.container import Services
    from hunyuanocr.store.folder import DataFolder

_DTYPES = get_args(TorchSettings.model_fields["dtype"].annotation)
_LAST_S = 1.0  # for what is still being answered when the grace is over
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 -- compared, not bound
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
log = logging.getLogger("app_web")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. The exit status: 0, 1 when serving failed, 2 when the flags or settings cannot work."""
    disable_telemetry()  # first: the readers and the page are imported later
    limit_malloc_arenas()
    try:
        settings = _settings(_parser().parse_args(argv))
        log_setup.configure_logging(settings.log)
        _check_tls(settings)
        folder = _claim_folder(settings)
        reader, why = create_backend(settings)  # before a port is open: what is missing is told at once
        _allow_connections(settings)
        with _listening(settings) as (page_socket, api_socket):
            page_app, api_app = _apps(settings, reader, why, folder)
            _announce(settings, why, page_socket, api_socket)
            _give_first_key(page_app, page_socket)
            return asyncio.run(_serve(page_app, page_socket, api_app, api_socket))
    except HunyuanOcrError as e:
        _err.print(f"Error: {e.message}\n  {e.hint}", markup=False)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launch_web_pt.sh", allow_abbrev=False, description="Page and API of the appliance, on this machine.",
        epilog="Settings may also stand in the environment (HUNYUANOCR_…) and in a TOML file; flags win, then the environment.",
    )  # fmt: skip
    add = parser.add_argument
    add("--host", help="address to listen on (127.0.0.1: this machine only; 0.0.0.0: the local network too)")
    add("--port", type=int, help="port of the page and the API (7860)")
    add("--api-port", type=int, help="port of the API alone (8000)")
    add("--model-path", type=Path, help="folder of the HunyuanOCR weights (models/hunyuanocr-1b)")
    add("--backend", choices=get_args(BackendChoice), help="which reader serves (auto: the GPU model where it can run)")
    add("--device", help="device of the model: cpu, cuda or cuda:N (auto: the first GPU, else the CPU)")
    add("--vram-gb", type=float, help="memory in GB for weights, cache and work of the model (8)")
    add("--dtype", choices=_DTYPES, help="number format of the model (auto: float16 on a GPU)")
    add("--vllm-url", help="address of a vLLM server that runs already, for --backend vllm")
    add("--tls-cert", type=Path, help="PEM file of a certificate: page and API are served over HTTPS")
    add("--tls-key", type=Path, help="PEM file of its key")
    add("--open", action="store_true", help="let everybody in who can reach this machine, without a key")
    add("--no-page", action="store_true", help="the API alone on both ports; saves memory")
    add("--config", type=Path, help="TOML file with settings")
    return parser


def _settings(flags: argparse.Namespace) -> Settings:
    """Flags over environment over file; what is not given is not set."""
    if flags.config is not None:
        os.environ["HUNYUANOCR_CONFIG"] = str(flags.config)
    groups: dict[str, dict[str, Any]] = {
        "server": {"host": flags.host, "port": flags.port, "api_port": flags.api_port, "page": False if flags.no_page else None},
        "security": {"allow_anonymous": flags.open or None},
        "torch": {"vram_gb": flags.vram_gb, "dtype": flags.dtype},
        "vllm": {"url": flags.vllm_url},
        "network": {"tls_cert": flags.tls_cert, "tls_key": flags.tls_key},
    }
    given: dict[str, Any] = {name: getattr(flags, name) for name in ("model_path", "device", "backend")}
    given |= {group: {name: v for name, v in values.items() if v is not None} for group, values in groups.items()}
    settings = load_settings(**{name: value for name, value in given.items() if value not in (None, {})})
    if settings.server.port == settings.server.api_port != 0:
        raise ConfigError("The page and the API alone cannot share a port.", hint="Give --port and --api-port different numbers.")
    return settings


def _check_tls(settings: Settings) -> None:
    from api.uvicorn_config import validate_tls  # noqa: PLC0415 -- settings are read before the API is loaded

    validate_tls(settings.network)


def _claim_folder(settings: Settings) -> DataFolder:
    """The data folder, for this process alone until it ends. Raises ConfigError while another server uses it."""
    from hunyuanocr.services.container import claim_folder  # noqa: PLC0415
    from hunyuanocr.store.folder import DataFolder  # noqa: PLC0415

    folder = DataFolder(settings.data)
    claim_folder(folder, settings)
    return folder


def _allow_connections(settings: Settings) -> None:
    """As many open connections as the system grants: many Linux systems begin at 1,024 for a program that does not ask."""
    from api.network.descriptors import connection_limit  # noqa: PLC0415

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wanted = settings.network.connections
    if (allowed := connection_limit(wanted)) < wanted:
        log.warning(
            "With %d file descriptors there may be %d connections, not %d as 'network.connections' says; raise 'ulimit -n', "
            "systemd's LimitNOFILE or Docker's ulimits for more.", most, allowed, wanted,
        )  # fmt: skip


@contextmanager
def _listening(settings: Settings) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both sockets, bound before anything is loaded, so that a taken port is told at once."""
    server = settings.server
    with _bound(server.host, server.port, "--port") as page, _bound(server.host, server.api_port, "--api-port") as api:
        yield page, api


def _bound(host: str, port: int, flag: str) -> socket.socket:
    from api.network.descriptors import Listener  # noqa: PLC0415
    from api.network.http_protocol import FULL  # noqa: PLC0415

    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio sends at once only where TCP is named
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
            hint = f"Choose another with {flag}, or stop the program that listens there (ss -ltnp shows it)."
            raise ConfigError(f"Port {port} is taken by another program.", hint=hint) from e
        if e.errno == errno.EACCES:
            raise ConfigError(f"Port {port} may be opened by root only.", hint=f"Choose one above 1023 with {flag}.") from e
        raise ConfigError(f"Cannot listen on {host}: {e.strerror}.", hint="Give an address of this machine with --host.") from e
    return listener


def _apps(settings: Settings, reader: Backend, why: str, folder: DataFolder | None = None) -> tuple[FastAPI, FastAPI]:
    """Two apps around one pipeline. The first app starts and closes it; the other has no life."""
    from api.app import create_app  # noqa: PLC0415
    from api.auth.authenticator import Authenticator  # noqa: PLC0415
    from api.network import NetworkLimits  # noqa: PLC0415
    from hunyuanocr.pipeline import Pipeline  # noqa: PLC0415
    from hunyuanocr.services.container import Services  # noqa: PLC0415

    pipeline = Pipeline(reader, settings, create_evidence_backend(settings, reader), why)
    services = Services(settings, pipeline, folder)
    shared = services, NetworkLimits(settings), Authenticator(settings, services)
    apps = create_app(settings, pipeline, *shared), create_app(settings, pipeline, *shared)
    if settings.server.page:
        from web.app import mount_page  # noqa: PLC0415 -- Gradio is heavy: not without a page

        mount_page(apps[0], pipeline, settings)
    return apps


def _announce(settings: Settings, why: str, page: socket.socket, api: socket.socket) -> None:
    """Which reader serves and why, and where to open the page: to a person, or to the program that reads the log."""
    lines = [why]
    scheme = "http" if settings.network.tls_cert is None else "https"
    hosts = [settings.server.host]
    if hosts[0] in _EVERYWHERE:
        hosts = [*_lan_addresses(), "127.0.0.1"]
    for what, listener in (("Page and API" if settings.server.page else "API", page), ("API alone", api)):
        port = listener.getsockname()[1]
        places = "  ".join(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts)
        lines.append(f"{what + ':':<14}{places}")
    for line in lines:
        if settings.log.format == "json":
            log.info("%s", line)
        else:
            _out.print(line, markup=False)


def _give_first_key(app: FastAPI, page: socket.socket) -> None:
    """At the first start on the network: a key for the administrator and a login link for the page, told once, to the terminal
    alone: the log of programs is no place for them.
    """
    try:
        given = app.state.gate.bootstrap_admin_key()
    except StoreUnavailable as e:
        _err.print(f"No key could be made, and without one nobody is served: {e.message} {e.hint}", markup=False)
        return
    if given is None:
        return
    key, code = given
    settings: Settings = app.state.settings
    _out.print(f"Key of the administrator, told only now: {key}", markup=False)
    if settings.server.page:
        scheme = "http" if settings.network.tls_cert is None else "https"
        host = next(iter(_lan_addresses()), "127.0.0.1") if settings.server.host in _EVERYWHERE else settings.server.host
        place = f"{scheme}://{f'[{host}]' if ':' in host else host}:{page.getsockname()[1]}"
        _out.print(f"Login of the page, good once and for an hour: {place}/login?code={code}", markup=False)


def _lan_addresses() -> list[str]:
    """IPv4 addresses by which others reach this machine, asked of its own interfaces: nothing is sent, no route is needed."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    inner = ("lo", "docker", "br-", "veth", "virbr")  # bridges to containers, not to phones
    return [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        if name in up and not name.startswith(inner)
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: there are two of them in this process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: FastAPI, lifespan: Literal["on", "off"]) -> _Server:
    from api.uvicorn_config import uvicorn_options  # noqa: PLC0415

    return _Server(uvicorn.Config(
        app, lifespan=lifespan, access_log=False, log_level="warning", log_config=None,
        **uvicorn_options(app.state.settings),
    ))  # fmt: skip


async def _serve(page_app: FastAPI, page_socket: socket.socket, api_app: FastAPI, api_socket: socket.socket) -> int:
    from api.exit_watchdog import ExitWatchdog  # noqa: PLC0415

    servers = page, api = _server(page_app, "on"), _server(api_app, "off")
    services: Services = page_app.state.services
    grace_s = page_app.state.settings.server.grace_s
    leaving: list[asyncio.Task[None]] = []

    def finish(last_s: float = _LAST_S) -> None:
        for server in servers:
            server.config.timeout_graceful_shutdown = math.ceil(last_s)
            server.should_exit = True
        end_streams = getattr(page_app.state, "end_streams", None)
        if end_streams is not None:
            end_streams()

    async def leave() -> None:
        began = loop.time()
        try:
            await services.drain(grace_s)
        finally:
            finish(max(_LAST_S, grace_s - (loop.time() - began)))

    def asked() -> None:
        if not leaving and all(server.started for server in servers):
            leaving.append(loop.create_task(leave()))
            return
        for server in servers:
            server.force_exit = bool(leaving)  # asked twice: now
        finish()

    async def run(server: _Server, listener: socket.socket) -> None:
        await server.serve(sockets=[listener])
        finish()  # one that could not start, or ended, ends the other

    loop = asyncio.get_running_loop()
    with ExitWatchdog(grace_s, lambda: loop.call_soon_threadsafe(asked)).watching():
        await asyncio.gather(run(page, page_socket), run(api, api_socket))
    return 0 if all(server.started for server in servers) else 1


if __name__ == "__main__":
    sys.exit(main())
