"""Send frames like a camera and print the fields: python camera.py frame1.jpg frame2.jpg …"""

import json
import os
import sys
import time
from pathlib import Path
from uuid import uuid4

from websockets.sync.client import ClientConnection, connect

OCR = os.environ.get("OCR", "http://127.0.0.1:8000")
HEADERS = {"X-API-Key": os.environ.get("OCR_KEY", "none")}  # any word where no key is required
SESSION = uuid4().hex  # the same id resumes after a broken connection


def send(socket: ClientConnection, number: int, picture: bytes) -> None:
    """Send one frame as a binary message: length of the header, header, picture."""
    header = json.dumps({"frame_id": number, "timestamp": time.monotonic()}).encode()
    socket.send(len(header).to_bytes(4, "big") + header + picture)


def print_answer(message: dict[str, object]) -> bool:
    """Print one message; return whether it answers a frame."""
    if message.get("type") != "answer":
        return False
    result = message.get("result")
    fields = result["fields"] if isinstance(result, dict) else message.get("reason") or message.get("error")
    print(message["frame_id"], message["status"], "unchanged" if message.get("unchanged") else "", fields)
    return True


with connect(OCR.replace("http", "ws", 1) + "/v1/ws", additional_headers=HEADERS, max_size=None) as camera:
    camera.send(json.dumps({"type": "configure", "instruction": "extract total amount", "session": SESSION, "partial": False}))
    for number, name in enumerate(sys.argv[1:]):
        send(camera, number, Path(name).read_bytes())
        while not print_answer(json.loads(camera.recv(timeout=130))):
            pass
        time.sleep(0.2)  # the appliance skips frames above the setting camera.rate
