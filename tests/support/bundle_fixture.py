"""Runs inside a network namespace of its own: starts an installed appliance as its installer says, and reads a receipt.

unshare -n python -m tests.support.bundle_fixture FOLDER
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.offline_probe import use


def main(folder: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    command = ["./launch_web_pt.sh", "--host", "127.0.0.1", "--port", "7862", "--api-port", "8002", "--backend", "ppocr"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        answers = use("http://127.0.0.1:7862")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        said, _ = server.communicate(timeout=120)
    sys.stdout.write(json.dumps({**answers, "routes": routes, "said": said.decode()}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
