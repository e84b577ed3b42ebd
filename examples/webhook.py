"""Receive webhooks and verify their signatures: WEBHOOK_SECRET=whsec_… python webhook.py 9000."""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))  # the setting jobs.webhook_secret
processed: set[str] = set()  # a real program stores the ids: every message may arrive more than once


class Handler(BaseHTTPRequestHandler):
    """Answers 204 to genuine messages and 401 to all others."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        id_, when = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "0")
        expected = base64.b64encode(hmac.digest(KEY, f"{id_}.{when}.".encode() + body, hashlib.sha256)).decode()
        signatures = self.headers.get("webhook-signature", "").split(" ")
        recent = when.isdecimal() and abs(time.time() - int(when)) < 300
        genuine = recent and any(hmac.compare_digest(f"v1,{expected}", sent) for sent in signatures)
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine and id_ not in processed:
            processed.add(id_)
            message = json.loads(body)
            print(message["type"], (message["data"]["result"] or {}).get("fields"), flush=True)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing for each request."""


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
