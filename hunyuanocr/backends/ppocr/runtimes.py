"""The choice of the runtime, and loading of networks."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hunyuanocr.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from hunyuanocr.backends.ppocr.network import EngineOptions, Network


def choose_runtime(setting: str, *, small: bool = False) -> str:
    """Return the runtime. `auto`: OpenVINO on x86-64 if installed; else, and with `small`, onnxruntime, which needs less memory.

    Raises MissingDependency.
    """
    installed = {name for name in ("openvino", "onnxruntime") if find_spec(name) is not None}
    if setting == "auto":
        intel = platform.machine().lower() in {"x86_64", "amd64"}
        setting = "openvino" if "openvino" in installed and intel and not small else "onnxruntime"
    if setting not in installed:
        raise MissingDependency(f"The package '{setting}' is not installed.", hint=f"Run: .venv/bin/pip install {setting}")
    return setting


def load_network(path: Path, runtime: str, options: EngineOptions) -> Network:
    """Load and compile a network. Raises ConfigError for a file that is not a network with one image input."""
    if not path.is_file():
        raise ConfigError(f"The network file {path} does not exist.")
    try:
        if runtime == "openvino":
            from hunyuanocr.backends.ppocr.runtime_openvino import OpenVinoNetwork  # noqa: PLC0415 - loads the engine

            return OpenVinoNetwork(path, options)
        from hunyuanocr.backends.ppocr.runtime_onnxruntime import OnnxruntimeNetwork  # noqa: PLC0415 - loads the engine

        return OnnxruntimeNetwork(path, options)
    except (RuntimeError, ValueError) as e:  # of both runtimes, for files that they cannot load
        raise ConfigError(f"The runtime {runtime} cannot load the network file {path}: {str(e)[:300]}") from e
