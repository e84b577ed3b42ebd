"""Settings of the OCR backends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hunyuanocr.config.base import SettingsGroup, UserPath

BackendChoice = Literal["torch", "vllm", "ppocr", "fake", "auto"]


class PpocrSettings(SettingsGroup):
    """The CPU backend (PP-OCR networks)."""

    runtime: Literal["auto", "openvino", "onnxruntime"] = Field(
        "auto", description="Inference runtime. auto: OpenVINO on x86-64 if it is installed, otherwise ONNX Runtime."
    )
    threads: int = Field(0, ge=0, description="CPU threads per page. 0: all CPUs that the process may use.")
    workers: int = Field(1, ge=1, description="Pages read concurrently.")
    load: Literal["eager", "lazy"] = Field(
        "eager", description="When to load the networks. eager: at startup; lazy: with the first image."
    )
    batch: int = Field(
        1, ge=1, description="Batch size of the recogniser: text lines of the same width per call. 1 is fastest on few cores."
    )
    small_memory: bool = Field(
        False, description="Use less memory at the cost of speed: the API without the page needs less than 512 MiB."
    )
    int8: bool = Field(
        False, description="Use 8-bit networks, created with bench/quantise.py (docs/reader.md: gains and losses)."
    )
    upscale_small_images: Literal["off", "auto"] = Field(
        "off", description="Upscaling before text detection. auto: enlarge small images (docs/reader.md: gains)."
    )
    recogniser: UserPath | None = Field(None, description="ONNX file of a CTC recogniser to use instead of the built-in one.")
    dictionary: UserPath | None = Field(
        None, description="Character list of that recogniser: one character per line, without the CTC blank."
    )


class TorchSettings(SettingsGroup):
    """The PyTorch engine of the HunyuanOCR model."""

    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto",
        description="Data type of the model. auto: float16 on a GPU, bfloat16 on a CPU with native support, otherwise float32.",
    )
    vram_gb: float = Field(
        8.0, gt=0, description="Memory for weights, KV cache and activations, GB; GPU memory, or main memory on a CPU."
    )
    max_num_seqs: int = Field(8, ge=1, le=64, description="Maximum number of sequences that are decoded concurrently.")
    graphs: bool = Field(True, description="Use CUDA graphs for the decode step. Turn off to diagnose driver problems.")


class VllmSettings(SettingsGroup):
    """The vLLM engine of the HunyuanOCR model. Data type and memory are set in the group `torch`."""

    url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+",
        description="URL of a running vLLM server (http://192.168.1.5:8000). Default: start one on this machine.",
    )
