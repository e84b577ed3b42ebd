"""Frames of many cameras → readings, fairly: sampled, compared with what was read last, read in turn, steadied.

Nothing here knows how frames come and answers go: `api.routes.camera` carries them.
"""

from hunyuanocr.services.camera.connection import CameraConnection
from hunyuanocr.services.camera.messages import Frame, FrameDelta, FrameFailed, FrameReply, FrameResult, FrameSkipped, SkipReason
from hunyuanocr.services.camera.service import CameraService

__all__ = [
    "CameraConnection",
    "CameraService",
    "Frame",
    "FrameDelta",
    "FrameFailed",
    "FrameReply",
    "FrameResult",
    "FrameSkipped",
    "SkipReason",
]
