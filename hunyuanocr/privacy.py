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


def stay_home() -> None:
    """Set the switches for this process and its children; what the owner has set already stays."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
