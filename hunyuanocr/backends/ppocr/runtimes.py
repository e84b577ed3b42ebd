"""Which runtime carries a network."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hunyuanocr.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from hunyuanocr.backends.ppocr.network import EngineOptions, Network


def choose_runtime(setting: str, *, small: bool = False) -> str:
    """`auto` → OpenVINO on x86-64 where it is installed, else onnxruntime, which also takes the least memory (`small`).

    Raises MissingDependency.
    """
    here = {name for name in ("openvino", "onnxruntime") if find_spec(name) is not None}
    if setting == "auto":
        intel = platform.machine().lower() in {"x86_64", "amd64"}
        setting = "openvino" if "openvino" in here and intel and not small else "onnxruntime"
    if setting not in here:
        raise MissingDependency(f"The package {setting} is not installed.", hint=f"pip install {setting}")
    return setting


def load_network(path: Path, runtime: str, options: EngineOptions) -> Network:
    """Load and compile; raises ConfigError when the file is no network with one picture input."""
    if not path.is_file():
        raise ConfigError(f"The network file {path} does not exist.")
    try:
        if runtime == "openvino":
            from hunyuanocr.backends.ppocr.runtime_openvino import OpenVinoNetwork  # noqa: PLC0415 - loads the engine

            return OpenVinoNetwork(path, options)
        from hunyuanocr.backends.ppocr.runtime_onnxruntime import OnnxruntimeNetwork  # noqa: PLC0415 - loads the engine

        return OnnxruntimeNetwork(path, options)
    except (RuntimeError, ValueError) as e:  # what both engines raise on files that they cannot take
        raise ConfigError(f"The network file {path} cannot be loaded by {runtime}: {str(e)[:300]}") from e
