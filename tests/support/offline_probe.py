"""Runs inside a network namespace of its own (`unshare -n`): serves page and API, uses them, and reports what tried to leave.

    unshare -n python tests/support/offline_probe.py none|watched

`none`: loopback only. `watched`: a default route leads into a wire on which every packet is seen, name look-ups as well.
Prints one JSON object: the answers' status codes, the text that was read, and the packets that left.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from hunyuanocr.loadtest.receipts import draw_text

ROOT = Path(__file__).parents[2]
WIRE = """
ip link set lo up
ip link add out0 type veth peer name wire0
ip link set wire0 up
sysctl -qw net.ipv6.conf.out0.disable_ipv6=1 net.ipv6.conf.wire0.disable_ipv6=1 || true
ip addr add 10.99.0.1/24 dev out0
ip link set out0 up
ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev out0
ip route add default via 10.99.0.2
"""


def watch(wire: socket.socket, packets: list[str]) -> None:
    """Every IPv4 or IPv6 packet that reaches the other end of the wire, as "protocol destination"."""
    while True:
        frame = wire.recv(65535)
        if frame[12:14] == b"\x08\x00":
            packets.append(f"ip{frame[23]} {socket.inet_ntoa(frame[30:34])} {frame[42:90]!r}")
        elif frame[12:14] == b"\x86\xdd" and frame[20] != 58:  # ICMPv6 is the kernel's own neighbour discovery
            packets.append(f"ipv6 {socket.inet_ntop(socket.AF_INET6, frame[38:54])}")


def use(base: str) -> dict[str, object]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{base}/ready", timeout=60).status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    read = httpx.post(
        f"{base}/ocr", files={"file": ("a.png", draw_text(["TOTAL 36.80"]))}, data={"instruction": "extract total"}, timeout=60
    )
    return {
        "page": httpx.get(f"{base}/", timeout=60).status_code,
        "docs": httpx.get(f"{base}/docs", timeout=60).status_code,
        "ocr": read.status_code,
        "fields": read.json().get("fields"),
    }


def main(mode: str) -> None:
    packets: list[str] = []
    if mode == "watched":
        subprocess.run(["bash", "-ec", WIRE], check=True)
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
        wire.bind(("wire0", 0))  # before the thread starts: the first packet must not be missed
        threading.Thread(target=watch, args=(wire, packets), daemon=True).start()
        # the probe must be able to see: a packet of its own, before the server starts
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"probe", ("192.0.2.1", 9))
        time.sleep(0.5)
    else:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    command = [sys.executable, "app_web.py", "--host", "127.0.0.1", "--port", "7861", "--api-port", "8001", "--backend", "ppocr"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        answers = use("http://127.0.0.1:7861")
        time.sleep(3)  # what leaves in the background does so soon after the start
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(120)
    sys.stdout.write(json.dumps({**answers, "packets": packets}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
