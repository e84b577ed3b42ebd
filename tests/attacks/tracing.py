"""What a program opens and whom it contacts, as strace sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_CALLS = "openat,open,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,link,symlink,truncate,execve,connect"
_PATHS = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|^(?:unlink|rename|mkdir|link|symlink|truncate|creat)")


def missing() -> str | None:
    """Return why nothing can be traced here, or None."""
    if not shutil.which("strace"):
        return "strace is not installed: apt install strace"
    tried = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve", "-o", "/dev/null", "true"], capture_output=True
    )
    return None if tried.returncode == 0 else "strace may not trace here (ptrace is forbidden)"


def traced(log: Path) -> tuple[str, ...]:
    """Return the command that runs app_web.py with a trace in `log`; the program is the direct child, strace its grandchild."""
    return (
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-s",
        "4096",
        "-e",
        f"trace={_CALLS}",
        "-o",
        str(log),
        sys.executable,
        "app_web.py",
    )


@dataclass(frozen=True)
class Call:
    """One system call: its name, its paths, and the whole line."""

    name: str
    paths: tuple[str, ...]
    line: str

    @property
    def writes(self) -> bool:
        """Whether it makes, changes or removes a file."""
        return bool(_WRITES.search(self.line))

    @property
    def contacts(self) -> str | None:
        """The address outside this machine that it speaks to, if any."""
        found = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', self.line)
        address = (found[1] or found[2]) if found else None
        return None if address is None or address.startswith("127.") or address in ("::1", "0.0.0.0") else address


def calls(log: Path, start: int = 0) -> list[Call]:
    """Return the calls in the log from the byte `start` on."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    found = []
    for line in lines:
        match = re.match(r"\d+\s+(\w+)\((.*)", line)
        if match:
            paths = tuple(text.encode().decode("unicode_escape", "replace") for text in _PATHS.findall(match[2]))
            found.append(Call(match[1], paths, f"{match[1]}({match[2]}"))
    return found
