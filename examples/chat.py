"""Read a picture with the official OpenAI client: python chat.py receipt.jpg "提取总金额"."""

import base64
import os
import sys
from pathlib import Path

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OCR", "http://127.0.0.1:8000") + "/v1",
    api_key=os.environ.get("OCR_KEY", "none"),  # any word where no key is required
)
picture = base64.b64encode(Path(sys.argv[1]).read_bytes()).decode()
stream = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": sys.argv[2]},
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
            ],
        }
    ],
    stream=True,  # text arrives as it is written, fields as one JSON object
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
