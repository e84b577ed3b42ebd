"""`/v1/ws` and `/ws/ocr`: a camera keeps one WebSocket open, sends frames, and gets one answer for each."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from fastapi import APIRouter, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from api import errors
from api.deps import TheOwner, TheServices, fair_key_of
from api.frames import ASKING, CameraOptions, Sent, Told, frame_id_of, frame_of, invalid, kind_of, options_of, text_of, unpacked
from api.params import device_of
from api.schemas import ErrorAnswer, OcrAnswer
from api.sse import unexpected
from hunyuanocr.errors import HunyuanOcrError, InvalidValue
from hunyuanocr.instructions import understand
from hunyuanocr.services.camera import Camera, Cameras, Failed, Partial, Reply
from hunyuanocr.services.camera.messages import FrameId
from hunyuanocr.types import Task

PATHS = ("/v1/ws", "/ws/ocr")
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013  # RFC 6455 and the IANA registry of close codes
_MOST_WAITING = 256  # messages for a client that does not read; then it is not read from either
_LONG = 256 * 1024  # characters: parsing more of them in the event loop would be felt by other connections
router = APIRouter(tags=["cameras"])


@router.get(
    PATHS[0], status_code=426, summary="Camera frames (WebSocket)",
    responses={426: {"model": ErrorAnswer, "description": "Not opened as a WebSocket."}},
)  # fmt: skip
async def not_a_socket(request: Request) -> JSONResponse:
    """Open it as a WebSocket: `ws://…/v1/ws?instruction=提取总金额`. Alias: `/ws/ocr`.

    Send frames as `{"frame_id": 1, "timestamp": 0.0, "image": "<base64>"}`, or as a binary message: 4 bytes (big-endian) with the
    length of a JSON header, the header, the picture. Each is answered once, under its `frame_id`: `status` is `success` with
    `result` as `/v1/ocr` answers it (`unchanged: true`: the scene is the one of the last result), `skipped` with `skipped: true`
    and a `reason` (`sampled`, `superseded`, `no_room`), or `failed` with `error`. `partial` messages carry text as it comes.
    `{"type": "configure", "instruction": …, "rate": 5}` changes what is asked; `{"type": "ping"}` is answered `pong`. With
    `?session=<an id of yours>` a camera that lost its connection goes on where it was. The protocol in full: docs/streaming.md.
    """
    return errors.body(
        request, 426, "upgrade_required", "This is a WebSocket.", "Open it with ws:// or wss://; see /docs.",
        headers={"Upgrade": "websocket"},
    )  # fmt: skip


async def frames(socket: WebSocket, services: TheServices, owner: TheOwner) -> None:
    """One connection, from its first message to its last."""
    await socket.accept()
    line = _Line(socket)
    connection = _Connection(services.cameras, line, owner, fair_key_of(socket))
    try:
        await connection.begin(socket)
    except Exception as e:  # noqa: BLE001 -- told to the client, and to the log if it is ours
        line.put(Failed(None, _ours(e)))
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
    router.add_api_websocket_route(path, frames)


class _Line:
    """Messages to the client, in order. An idle connection has no task for them: it lives while some wait."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._waiting: deque[Reply | dict[str, Any]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._gone = False

    def put(self, reply: Reply | dict[str, Any]) -> None:
        """Send it soon. Pieces of text that a slow client has not taken yet become one."""
        if self._gone:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(reply, Partial) and isinstance(last, Partial) and last.frame == reply.frame:
            self._waiting[-1] = Partial(reply.frame, last.text + reply.text)
        else:
            self._waiting.append(reply)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting:
                await self._socket.send_text(text_of(self._waiting.popleft()))
        except (WebSocketDisconnect, RuntimeError):  # Starlette raises the latter once the client has said goodbye
            self._gone = True
            self._waiting.clear()
        finally:
            self._sending = None

    async def room(self) -> None:
        """Wait while too many messages wait: a client that does not read is not read from."""
        if len(self._waiting) >= _MOST_WAITING:
            await self.flushed()

    async def flushed(self) -> None:
        """Wait until everything has been sent, or the client is gone."""
        if self._sending is not None:
            await asyncio.wait((self._sending,))

    async def close(self) -> None:
        """The connection is over: what waits is dropped."""
        self._gone = True
        self._waiting.clear()
        if self._sending is not None:
            self._sending.cancel()
            await self.flushed()

    async def end(self, code: int) -> None:
        """Hang up."""
        if not self._gone:
            await self._socket.close(code)


class _Connection:
    """A camera's messages, one after the other; whatever is wrong with one is answered, and the next is served."""

    def __init__(self, cameras: Cameras, line: _Line, owner: str, client: str) -> None:
        self._cameras = cameras
        self._line = line
        self._owner = owner
        self._client = client
        self._camera: Camera | None = None
        self._device: str | None = None
        self._partial = True
        self._fresh = True  # no frame has come yet
        self._asked: dict[str, Any] = {}

    async def begin(self, socket: WebSocket) -> None:
        """Do what the address says. Raises TooManyCameras and what `configure` raises."""
        query = dict(socket.query_params)
        options = options_of(query)
        self._device = device_of(socket, options)
        self._camera = self._open(options.session)
        if query:
            try:
                await self._configure(query, options)
            except BaseException:
                await self.end()
                raise

    def _open(self, session: str | None) -> Camera:
        return self._cameras.open(self._owner, session, self._tell, self._device, client=self._client)

    async def end(self) -> None:
        """The connection has ended."""
        if self._camera is not None:
            await self._camera.close()
            self._camera = None

    async def take(self, message: str | bytes) -> None:
        """Serve one message. Never raises for what is in it."""
        frame_id: FrameId | None = None
        try:
            values = unpacked(message) if len(message) < _LONG else await asyncio.to_thread(unpacked, message)
            kind = kind_of(values)
            if kind is Sent.PING:
                self._line.put({"type": Told.PONG} | {key: values[key] for key in ("timestamp",) if key in values})
            elif kind is Sent.CONFIGURE:
                await self._configure(values, options_of(values))
            else:
                frame_id = frame_id_of(values)
                await self._frame(values)
        except Exception as e:  # noqa: BLE001 -- told to the client, and to the log if it is ours
            self._line.put(Failed(frame_id, _ours(e)))

    async def _frame(self, values: dict[str, Any]) -> None:
        if not ASKING.isdisjoint(values):  # a frame may say what is asked of it and of those that follow
            await self._ask(values, options_of(values))
        frame = frame_of(values, self._cameras.settings.max_bytes)
        self._fresh = False
        self._at().offer(frame)

    async def _configure(self, values: dict[str, Any], options: CameraOptions) -> None:
        camera = self._at()
        if options.session is not None and options.session != camera.session.id:
            if not self._fresh:
                raise InvalidValue("The session cannot be changed after the first frame.", hint="Open another connection.")
            await self.end()
            camera = self._camera = self._open(options.session)
        await self._ask(values, options)
        camera.configure(rate=options.rate)
        self._partial = self._partial if options.partial is None else options.partial
        self._line.put(_configured(camera))

    async def _ask(self, values: dict[str, Any], options: CameraOptions) -> None:
        asked = {key: values[key] for key in ASKING if key in values}
        if not asked or asked == self._asked:
            return
        task: Task = await asyncio.to_thread(
            understand, options.instruction or "", task=options.task, fields=options.fields, schema=options.json_schema,
            language=options.language, evidence=options.evidence,
        )  # fmt: skip
        self._at().configure(task)
        self._asked = asked

    def _at(self) -> Camera:
        if self._camera is None:
            raise HunyuanOcrError("The camera is closed.")
        return self._camera

    def _tell(self, reply: Reply) -> None:
        if self._partial or not isinstance(reply, Partial):
            self._line.put(reply)


def _configured(camera: Camera) -> dict[str, Any]:
    session = camera.session
    last = None if session.last is None else OcrAnswer.of(session.last).model_dump(mode="json")
    return {
        "type": Told.CONFIGURED, "session": session.id, "resumed": session.resumed, "task": session.task.kind,
        "fields": [f.key for f in session.task.fields], "rate": session.sampler.rate, "last": last,
    }  # fmt: skip


def _ours(error: Exception) -> HunyuanOcrError:
    return invalid(error) if isinstance(error, RequestValidationError) else unexpected(error)
