"""Device errors: their classification, and the error that a client receives."""

from __future__ import annotations

import logging
import traceback

import torch

from hunyuanocr.errors import BackendFailed, HunyuanOcrError, ImageTooLargeForMemory

log = logging.getLogger(__name__)

# Texts of RuntimeErrors from the CPU allocator, oneDNN, the CUDA driver and cuBLAS.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def to_client_error(error: Exception, device: torch.device) -> HunyuanOcrError:
    """Return the error to send to the client. After an out-of-memory error also free the memory of the failed request."""
    if isinstance(error, HunyuanOcrError):
        return error
    if _is_out_of_memory(error):
        traceback.clear_frames(error.__traceback__)  # the frames refer to the image's tensors
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return ImageTooLargeForMemory("The model ran out of memory on this image.")
    log.error("A request failed in the engine.", exc_info=error)
    return BackendFailed(f"The model failed on this image ({type(error).__name__}).")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def is_device_lost(error: Exception) -> bool:
    """Whether all further calls to the driver will fail, as after most CUDA errors."""
    return isinstance(error, torch.AcceleratorError) and not _is_out_of_memory(error)
