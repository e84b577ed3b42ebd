"""Read a picture in the background and wait for the result: python job.py receipt.jpg [WEBHOOK]."""

import hashlib
import os
import sys
from pathlib import Path

import httpx

client = httpx.Client(
    base_url=os.environ.get("OCR", "http://127.0.0.1:8000"),
    headers={"X-API-Key": os.environ.get("OCR_KEY", "none")},  # any word where no key is required
    timeout=90,
)
picture = Path(sys.argv[1]).read_bytes()
parameters = {"instruction": "extract merchant, date, total amount"}
if len(sys.argv) > 2:
    parameters["webhook"] = sys.argv[2]  # its host must be in the setting jobs.webhook_hosts

# The same key and request return the same job, so repeating after a broken connection is safe.
key = hashlib.sha256(picture + repr(parameters).encode()).hexdigest()
answer = client.post("/v1/jobs", files={"file": picture}, data=parameters, headers={"Idempotency-Key": key})
answer.raise_for_status()
job = answer.json()

while job["status"] in ("queued", "running"):
    print(f"{job['status']}, {job.get('ahead') or 0} jobs ahead", file=sys.stderr)
    job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}).raise_for_status().json()

if job["status"] != "done":
    sys.exit(f"{job['status']}: {job.get('error')}")
print(job["result"]["fields"])
