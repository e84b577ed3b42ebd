"""`/v1/ws` and `/ws/ocr`: a camera sends frames over one WebSocket and receives one result for each."""

from __future__ import annotations

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import JSONResponse

from api import errors
from api.camera_connection import POLICY_VIOLATION, TRY_AGAIN_LATER, CameraSocket, OutgoingQueue, to_reported_error
from api.deps import OwnerDep, ServicesDep, fair_key_of
from api.errors import ErrorResponse
from api.openapi import operation_id
from hunyuanocr.services.camera import FrameFailed

PATHS = ("/v1/ws", "/ws/ocr")
router = APIRouter(tags=["cameras"], generate_unique_id_function=operation_id)


@router.get(
    PATHS[0],
    status_code=426,
    summary="Send camera frames (WebSocket)",
    responses={426: {"model": ErrorResponse, "description": "WebSocket connection required."}},
)
async def upgrade_required(request: Request) -> JSONResponse:
    """Connect with a WebSocket client: `ws://…/v1/ws?instruction=提取总金额`. Alias: `/ws/ocr`.

    Send a frame as `{"frame_id": 1, "timestamp": 0.0, "image": "<base64>"}`, or as a binary message: the length of a JSON header
    in 4 bytes (big-endian), the header, and the image. Each frame gets one response with its `frame_id` and a `status`:
    `success` with `result` as in `/v1/ocr` (`unchanged: true`: the scene has not changed since the last result); `skipped` with
    `skipped: true` and a `reason` (`sampled`, `superseded`, `no_room`); or `failed` with `error`. `partial` messages carry text
    while it is generated. `{"type": "configure", "instruction": …, "rate": 5}` changes the options. `{"type": "ping"}` is
    answered with `pong`. With `?session=<id of your choice>`, a camera resumes its session after a lost connection. See
    docs/streaming.md for the whole protocol.
    """
    return errors.json_error(
        request,
        426,
        "upgrade_required",
        "WebSocket connection required.",
        "Connect with ws:// or wss://. See /docs.",
        headers={"Upgrade": "websocket"},
    )


async def camera_socket(socket: WebSocket, services: ServicesDep, owner: OwnerDep) -> None:
    """Serve one camera connection."""
    await socket.accept()
    outgoing = OutgoingQueue(socket)
    connection = CameraSocket(services.cameras, outgoing, owner, fair_key_of(socket))
    try:
        await connection.open(socket)
    except Exception as e:  # noqa: BLE001 -- reported to the client, and logged if unexpected
        outgoing.put(FrameFailed(None, to_reported_error(e)))
        await outgoing.wait_until_sent()
        await outgoing.hang_up(TRY_AGAIN_LATER if getattr(e, "retryable", False) else POLICY_VIOLATION)
        return
    try:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            text: str | None = message.get("text")
            await connection.handle_message(message["bytes"] if text is None else text)
            await outgoing.wait_for_capacity()
    finally:
        await connection.close()
        await outgoing.close()


for path in PATHS:
    router.add_api_websocket_route(path, camera_socket)
