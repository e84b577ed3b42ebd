"""Routes for files of the page.

`POST /page/uploads` receives a file as the request body and returns a token for it. `GET /page/previews/{token}/{number}` returns
a page of it as JPEG, to the same identity, as long as the PictureCache keeps it.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.deps import IdentityDep
from api.request_body import limit_body
from hunyuanocr.errors import EmptyInput, NotFound
from web.controller import PageController
from web.preview_html import PREVIEWS


class UploadResponse(BaseModel):
    """The token that the page sends in its next event."""

    token: str


def uploads(controller: PageController) -> APIRouter:
    """Create the routes. Gradio's own upload route, which writes files to disk, is not served."""
    router = APIRouter(include_in_schema=False)

    @router.post("/page/uploads")
    async def create_upload(request: Request, identity: IdentityDep) -> UploadResponse:
        data = await limit_body(request, controller.settings.images.max_bytes).body()
        if not data:
            raise EmptyInput("The upload is empty.", hint="Choose another file.")
        return UploadResponse(token=controller.uploads.put(data, identity.fingerprint))

    @router.get(f"/{PREVIEWS}/{{token}}/{{number}}")
    async def get_preview(token: str, number: int, identity: IdentityDep) -> Response:
        upload = controller.pictures.get(token, identity.fingerprint)
        if upload is None or not 0 <= number < len(upload.sheets):
            raise NotFound("The image has expired.", hint="Choose the file again.")
        return Response(upload.sheets[number].jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    return router
