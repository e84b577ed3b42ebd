"""One camera's connection: what comes in, what goes out."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from fastapi import WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.websockets import WebSocketDisconnect

from api.camera_protocol import (
    TASK_KEYS,
    ClientMessageType,
    ServerMessageType,
    decode_message,
    encode_reply,
    message_type,
    parse_frame,
    parse_frame_id,
    parse_options,
    to_invalid_value,
)
from api.errors import to_client_error
from api.request_body import device_from
from api.schemas.camera import CameraOptions
from api.schemas.ocr import OcrResponse
from hunyuanocr.errors import HunyuanOcrError, InvalidValue
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.services.camera import CameraConnection, CameraService, FrameDelta, FrameFailed, FrameReply
from hunyuanocr.services.camera.messages import FrameId
from hunyuanocr.types import Task

_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013  # RFC 6455 and the IANA registry of close codes
_MAX_QUEUED = 256  # messages for a client that does not read; then it is not read from either
_LONG = 256 * 1024  # characters: parsing more of them in the event loop would be felt by other connections


class OutgoingQueue:
    """Messages to the client, in order. An idle connection has no task for them: it lives while some wait."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._waiting: deque[FrameReply | dict[str, Any]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._gone = False

    def put(self, reply: FrameReply | dict[str, Any]) -> None:
        """Send it soon. Pieces of text that a slow client has not taken yet become one."""
        if self._gone:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(reply, FrameDelta) and isinstance(last, FrameDelta) and last.frame == reply.frame:
            self._waiting[-1] = FrameDelta(reply.frame, last.text + reply.text)
        else:
            self._waiting.append(reply)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting:
                await self._socket.send_text(encode_reply(self._waiting.popleft()))
        except (WebSocketDisconnect, RuntimeError):  # Starlette raises the latter once the client has said goodbye
            self._gone = True
            self._waiting.clear()
        finally:
            self._sending = None

    async def room(self) -> None:
        """Wait while too many messages wait: a client that does not read is not read from."""
        if len(self._waiting) >= _MAX_QUEUED:
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


class CameraSocket:
    """A camera's messages, one after the other; whatever is wrong with one is answered, and the next is served."""

    def __init__(self, cameras: CameraService, line: OutgoingQueue, owner: str, client: str) -> None:
        self._cameras = cameras
        self._line = line
        self._owner = owner
        self._client = client
        self._camera: CameraConnection | None = None
        self._device: str | None = None
        self._partial = True
        self._fresh = True  # no frame has come yet
        self._asked: dict[str, Any] = {}

    async def begin(self, socket: WebSocket) -> None:
        """Do what the address says. Raises TooManyCameras and what `configure` raises."""
        query = dict(socket.query_params)
        options = parse_options(query)
        self._device = device_from(socket, options)
        self._camera = self._open(options.session)
        if query:
            try:
                await self._configure(query, options)
            except BaseException:
                await self.end()
                raise

    def _open(self, session: str | None) -> CameraConnection:
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
            values = decode_message(message) if len(message) < _LONG else await asyncio.to_thread(decode_message, message)
            kind = message_type(values)
            if kind is ClientMessageType.PING:
                self._line.put({"type": ServerMessageType.PONG} | {key: values[key] for key in ("timestamp",) if key in values})
            elif kind is ClientMessageType.CONFIGURE:
                await self._configure(values, parse_options(values))
            else:
                frame_id = parse_frame_id(values)
                await self._frame(values)
        except Exception as e:  # noqa: BLE001 -- told to the client, and to the log if it is ours
            self._line.put(FrameFailed(frame_id, _ours(e)))

    async def _frame(self, values: dict[str, Any]) -> None:
        if not TASK_KEYS.isdisjoint(values):  # a frame may say what is asked of it and of those that follow
            await self._ask(values, parse_options(values))
        frame = parse_frame(values, self._cameras.settings.max_bytes)
        self._fresh = False
        self._at().submit(frame)

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
        asked = {key: values[key] for key in TASK_KEYS if key in values}
        if not asked or asked == self._asked:
            return
        task: Task = await asyncio.to_thread(
            parse_instruction, options.instruction or "", task=options.task, fields=options.fields, schema=options.json_schema,
            language=options.language, evidence=options.evidence,
        )  # fmt: skip
        self._at().configure(task)
        self._asked = asked

    def _at(self) -> CameraConnection:
        if self._camera is None:
            raise HunyuanOcrError("The camera is closed.")
        return self._camera

    def _tell(self, reply: FrameReply) -> None:
        if self._partial or not isinstance(reply, FrameDelta):
            self._line.put(reply)


def _configured(camera: CameraConnection) -> dict[str, Any]:
    session = camera.session
    last = None if session.last is None else OcrResponse.of(session.last).model_dump(mode="json")
    return {
        "type": ServerMessageType.CONFIGURED, "session": session.id, "resumed": session.resumed, "task": session.task.kind,
        "fields": [f.key for f in session.task.fields], "rate": session.rate_limiter.rate, "last": last,
    }  # fmt: skip


def _ours(error: Exception) -> HunyuanOcrError:
    return to_invalid_value(error) if isinstance(error, RequestValidationError) else to_client_error(error)
