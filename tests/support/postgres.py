"""A PostgreSQL server of the tests' own: made in a temporary folder, on a free port of 127.0.0.1, ended by its own process."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def missing() -> str:
    """Why no server can run here; empty when one can."""
    if not PROGRAMS and not shutil.which("initdb"):
        return "PostgreSQL is not installed (apt install postgresql)"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as"
    return ""


def _user() -> pwd.struct_passwd | None:
    """Who runs the server, where we are root."""
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users.get("nobody")


class Server:
    """`url` leads to the database `postgres`; `stop` and `start` are for tests of a server that is away."""

    def __init__(self, folder: Path) -> None:
        self.bin = PROGRAMS[-1] if PROGRAMS else Path(shutil.which("initdb") or "").parent
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder.parent / "log"
        if os.geteuid() == 0:
            user = _user()
            assert user is not None
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(folder), "-U", "shop", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale")

    @property
    def url(self) -> str:
        return f"postgresql://shop@127.0.0.1:{self.port}/postgres"

    def _as(self) -> dict[str, object]:
        user = _user() if os.geteuid() == 0 else None
        return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self.bin / program, *arguments], cwd="/", capture_output=True, timeout=250, **self._as())  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        settings = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-p", str(self.port))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                [self.bin / "postgres", "-D", str(self.folder), *settings], cwd="/", stdout=log, stderr=log, **self._as()
            )
        end = time.monotonic() + 200
        while time.monotonic() < end and self.process.poll() is None:
            asking: list[str | Path] = [self.bin / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres"]
            answer = subprocess.run(asking, capture_output=True, timeout=60)
            if answer.returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(f"PostgreSQL did not start: {self.log.read_text()}")

    def stop(self) -> None:
        """At once: its connections are cut."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(100)


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A running one; `folder` is empty and its parents can be entered by everybody."""
    running = Server(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait(60)
