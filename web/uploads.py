"""`POST /page/uploads`: how a picture comes from the page. Its bytes are the body, and the answer is the token to show it by.

`GET /page/previews/{token}/{number}`: how its pages come back, for the identity that sent it, as long as `web.shelf` keeps it.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.deps import TheIdentity
from api.reading import limited
from hunyuanocr.errors import EmptyInput, NotFound
from web.desk import Desk
from web.draw import PREVIEWS


class UploadAnswer(BaseModel):
    """What the page tells in its next event."""

    token: str


def uploads(desk: Desk) -> APIRouter:
    """The routes, in front of this desk. Gradio's own, which keeps what comes in files, is not served."""
    router = APIRouter(include_in_schema=False)

    @router.post("/page/uploads")
    async def upload(request: Request, identity: TheIdentity) -> UploadAnswer:
        data = await limited(request, desk.settings.images.max_bytes).body()
        if not data:
            raise EmptyInput("The upload is empty.", hint="Choose another file.")
        return UploadAnswer(token=desk.tray.put(data, identity.mark))

    @router.get(f"/{PREVIEWS}/{{token}}/{{number}}")
    async def preview(token: str, number: int, identity: TheIdentity) -> Response:
        chosen = desk.shelf.get(token, identity.mark)
        if chosen is None or not 0 <= number < len(chosen.sheets):
            raise NotFound("The picture is gone.", hint="Choose the file again.")
        return Response(chosen.sheets[number].jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    return router
