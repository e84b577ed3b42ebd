"""`/metrics`: metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.deps import ServicesDep
from api.openapi import operation_id

router = APIRouter(tags=["status"], generate_unique_id_function=operation_id)
_EXAMPLE = 'hunyuanocr_http_requests_total{method="POST",route="/v1/ocr",status="200"} 42.0'


@router.get(
    "/metrics",
    response_class=Response,
    summary="Get metrics (Prometheus)",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}}},
)
async def get_metrics(request: Request, services: ServicesDep) -> Response:
    """Return the metrics of the whole appliance, which are the same on every port. See docs/operation.md for their meaning."""
    text, media_type = await services.metrics.render(request.headers.get("accept", ""))
    return Response(text, media_type=media_type)
