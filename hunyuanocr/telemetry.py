"""Disable the telemetry of libraries with environment variables, before the libraries are imported.

OpenVINO sends an event when it is imported and has no such variable: the CPU backend prevents the import of its telemetry package
(`backends/ppocr/runtime_openvino.py`).
"""

from __future__ import annotations

import os

TELEMETRY_ENV = {
    "DO_NOT_TRACK": "1",  # respected by vLLM and others
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


# Lists the variables that `disable_telemetry` has set; in the environment, because child processes inherit both.
SET_BY_US = "HUNYUANOCR_SWITCHES"
# Variables with which an administrator forbids downloads: our own and those of the libraries.
OFFLINE = ("HUNYUANOCR_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def disable_telemetry() -> None:
    """Set the variables for this process and its children, unless they are already set."""
    for name, value in TELEMETRY_ENV.items():
        if name not in os.environ:
            os.environ[name] = value
            os.environ[SET_BY_US] = f"{os.environ.get(SET_BY_US, '')} {name}".strip()


def offline_variable() -> str | None:
    """Return the variable with which the administrator (not `disable_telemetry`) forbids downloads, or None."""
    ours = os.environ.get(SET_BY_US, "").split()
    return next((n for n in OFFLINE if n not in ours and os.environ.get(n, "").lower() in {"1", "on", "yes", "true"}), None)
