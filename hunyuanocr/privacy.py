"""Nothing phones home: the switches of the libraries that would, set before they are imported.

OpenVINO sends an event when it is imported and has no switch for it: the CPU reader keeps its telemetry package from loading
(`backends/ppocr/engine_openvino.py`).
"""

from __future__ import annotations

import os

SWITCHES = {
    "DO_NOT_TRACK": "1",  # vLLM and others heed it
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


# Names of the switches that we set, in the environment as well, since children inherit both.
OURS = "HUNYUANOCR_SWITCHES"
# What an owner sets so that nothing is ever downloaded here: our own word, and those of the libraries.
OFFLINE = ("HUNYUANOCR_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def stay_home() -> None:
    """Set the switches for this process and its children; what the owner has set already stays."""
    for name, value in SWITCHES.items():
        if name not in os.environ:
            os.environ[name] = value
            os.environ[OURS] = f"{os.environ.get(OURS, '')} {name}".strip()


def offline_by() -> str | None:
    """The variable by which the owner, not `stay_home`, keeps this machine offline; None where nothing forbids a download."""
    ours = os.environ.get(OURS, "").split()
    return next((n for n in OFFLINE if n not in ours and os.environ.get(n, "").lower() in {"1", "on", "yes", "true"}), None)
