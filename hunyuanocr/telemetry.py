"""Nothing phones home: the switches of the libraries that would, set before they are imported.

OpenVINO sends an event when it is imported and has no switch for it: the CPU reader keeps its telemetry package from loading
(`backends/ppocr/engine_openvino.py`).
"""

from __future__ import annotations

import os

TELEMETRY_ENV = {
    "DO_NOT_TRACK": "1",  # vLLM and others heed it
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


# Names of the switches that we set, in the environment as well, since children inherit both.
SET_BY_US = "HUNYUANOCR_SWITCHES"
# What an owner sets so that nothing is ever downloaded here: our own word, and those of the libraries.
OFFLINE = ("HUNYUANOCR_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def disable_telemetry() -> None:
    """Set the switches for this process and its children; what the owner has set already stays."""
    for name, value in TELEMETRY_ENV.items():
        if name not in os.environ:
            os.environ[name] = value
            os.environ[SET_BY_US] = f"{os.environ.get(SET_BY_US, '')} {name}".strip()


def offline_variable() -> str | None:
    """The variable by which the owner, not `disable_telemetry`, keeps this machine offline; None where nothing forbids a
    download.
    """
    ours = os.environ.get(SET_BY_US, "").split()
    return next((n for n in OFFLINE if n not in ours and os.environ.get(n, "").lower() in {"1", "on", "yes", "true"}), None)
