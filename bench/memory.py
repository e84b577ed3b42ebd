"""Memory and time of the server without the web page, over /ocr, one image after another.

    python bench/memory.py FOLDER [--pictures 30]

Starts app_web.py twice on loopback, with and without `ppocr.small_memory`, and prints the resident memory of its process in MiB
when ready, after the images, and at its peak (VmHWM), with the median seconds of a request. Linux only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
PORT, API_PORT = 7881, 8021
BASE = f"http://127.0.0.1:{API_PORT}"


def memory(pid: int, name: str) -> int:
    """Return a value of /proc/PID/status in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(f"{name}:"))


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            sys.exit("The server ended; are the ports free?")
        try:
            if httpx.get(f"{BASE}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit("The server did not become ready in a minute.")


def measure(pictures: list[Path], *, small: bool) -> None:
    command = [sys.executable, "app_web.py", "--host", "127.0.0.1", "--port", str(PORT), "--api-port", str(API_PORT), "--no-page"]
    environment = {**os.environ, "HUNYUANOCR_PPOCR__SMALL_MEMORY": str(small).lower(), "HUNYUANOCR_BACKEND": "ppocr"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(server)
        ready, seconds = memory(server.pid, "VmRSS"), []
        for picture in pictures:
            began = time.perf_counter()
            form = {"instruction": "extract total"}
            httpx.post(f"{BASE}/ocr", files={"file": picture.read_bytes()}, data=form, timeout=120).raise_for_status()
            seconds.append(time.perf_counter() - began)
        after, peak = memory(server.pid, "VmRSS"), memory(server.pid, "VmHWM")
        print(f"small_memory={small}: ready {ready}, after {after}, peak {peak} MiB; median {statistics.median(seconds):.2f} s")
    finally:
        server.terminate()
        server.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=30)
    arguments = parser.parse_args()
    pictures = sorted(arguments.folder.glob("*.jpg"))[: arguments.pictures]
    if not pictures:
        sys.exit(f"{arguments.folder} holds no .jpg.")
    for small in (True, False):
        measure(pictures, small=small)


if __name__ == "__main__":
    main()
