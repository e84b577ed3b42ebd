"""The options of a camera's connection."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.schemas.ocr import OcrRequest, Text


class CameraOptions(OcrRequest):
    """What a camera may say of itself, in the address or in a message."""

    rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    session: Annotated[Text, Field(min_length=8, max_length=100)] | None = None
    partial: bool | None = None
