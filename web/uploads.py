"""`POST /page/uploads`: how a picture comes from the page. Its bytes are the body, and the answer is the token to show it by.

`GET /page/previews/{token}/{number}`: how its pages come back, for the identity that sent it, as long as `web.pictures` keeps it.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.deps import IdentityDep
from api.request_body import limit_body
from hunyuanocr.errors import EmptyInput, NotFound
from web.controller import PageController
from web.preview_html import PREVIEWS


class UploadAnswer(BaseModel):
    """What the page tells in its next event."""

    token: str


def uploads(desk: PageController) -> APIRouter:
    """The routes, in front of this desk. Gradio's own, which keeps what comes in files, is not served."""
    router = APIRouter(include_in_schema=False)

    @router.post("/page/uploads")
    async def upload(request: Request, identity: IdentityDep) -> UploadAnswer:
        data = await limit_body(request, desk.settings.images.max_bytes).body()
        if not data:
            raise EmptyInput("The upload is empty.", hint="Choose another file.")
        return UploadAnswer(token=desk.uploads.put(data, identity.fingerprint))

    @router.get(f"/{PREVIEWS}/{{token}}/{{number}}")
    async def preview(token: str, number: int, identity: IdentityDep) -> Response:
        chosen = desk.pictures.get(token, identity.fingerprint)
        if chosen is None or not 0 <= number < len(chosen.sheets):
            raise NotFound("The picture is gone.", hint="Choose the file again.")
        return Response(chosen.sheets[number].jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    return router
