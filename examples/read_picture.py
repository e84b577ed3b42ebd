"""Read one picture with an instruction: python read_picture.py receipt.jpg "extract total amount"."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx

OCR = os.environ.get("OCR", "http://127.0.0.1:8000")
HEADERS = {"X-API-Key": os.environ.get("OCR_KEY", "none")}  # any word where no key is required


def read(picture: Path, instruction: str) -> Any:
    """Return the answer. Wait and retry while the appliance is busy."""
    for _ in range(10):
        answer = httpx.post(
            f"{OCR}/v1/ocr", files={"file": picture.read_bytes()}, data={"instruction": instruction}, headers=HEADERS, timeout=130
        )
        if answer.status_code not in (429, 503):
            break
        time.sleep(float(answer.headers.get("Retry-After", 1)))
    if answer.is_error:
        error = answer.json()
        sys.exit(f"{error['code']}: {error['detail']} {error['hint']}")
    return answer.json()


result = read(Path(sys.argv[1]), sys.argv[2])
print(result["text"] if not result["details"] else "")
for name, field in result["details"].items():
    if isinstance(field, list):  # rows of line items
        print(name, *({column: part["value"] for column, part in row.items()} for row in field), sep="\n  ")
    else:
        print(f"{name}: {field['value']}", "" if field["grounded"] or field["value"] is None else "(not found on the page)")
