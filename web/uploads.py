"""`POST /page/uploads`: how a picture comes from the page. Its bytes are the body, and the answer is the token to show it by."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.deps import TheIdentity
from api.reading import limited
from hunyuanocr.errors import EmptyInput
from web.desk import Desk


class UploadAnswer(BaseModel):
    """What the page tells in its next event."""

    token: str


def uploads(desk: Desk) -> APIRouter:
    """The route, in front of this desk. Gradio's own, which keeps what comes in files, is not served."""
    router = APIRouter(include_in_schema=False)

    @router.post("/page/uploads")
    async def upload(request: Request, identity: TheIdentity) -> UploadAnswer:
        data = await limited(request, desk.settings.images.max_bytes).body()
        if not data:
            raise EmptyInput("The upload is empty.", hint="Choose another file.")
        return UploadAnswer(token=desk.tray.put(data, identity.mark))

    return router
