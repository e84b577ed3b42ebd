"""Frames of many cameras → readings, fairly: sampled, compared with what was read last, read in turn, steadied.

Nothing here knows how frames come and answers go: `api.routes.ws` carries them.
"""

from hunyuanocr.services.camera.camera import Camera, Cameras
from hunyuanocr.services.camera.messages import Answer, Failed, Frame, Partial, Reply, Skipped, SkipReason

__all__ = ["Answer", "Camera", "Cameras", "Failed", "Frame", "Partial", "Reply", "SkipReason", "Skipped"]
