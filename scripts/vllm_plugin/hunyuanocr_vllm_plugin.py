"""A plugin of vLLM (entry point group `vllm.general_plugins`): HunyuanOCR on a CPU."""

from __future__ import annotations

import functools
from typing import Any


def register() -> None:
    """Called by vLLM once in each of its processes."""
    from vllm.platforms import current_platform  # noqa: PLC0415 -- loaded by vLLM, which is importing its own parts

    if current_platform.is_cpu():
        _matrices_in_one_piece()


def _matrices_in_one_piece() -> None:
    """oneDNN's product wants rows without gaps; the model's patch merger hands it a permuted tensor."""
    from vllm import _custom_ops  # noqa: PLC0415

    plain = _custom_ops.onednn_mm

    @functools.wraps(plain)
    def in_one_piece(handler: Any, x: Any, bias: Any) -> Any:
        return plain(handler, x.contiguous(), bias)

    _custom_ops.onednn_mm = in_one_piece
