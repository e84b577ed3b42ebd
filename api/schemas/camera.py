"""Options of a camera connection."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.schemas.ocr import OcrRequest, Text


class CameraOptions(OcrRequest):
    """Options in the query string or in a `configure` message."""

    rate: float | None = Field(None, gt=0, allow_inf_nan=False, description="Maximum number of frames per second.")
    session: Annotated[Text, Field(min_length=8, max_length=100, description="Session id, to resume a session.")] | None = None
    partial: bool | None = Field(None, description="Send partial text while a frame is being recognised.")
