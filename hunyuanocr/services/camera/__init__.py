"""Camera frames → results, fairly shared: rate limit, change detection, recognition in turn, voting over frames.

Independent of the transport: `api.routes.camera` carries frames and replies.
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
