"""The program and its launcher: both ports, one reader, clear words when something is in the way, a clean end."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import httpx
import psutil
import pytest

import app_web
from hunyuanocr.config.flags import create_parser, settings_from_flags
from hunyuanocr.errors import ConfigError
from hunyuanocr.lan import lan_addresses
from tests.support.appliance import ROOT, Appliance, appliance


@pytest.fixture(scope="module")
def bare() -> Iterator[Appliance]:
    """Without the page, which starts faster."""
    with appliance("--no-page") as running:
        yield running


def run(*arguments: Any, **environment: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "app_web.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def test_both_ports_answer_with_one_reader(bare: Appliance) -> None:
    bare.until_ready()
    assert bare.page != bare.api
    for base in (bare.page, bare.api):
        assert httpx.get(f"{base}/health", timeout=60).status_code == 200
        assert httpx.get(f"{base}/ready", timeout=60).status_code == 200
        assert httpx.get(f"{base}/", timeout=60).status_code == 404, "no page was asked for"


def test_it_says_which_reader_serves_why_and_where(bare: Appliance) -> None:
    words = "".join(bare.printed)
    assert words.splitlines()[0] == "PP-OCR runs on the CPU because it was requested."
    assert f"API:          {bare.page}\n" in words
    assert f"API alone:    {bare.api}\n" in words


def test_without_a_page_gradio_is_not_loaded() -> None:
    code = "import sys, app_web; from hunyuanocr.config import Settings, ServerSettings\n"
    code += "settings = Settings(backend='ppocr', server=ServerSettings(page=False))\n"
    code += "app_web.create_apps(settings, *app_web.create_backend(settings)); print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_leaves_nothing(number: Signals, tmp_path: Path) -> None:
    with appliance(TMPDIR=str(tmp_path)) as running:
        assert httpx.get(running.page, timeout=60).status_code == 200
        assert running.stop(number) == 0
    assert "Traceback" not in "".join(running.printed)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_an_open_page_does_not_hold_up_the_end() -> None:
    with appliance() as running, httpx.stream("GET", f"{running.page}/gradio_api/heartbeat/abc", timeout=60) as stream:
        assert next(stream.iter_text()) == "data: ALIVE\n\n"
        assert running.stop() == 0
    assert "graceful shutdown exceeded" not in "".join(running.printed)
    assert "Traceback" not in "".join(running.printed)


def test_a_taken_port_is_named_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flag, other in (("--port", "--api-port"), ("--api-port", "--port")):
            done = run("--backend", "ppocr", flag, str(port), other, "0")
            assert done.returncode == 2
            assert f"Port {port} is in use" in done.stderr
            assert f"another with {flag}," in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "words"), [
    (["--colour", "red"], "unrecognized arguments"), (["--po", "1"], "unrecognized arguments"),
    (["--backend", "abacus"], "invalid choice"), (["--port", "many"], "invalid int"),
    (["--port", "70000"], "server.port"), (["--config", "/no/such.toml"], "does not exist"),
    (["--port", "7001", "--api-port", "7001"], "cannot share a port"), (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1"),
])  # fmt: skip
def test_what_cannot_work_is_said_at_once(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "box.toml"
    file.write_text("[server]\nport = 1001\napi_port = 1002\nhost = '0.0.0.0'\n")
    monkeypatch.setenv("HUNYUANOCR_CONFIG", "")  # restored afterwards: the flag sets it
    monkeypatch.setenv("HUNYUANOCR_SERVER__API_PORT", "2002")
    flags = create_parser().parse_args(["--config", str(file), "--port", "3001", "--no-page"])
    server = settings_from_flags(flags).server
    assert (server.port, server.api_port, server.host, server.page) == (3001, 2002, "0.0.0.0", False)


def test_flags_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_TORCH__MAX_NUM_SEQS", "3")
    flags = ("--vram-gb", "6.5", "--dtype", "bfloat16", "--device", "cuda:1")
    settings = settings_from_flags(create_parser().parse_args(flags))
    assert (settings.torch.vram_gb, settings.torch.dtype, settings.torch.max_num_seqs, settings.device) == (
        6.5,
        "bfloat16",
        3,
        "cuda:1",
    )
    none = settings_from_flags(create_parser().parse_args([])).torch
    assert (none.vram_gb, none.dtype) == (8.0, "auto")


def test_missing_weights_are_reported_before_a_port_is_looked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("--backend", "torch", "--model-path", "/no/weights", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "The model folder /no/weights does not exist." in done.stderr


def test_addresses_for_phones_are_this_machines_own() -> None:
    own = {address.address for all_ in psutil.net_if_addrs().values() for address in all_}
    found = lan_addresses()
    assert set(found) <= own
    assert not [address for address in found if address.startswith("127.")]


def test_an_address_family_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigError, match="Cannot listen on no"):
        app_web.bound_socket("no.such.host.invalid", 0, "--port")


async def test_answers_are_sent_at_once() -> None:
    """Else the second answer on a kept connection waits 40 ms for the client's acknowledgement (Nagle's algorithm)."""
    reported = []

    async def report_option(reader: Any, writer: Any) -> None:
        reported.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with app_web.bound_socket("127.0.0.1", 0, "--port") as listener:
        async with await asyncio.start_server(report_option, sock=listener) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()
    assert reported == [1]


# The launcher. What it installs with is replaced; the whole of it runs in the long test below.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The launcher and what it reads, in a folder with a space in its name."""
    home = tmp_path / "the shop"
    (home / "scripts").mkdir(parents=True)
    for name in ("launch_web_pt.sh", "run_tests.sh", "scripts/bootstrap.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, home / name)
    (home / "app_web.py").write_text("import sys; print('served', *sys.argv[1:])")
    return home


def program(folder: Path, name: str, script: str) -> Path:
    """A stand-in for a program of the system."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def launch(
    folder: Path, *arguments: str, only: Path | None = None, first: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[Any]:
    path = f"{only}" if only else f"{first}:{os.environ['PATH']}" if first else os.environ["PATH"]
    bash = shutil.which("bash")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HUNYUANOCR_")}
    return subprocess.run(
        [bash, str(folder / "launch_web_pt.sh"), *arguments],
        cwd="/",
        env=clean | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def tools(folder: Path, *besides: str) -> Path:
    """A PATH with the tools that the launcher calls and no Python."""
    folder.mkdir()
    for name in ("dirname", "readlink", "df", "awk", "sha256sum", "cut", "cat", "rm", "sed", *besides):
        (folder / name).symlink_to(shutil.which(name))
    return folder


OLD = 'case "$*" in *version_info*) echo 309;; -V) echo "Python 3.9.2";; esac\n'
BARE = 'case "$*" in *version_info*) echo 311;; *ensurepip*) exit 1;; -V) echo "Python 3.11.2";; esac\n'
# Makes an environment whose pip only writes down what it is asked for.
FAKE = """case "$*" in
*version_info*) echo 311;; *ensurepip*) ;; -V) echo "Python 3.11.9";; -c*) ;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python";;
"-m pip --version") ;;
"-m pip install"*) echo "pip $*"; echo "$*" >>"$PIP_LOG"; test -z "$PIP_FAILS";;
*app_web.py*) shift; echo "served $*";;
esac
"""


def test_an_old_python_is_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin")
    program(path, "python3", OLD)
    done = launch(folder, only=path)
    assert done.returncode == 2
    assert "Python 3.11 or newer is required" in done.stderr
    assert "python3 is Python 3.9.2" in done.stderr
    assert "apt install" in done.stderr


def test_no_python_at_all_is_reported(folder: Path, tmp_path: Path) -> None:
    done = launch(folder, only=tools(tmp_path / "bin"))
    assert done.returncode == 2
    assert "no Python was found" in done.stderr


def test_a_python_without_venv_names_the_package(folder: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin")
    program(path, "python3", BARE)
    done = launch(folder, only=path)
    assert done.returncode == 2
    assert "sudo apt install python3-venv" in done.stderr


def test_a_newer_python_is_found_beside_an_old_one(folder: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "bin", "mkdir", "cp")
    program(path, "python3", OLD)
    program(path, "python3.12", FAKE)
    done = launch(folder, only=path, PIP_LOG=str(tmp_path / "log"))
    assert done.returncode == 0, done.stderr
    assert (folder / ".venv" / "bin" / "python").exists()


def test_a_full_disk_is_reported_before_anything_is_installed(folder: Path, tmp_path: Path) -> None:
    first = tmp_path / "bin"
    program(first, "df", "echo Filesystem; echo '/dev/x 100 90 10 90% /'\n")
    program(first, "nvidia-smi", "exit 9\n")
    done = launch(folder, first=first)
    assert done.returncode == 2
    assert ": 2000 MB required" in done.stderr
    assert "10 MB free" in done.stderr
    assert not (folder / ".venv").exists()


def test_a_taken_port_is_reported_before_anything_is_installed(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments in (["--port", str(port)], [f"--api-port={port}"]):
            done = launch(folder, *arguments)
            assert done.returncode == 2
            assert f"Port {port} is in use" in done.stderr
    assert not (folder / ".venv").exists()


@pytest.fixture
def faked(folder: Any, tmp_path: Any) -> Callable[..., Any]:
    """Launches with a Python whose pip is a stand-in; returns what pip was asked for."""
    program(tmp_path / "fake", "python3.11", FAKE)
    program(tmp_path / "fake", "nvidia-smi", "exit 9\n")  # whatever this machine has
    log = tmp_path / "pip.log"

    def go(*arguments: Any, status: int = 0, **environment: Any) -> Any:
        log.write_text("")
        ports = ("--port", "0", "--api-port", "0")
        done = launch(folder, *arguments, *ports, first=tmp_path / "fake", PIP_LOG=str(log), **environment)
        assert done.returncode == status, done.stderr
        return log.read_text(), done

    return go


def test_the_first_start_installs_the_pins_and_the_second_nothing(folder: Path, faked: Callable[..., Any]) -> None:
    asked, done = faked("--host", "127.0.0.1")
    assert f"-e {folder} -c {folder}/constraints.txt" in asked
    assert "[torch]" not in asked
    assert "served --host 127.0.0.1 --port 0 --api-port 0" in done.stdout
    assert faked()[0] == ""


def test_changed_pins_are_installed(folder: Path, faked: Callable[..., Any]) -> None:
    faked()
    (folder / "constraints.txt").write_text("gradio==6.31.0\n")
    assert "pip install" in faked()[0]
    assert faked()[0] == ""


def test_an_interrupted_installation_is_begun_afresh(folder: Path, faked: Callable[..., Any]) -> None:
    faked()
    (folder / ".venv" / ".installing").touch()
    (folder / ".venv" / "half").touch()
    asked, done = faked()
    assert "interrupted" in done.stdout
    assert "pip install" in asked
    assert not (folder / ".venv" / "half").exists()


def test_a_broken_environment_is_made_anew(folder: Path, faked: Callable[..., Any]) -> None:
    faked()
    (folder / ".venv" / "bin" / "python").write_text("#!/no/such/interpreter\n")
    asked, done = faked()
    assert "damaged" in done.stdout
    assert "pip install" in asked


def test_a_failed_installation_is_reported_and_tried_again(folder: Path, faked: Callable[..., Any]) -> None:
    _, done = faked(status=2, PIP_FAILS="1")
    assert "could not be installed" in done.stderr
    assert "served" not in done.stdout
    assert "pip install" in faked()[0]


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Any]:
    """Gives the machine a GPU, and a folder with weights, or without."""

    def build(*, gpu: bool = False, weights: bool = False) -> str:
        program(tmp_path / "fake", "nvidia-smi", "exit 0\n" if gpu else "exit 9\n")
        folder = tmp_path / "weights"
        folder.mkdir()
        if weights:
            (folder / "model.safetensors").touch()
        return f"--model-path={folder}"

    return build


@pytest.mark.parametrize(("has", "arguments", "environment", "why"), [
    ({"gpu": True}, (), {}, "this machine has an NVIDIA GPU"),
    ({"weights": True}, (), {}, "contains model weights"),
    ({}, ("--backend", "torch"), {}, "the backend torch is selected"),
    ({}, (), {"HUNYUANOCR_BACKEND": "torch"}, "the backend torch is selected"),
    ({}, (), {}, None),
    ({"gpu": True, "weights": True}, ("--backend", "ppocr"), {}, None),
    ({"gpu": True, "weights": True}, ("--backend=vllm",), {}, None),
    ({"gpu": True, "weights": True}, (), {"HUNYUANOCR_BACKEND": "ppocr"}, None),
    ({}, ("--backend", "ppocr"), {"HUNYUANOCR_BACKEND": "torch"}, None),
    ({"gpu": True, "weights": True}, ("--help",), {}, None),
])  # fmt: skip
def test_pytorch_is_installed_where_it_may_be_used_and_never_unsaid(
    faked: Callable[..., Any],
    machine: Callable[..., Any],
    has: dict[str, Any],
    arguments: tuple[Any, ...],
    environment: dict[str, Any],
    why: str | None,
) -> None:
    asked, done = faked(machine(**has), *arguments, **environment)
    assert ("[torch]" in asked) == (why is not None)
    assert ("PyTorch" in done.stdout) == (why is not None)
    if why:
        said = done.stdout.partition("pip -m pip install")[0]  # before gigabytes are under way
        assert why in said
        assert "2.8 GB to download" in said
        assert "To skip it, start with --backend ppocr" in said
        assert ("no GPU, so the CPU backend will be used" in said) == ("model weights" in why)
        assert ("hunyuanocr fetch" in said) == ("model weights" not in why)


def test_a_bundle_without_pytorch_is_not_asked_for_it(
    folder: Path, faked: Callable[..., Any], machine: Callable[..., Any]
) -> None:
    flag = machine(gpu=True)
    (folder / "wheels").mkdir()
    asked, done = faked(flag)
    assert "pip install" in asked
    assert "[torch]" not in asked
    assert "PyTorch" not in done.stdout
    (folder / "wheels" / "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    assert "[torch]" in faked(flag)[0]


def test_pytorch_once_installed_stays(folder: Path, faked: Callable[..., Any], machine: Callable[..., Any]) -> None:
    weights = machine(weights=True)
    assert "[torch]" in faked(weights)[0]
    again, done = faked(weights)
    assert again == ""
    assert "PyTorch" not in done.stdout
    (folder / "constraints.txt").write_text("")
    assert "[torch]" in faked("--backend", "ppocr")[0], "also when the pins change"


def test_a_disk_too_small_for_pytorch_is_reported_with_the_way_round(
    folder: Path, faked: Callable[..., Any], machine: Callable[..., Any], tmp_path: Path
) -> None:
    weights = machine(gpu=True)
    program(tmp_path / "fake", "df", "echo Filesystem; echo '/dev/x 9000 1000 8000 90% /'\n")
    _, done = faked(weights, status=2)
    assert "12000 MB required" in done.stderr
    assert "--backend ppocr" in done.stderr
    assert not (folder / ".venv").exists()
    faked(weights, "--backend", "ppocr")
    assert (folder / ".venv").exists()


def test_help_needs_no_free_port(folder: Path, faked: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, done = faked("--port", str(taken.getsockname()[1]), "--help")
    assert "served" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_fresh_clone_serves_and_starts_again_in_seconds(tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    shutil.rmtree(clone / ".git")
    started = []
    for _ in range(2):
        with appliance(program=("bash", str(clone / "launch_web_pt.sh"))) as running:
            running.until_ready(600)
            assert httpx.get(running.page, timeout=60).status_code == 200
            assert httpx.get(f"{running.api}/health", timeout=60).status_code == 200
            assert running.stop() == 0
            started.append("".join(running.printed))
    assert "Installing packages" in started[0]
    assert "Installing packages" not in started[1]
