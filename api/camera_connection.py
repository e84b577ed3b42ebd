"""One camera connection: handles incoming messages and queues outgoing ones."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Sequence
from typing import Any

from fastapi import WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.websockets import WebSocketDisconnect

from api.camera_protocol import (
    OPTIONS,
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
from api.ignored_keys import ignored_key_warnings
from api.request_body import device_from
from api.schemas.camera import CameraOptions
from hunyuanocr.errors import HunyuanOcrError, InvalidValue
from hunyuanocr.result_schema import OcrResponse
from hunyuanocr.services.camera import CameraConnection, CameraService, FrameDelta, FrameFailed, FrameReply
from hunyuanocr.services.camera.messages import FrameId
from hunyuanocr.types import ResultWarning

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013  # RFC 6455 and the IANA registry of close codes
MAX_QUEUED = 256  # messages for a client that does not read; beyond it, the server stops reading from the client
_MIN_THREAD_LENGTH = 256 * 1024  # longer messages (characters or bytes) are parsed in a thread, to keep the event loop free


class OutgoingQueue:
    """Sends messages to the client in order. A task exists only while messages are queued, so an idle connection has none."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: deque[FrameReply | dict[str, Any]] = deque()
        self._send_task: asyncio.Task[None] | None = None
        self._disconnected = False

    def put(self, reply: FrameReply | dict[str, Any]) -> None:
        """Queue a message. Unsent text deltas of one frame are merged."""
        if self._disconnected:
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(reply, FrameDelta) and isinstance(last, FrameDelta) and last.frame == reply.frame:
            self._queue[-1] = FrameDelta(reply.frame, last.text + reply.text)
        else:
            self._queue.append(reply)
        if self._send_task is None:
            self._send_task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._queue:
                await self._socket.send_text(encode_reply(self._queue.popleft()))
        except (WebSocketDisconnect, RuntimeError):  # Starlette raises RuntimeError after the client has closed
            self._disconnected = True
            self._queue.clear()
        finally:
            self._send_task = None

    async def wait_for_capacity(self) -> None:
        """Wait until the queue has capacity, so that the caller stops reading from a client that does not read."""
        if len(self._queue) >= MAX_QUEUED:
            await self.wait_until_sent()

    async def wait_until_sent(self) -> None:
        """Wait until all messages are sent or the client has disconnected."""
        if self._send_task is not None:
            await asyncio.wait((self._send_task,))

    async def close(self) -> None:
        """Drop the queued messages, after the connection has ended."""
        self._disconnected = True
        self._queue.clear()
        if self._send_task is not None:
            self._send_task.cancel()
            await self.wait_until_sent()

    async def hang_up(self, code: int) -> None:
        """Close the connection with a WebSocket close code."""
        if not self._disconnected:
            await self._socket.close(code)


class CameraSocket:
    """Handles the messages of one camera in order. An invalid message gets an error response; the connection stays open."""

    def __init__(self, cameras: CameraService, outgoing: OutgoingQueue, owner: str, client: str) -> None:
        self._cameras = cameras
        self._outgoing = outgoing
        self._owner = owner
        self._client = client
        self._camera: CameraConnection | None = None
        self._device: str | None = None
        self._partial = True
        self._no_frame_yet = True  # no frame received yet
        self._task_values: dict[str, Any] = {}
        self._frame_numbers = itertools.count(1)  # of frames without a header, which have no id

    async def open(self, socket: WebSocket) -> None:
        """Open the camera with the options of the query string.

        Raises TooManyCameras, RequestValidationError and the errors of `parse_instruction`.
        """
        query = dict(socket.query_params)
        options = parse_options(query)
        self._device = device_from(socket, options)
        self._camera = self._open_camera(options.session)
        if query:
            try:
                await self._configure(query, options)
            except BaseException:
                await self.close()
                raise

    def _open_camera(self, session: str | None) -> CameraConnection:
        return self._cameras.open(self._owner, session, self._send_reply, self._device, client=self._client)

    async def close(self) -> None:
        """Close the camera, after the connection has ended."""
        if self._camera is not None:
            await self._camera.close()
            self._camera = None

    async def handle_message(self, message: str | bytes) -> None:
        """Handle one message. Errors in it are reported to the client, not raised."""
        frame_id: FrameId | None = None
        try:
            values = (
                decode_message(message) if len(message) < _MIN_THREAD_LENGTH else await asyncio.to_thread(decode_message, message)
            )
            type_ = message_type(values)
            if type_ is ClientMessageType.PING:
                self._outgoing.put({"type": ServerMessageType.PONG} | _repeated_timestamp(values))
            elif type_ is ClientMessageType.AUTH:  # in a connection that already has its identity
                self._outgoing.put({"type": ServerMessageType.AUTHENTICATED, "owner": self._owner})
            elif type_ is ClientMessageType.CONFIGURE:
                await self._configure(values, parse_options(values))
            else:
                if isinstance(values.get("image"), bytes) and values["image"] is message:
                    values["frame_id"] = next(self._frame_numbers)
                frame_id = parse_frame_id(values)
                await self._submit_frame(values)
        except Exception as e:  # noqa: BLE001 -- reported to the client, and logged if unexpected
            self._outgoing.put(FrameFailed(frame_id, to_reported_error(e)))

    async def _submit_frame(self, values: dict[str, Any]) -> None:
        if not TASK_KEYS.isdisjoint(values):  # a frame may change the task, also for the frames after it
            await self._set_task(values, parse_options(values))
        frame = parse_frame(values, self._cameras.settings.max_bytes)
        self._no_frame_yet = False
        self._require_camera().submit(frame)

    async def _configure(self, values: dict[str, Any], options: CameraOptions) -> None:
        camera = self._require_camera()
        if options.session is not None and options.session != camera.session.id:
            if not self._no_frame_yet:
                raise InvalidValue("The session cannot be changed after the first frame.", hint="Open a new connection.")
            await self.close()
            camera = self._camera = self._open_camera(options.session)
        await self._set_task(values, options)
        camera.configure(rate=options.rate)
        self._partial = self._partial if options.partial is None else options.partial
        warnings = ignored_key_warnings(values.keys() - OPTIONS - {"type"}, (), OPTIONS)
        self._outgoing.put(_configured_message(camera, warnings))

    async def _set_task(self, values: dict[str, Any], options: CameraOptions) -> None:
        task_values = {key: values[key] for key in TASK_KEYS if key in values}
        if not task_values or task_values == self._task_values:
            return
        self._require_camera().configure(await options.parse_task())
        self._task_values = task_values

    def _require_camera(self) -> CameraConnection:
        if self._camera is None:
            raise HunyuanOcrError("The camera connection is closed.")
        return self._camera

    def _send_reply(self, reply: FrameReply) -> None:
        if self._partial or not isinstance(reply, FrameDelta):
            self._outgoing.put(reply)


def _repeated_timestamp(values: dict[str, Any]) -> dict[str, Any]:
    """Return the timestamp of a ping as it was sent. Raises InvalidValue if JSON cannot repeat it: 1e999 is infinite."""
    repeated = {key: values[key] for key in ("timestamp",) if key in values}
    try:
        json.dumps(repeated, allow_nan=False)
    except ValueError:
        raise InvalidValue("The timestamp is not a finite number.", hint="Send a smaller number, or omit it.") from None
    return repeated


def _configured_message(camera: CameraConnection, warnings: Sequence[ResultWarning]) -> dict[str, Any]:
    session = camera.session
    last = None if session.last is None else OcrResponse.of(session.last).model_dump(mode="json")
    return {
        "type": ServerMessageType.CONFIGURED,
        "session": session.id,
        "resumed": session.resumed,
        "task": session.task.kind,
        "fields": [f.key for f in session.task.fields],
        "rate": session.rate_limiter.rate,
        "last": last,
        "warnings": [{"code": warning.code, "message": warning.message} for warning in warnings],
    }


def to_reported_error(error: Exception) -> HunyuanOcrError:
    """Return the error to report to the client: InvalidValue for invalid options, a generic error if unexpected."""
    return to_invalid_value(error) if isinstance(error, RequestValidationError) else to_client_error(error)
