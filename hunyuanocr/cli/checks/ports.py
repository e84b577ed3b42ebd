"""Checks whether the ports are free, and which program uses them if not."""

from __future__ import annotations

import errno
import socket

from hunyuanocr.cli.checks.result import Bilingual, CheckResult, same_text

_OURS = ("app_web", "hunyuanocr")


def check_port(host: str, number: int, flag: str) -> CheckResult:
    """Check that a port is free or used by the appliance; otherwise name the program, if this user may see it."""
    name, what = f"port{flag.removeprefix('-').replace('-', '_')}", (f"端口 {number}", f"Port {number}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(address)
            s.listen(1)
    except OSError as e:
        return _bind_error(name, what, flag, number, e)
    return CheckResult(name, "ok", what, (f"{host} 上空闲", f"Free on {host}."))


def _bind_error(name: str, what: Bilingual, flag: str, number: int, error: OSError) -> CheckResult:
    if error.errno == errno.EADDRINUSE:
        pid, program, command = listening_process(number)
        if any(word in command for word in _OURS):
            running = (f"本程序正在运行（进程 {pid}）", f"The appliance is running (process {pid}).")
            return CheckResult(name, "ok", what, running)
        user = (f"被 {program}（进程 {pid}）占用", f"Used by {program} (process {pid}).") if pid else ("被占用", "In use.")
        fix = (f"请停止该程序，或用 {flag} 换一个端口。", f"Stop that program, or choose another port with {flag}.")
        return CheckResult(name, "fail", what, user, fix)
    fix = ("请检查 --host：要填本机的地址。", "Check --host: it must be an address of this machine.")
    if error.errno == errno.EACCES:
        fix = (f"只有 root 能打开：请用 {flag} 选大于 1023 的端口。", f"Only root can open it: use a port above 1023 ({flag}).")
    return CheckResult(name, "fail", what, same_text(error.strerror or str(error)), fix)


def listening_process(number: int) -> tuple[int | None, str, str]:
    """Return process id, name and command line of the program that listens on the port; None if this user cannot see it."""
    import psutil

    try:
        listening = [
            c
            for c in psutil.net_connections("inet")
            if c.status == psutil.CONN_LISTEN and getattr(c.laddr, "port", None) == number
        ]
        pid = next((c.pid for c in listening if c.pid is not None), None)
        if pid is None:
            return None, "", ""
        process = psutil.Process(pid)
        return pid, process.name(), " ".join(process.cmdline())
    except psutil.Error:
        return None, "", ""
