"""Flags of the server program."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, get_args

from hunyuanocr.config import BackendChoice, Settings, TorchSettings, load_settings
from hunyuanocr.errors import ConfigError

_DTYPES = get_args(TorchSettings.model_fields["dtype"].annotation)


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(
        prog="launch_web_pt.sh",
        allow_abbrev=False,
        description="Serve the page and the API of the appliance.",
        epilog="Precedence: flags, environment variables (HUNYUANOCR_…), TOML file. docs/settings.md lists all settings.",
    )
    add = parser.add_argument
    add("--host", help="address to listen on (127.0.0.1: this machine only; 0.0.0.0: all interfaces)")
    add("--port", type=int, help="port of the page and the API (default: 7860)")
    add("--api-port", type=int, help="port of the API without the page (default: 8000)")
    add("--model-path", type=Path, help="folder with the HunyuanOCR weights (default: models/hunyuanocr-1b)")
    add("--backend", choices=get_args(BackendChoice), help="OCR backend (auto: the GPU model if it can run, otherwise ppocr)")
    add("--device", help="device of the model: cpu, cuda or cuda:N (auto: the first GPU, otherwise the CPU)")
    add("--vram-gb", type=float, help="memory for weights, KV cache and activations of the model, GB (default: 8)")
    add("--dtype", choices=_DTYPES, help="data type of the model (auto: float16 on a GPU)")
    add("--vllm-url", help="URL of a running vLLM server, for --backend vllm")
    add("--tls-cert", type=Path, help="PEM file of the TLS certificate; enables HTTPS")
    add("--tls-key", type=Path, help="PEM file of the private key of the certificate")
    add("--open", action="store_true", help="serve all clients without authentication")
    add("--no-page", action="store_true", help="serve only the API on both ports; saves memory")
    add("--config", type=Path, help="TOML file with settings")
    return parser


def settings_from_flags(flags: argparse.Namespace) -> Settings:
    """Load the settings; flags have precedence over the environment and the file."""
    if flags.config is not None:
        os.environ["HUNYUANOCR_CONFIG"] = str(flags.config)
    groups: dict[str, dict[str, Any]] = {
        "server": {"host": flags.host, "port": flags.port, "api_port": flags.api_port, "page": False if flags.no_page else None},
        "security": {"allow_anonymous": flags.open or None},
        "torch": {"vram_gb": flags.vram_gb, "dtype": flags.dtype},
        "vllm": {"url": flags.vllm_url},
        "network": {"tls_cert": flags.tls_cert, "tls_key": flags.tls_key},
    }
    values: dict[str, Any] = {name: getattr(flags, name) for name in ("model_path", "device", "backend")}
    values |= {group: {name: v for name, v in members.items() if v is not None} for group, members in groups.items()}
    settings = load_settings(**{name: value for name, value in values.items() if value not in (None, {})})
    if settings.server.port == settings.server.api_port != 0:
        raise ConfigError("--port and --api-port cannot share a port.", hint="Choose different ports.")
    return settings
