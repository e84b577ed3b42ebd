"""`/v1/ws` and `/ws/ocr`: a camera keeps one WebSocket open, sends frames, and gets one answer for each."""

from __future__ import annotations

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import JSONResponse

from api import errors
from api.camera_connection import _POLICY_VIOLATION, _TRY_AGAIN_LATER, CameraSocket, OutgoingQueue, _ours
from api.deps import OwnerDep, ServicesDep, fair_key_of
from api.schemas.common import ErrorResponse
from hunyuanocr.services.camera import FrameFailed

PATHS = ("/v1/ws", "/ws/ocr")
router = APIRouter(tags=["cameras"])


@router.get(
    PATHS[0], status_code=426, summary="Camera frames (WebSocket)",
    responses={426: {"model": ErrorResponse, "description": "Not opened as a WebSocket."}},
)  # fmt: skip
async def upgrade_required(request: Request) -> JSONResponse:
    """Open it as a WebSocket: `ws://…/v1/ws?instruction=提取总金额`. Alias: `/ws/ocr`.

    Send frames as `{"frame_id": 1, "timestamp": 0.0, "image": "<base64>"}`, or as a binary message: 4 bytes (big-endian) with the
    length of a JSON header, the header, the picture. Each is answered once, under its `frame_id`: `status` is `success` with
    `result` as `/v1/ocr` answers it (`unchanged: true`: the scene is the one of the last result), `skipped` with `skipped: true`
    and a `reason` (`sampled`, `superseded`, `no_room`), or `failed` with `error`. `partial` messages carry text as it comes.
    `{"type": "configure", "instruction": …, "rate": 5}` changes what is asked; `{"type": "ping"}` is answered `pong`. With
    `?session=<an id of yours>` a camera that lost its connection goes on where it was. The protocol in full: docs/streaming.md.
    """
    return errors.json_error(
        request, 426, "upgrade_required", "This is a WebSocket.", "Open it with ws:// or wss://; see /docs.",
        headers={"Upgrade": "websocket"},
    )  # fmt: skip


async def camera_socket(socket: WebSocket, services: ServicesDep, owner: OwnerDep) -> None:
    """One connection, from its first message to its last."""
    await socket.accept()
    line = OutgoingQueue(socket)
    connection = CameraSocket(services.cameras, line, owner, fair_key_of(socket))
    try:
        await connection.begin(socket)
    except Exception as e:  # noqa: BLE001 -- told to the client, and to the log if it is ours
        line.put(FrameFailed(None, _ours(e)))
        await line.flushed()
        await line.end(_POLICY_VIOLATION if not getattr(e, "retryable", False) else _TRY_AGAIN_LATER)
        return
    try:
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            text: str | None = message.get("text")
            await connection.take(message["bytes"] if text is None else text)
            await line.room()
    finally:
        await connection.end()
        await line.close()


for path in PATHS:
    router.add_api_websocket_route(path, camera_socket)
