"""`/metrics`: what a monitor asks for every few seconds."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.deps import ServicesDep

router = APIRouter(tags=["status"])
_EXAMPLE = 'hunyuanocr_http_requests_total{method="POST",route="/v1/ocr",status="200"} 42.0'


@router.get(
    "/metrics", response_class=Response, summary="Figures for Prometheus",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}}},
)  # fmt: skip
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Of the whole appliance, whichever port is asked. What each means: docs/operation.md."""
    text, kind = await services.metrics.render(request.headers.get("accept", ""))
    return Response(text, media_type=kind)
