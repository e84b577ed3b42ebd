"""What breaks on a device, and what a client is told of it."""

from __future__ import annotations

import logging
import traceback

import torch

from hunyuanocr.errors import BackendFailed, HunyuanOcrError, ImageTooLargeForMemory

log = logging.getLogger(__name__)

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")  # of the CPU, the driver, cuBLAS


def to_client_error(error: Exception, device: torch.device) -> HunyuanOcrError:
    """What a client is told. Memory that ran out is the picture's fault, not the engine's: give the rest back and go on."""
    if isinstance(error, HunyuanOcrError):
        return error
    if _out_of_memory(error):
        traceback.clear_frames(error.__traceback__)  # they hold the picture's tensors
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return ImageTooLargeForMemory("The model ran out of memory on this picture.")
    log.error("The engine failed on a request.", exc_info=error)
    return BackendFailed(f"The model broke on this picture ({type(error).__name__}).")


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)


def is_device_lost(error: Exception) -> bool:
    """Whether the driver will fail all calls from now on, as it does after most of its errors."""
    return isinstance(error, torch.AcceleratorError) and not _out_of_memory(error)
