"""The doctor finds what is really wrong: a taken port, a folder that cannot be written, broken weights, a damaged database."""

import hashlib
import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hunyuanocr.cli import app
from hunyuanocr.cli.checks import machine, model, ports, secrets, storage
from hunyuanocr.cli.checks.result import terminal_language
from hunyuanocr.config import NetworkSettings, Settings, StoreSettings
from hunyuanocr.services.metrics import gpu
from hunyuanocr.store.database import Database
from tests.support.checkpoints import random_checkpoint
from tests.support.ports import free_port


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "300"})


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Settings of a machine where all is well, and what `doctor --quick --json` says of it."""
    monkeypatch.setenv("HUNYUANOCR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HUNYUANOCR_MODEL_PATH", str(tmp_path / "weights"))
    monkeypatch.setenv("HUNYUANOCR_SERVER__PORT", str(free_port()))
    monkeypatch.setenv("HUNYUANOCR_SERVER__API_PORT", str(free_port()))

    def diagnose(language: str = "en") -> dict[Any, Any]:
        done = run("--quick", "--json", "--language", language)
        reported = json.loads(done.stdout)
        assert done.exit_code == int(reported["verdict"] == "fail")
        return {finding["name"]: finding for finding in reported["findings"]}

    return diagnose


def test_a_machine_where_all_is_well(box: Callable[..., Any]) -> None:
    found = box()
    assert [f for f in found.values() if f["verdict"] == "fail" and f["name"] != "memory"] == []
    assert {"python", "packages", "clock", "memory", "disk", "data", "port_port", "port_api_port", "gpu"} <= found.keys()
    assert "first use" in found["database"]["detail"]


@pytest.mark.parametrize(
    ("content", "mode", "verdict"),
    [
        ('[security.jwt]\nsecret = "0123456789abcdef0123456789abcdef"\nissuer = "i"\naudience = "a"\n', 0o644, "warn"),
        ('[store]\nurl = "postgresql://user:word@host/name"\nenabled = false\n', 0o604, "warn"),
        ('[security.jwt]\nsecret = "0123456789abcdef0123456789abcdef"\nissuer = "i"\naudience = "a"\n', 0o640, "ok"),
        ('[sync]\nsite = "shop"\n', 0o644, "ok"),
        ("[server]\ngrace_s = 9\n", 0o644, "ok"),
    ],
)
def test_a_settings_file_with_secrets_that_all_users_can_read(
    box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, mode: Any, verdict: Any
) -> None:
    file = tmp_path / "my settings.toml"
    file.write_text(content)
    file.chmod(mode)
    monkeypatch.setenv("HUNYUANOCR_CONFIG", str(file))
    for language in ("en", "zh"):
        found = box(language)["secrets"]
        assert found["verdict"] == verdict
        if verdict == "warn":
            assert f"chmod o-rwx '{file}'" in found["fix"]


@pytest.mark.parametrize(("folder_mode", "verdict"), [(0o755, "warn"), (0o700, "ok")])
def test_stored_data_and_a_certificate_key_that_all_users_can_read(tmp_path: Path, folder_mode: Any, verdict: Any) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(folder_mode)
    database = tmp_path / "data" / "hunyuanocr.db"
    database.touch()
    database.chmod(0o644)
    settings = Settings(data=tmp_path / "data")
    (found,) = secrets.check_secrets(settings)
    assert found.verdict == verdict
    (tmp_path / "key.pem").touch()
    (tmp_path / "key.pem").chmod(0o644)
    with_key = settings.model_copy(update={"network": NetworkSettings(tls_key=tmp_path / "key.pem")})
    details = [str(finding.detail) for finding in secrets.check_secrets(with_key)]
    assert any("key.pem" in detail for detail in details)
    assert any("hunyuanocr.db" in detail for detail in details) == (verdict == "warn")


def test_a_taken_port_is_named_with_its_holder(box: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("HUNYUANOCR_SERVER__API_PORT", str(taken.getsockname()[1]))
        found = box()["port_api_port"]
    assert found["verdict"] == "fail"
    assert "Used by" in found["detail"]
    assert f"(process {os.getpid()})" in found["detail"]
    assert "--api-port" in found["fix"]


def test_the_appliance_itself_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "listening_process", lambda _: (77, "python", "/opt/box/.venv/bin/python app_web.py"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = ports.check_port("127.0.0.1", taken.getsockname()[1], "--port")
    assert (found.verdict, "77" in found.detail[1]) == ("ok", True)


def test_an_address_that_is_not_this_machines() -> None:
    found = ports.check_port("192.0.2.1", 0, "--port")  # of documentation (RFC 5737): no machine has it
    assert (found.verdict, "--host" in found.fix[1]) == ("fail", True)


def test_a_folder_that_cannot_be_written(box: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for place in ("/proc/hunyuanocr", str(tmp_path / "file")):
        monkeypatch.setenv("HUNYUANOCR_DATA", place)
        found = box()["data"]
        assert found["verdict"] == "fail", place
        assert "chown" in found["fix"]


def test_broken_weights(box: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert box()["weights"]["verdict"] == "ok", "no model is needed"
    monkeypatch.setenv("HUNYUANOCR_BACKEND", "torch")
    assert box()["weights"]["verdict"] == "fail", "now it is"
    folder = random_checkpoint(tmp_path / "weights")
    assert box()["weights"]["verdict"] == "ok"
    file = folder / "model.safetensors"
    sums = folder / model.SUMS
    sums.write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
    assert box()["weights"]["verdict"] == "ok"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # a bit that flipped: the headers do not show it
    file.write_bytes(data)
    found = box()["weights"]
    assert (found["verdict"], "checksums" in found["detail"], "--force" in found["fix"]) == ("fail", True, True)
    sums.write_text(f"{'0' * 64}  ../../etc/passwd\n")
    assert "../../etc" in box()["weights"]["detail"], "not looked at"
    sums.unlink()
    file.write_bytes(data[: len(data) // 2])
    assert box()["weights"]["verdict"] == "fail", "cut off"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A database of this version."""
    made = Database(f"sqlite:///{tmp_path / 'data' / 'hunyuanocr.db'}")
    made.migrate()
    made.close()
    return tmp_path / "data" / "hunyuanocr.db"


def test_a_database_and_what_may_be_wrong_with_it(box: Callable[..., Any], kept: Path) -> None:
    assert box()["database"]["verdict"] == "ok"
    with sqlite3.connect(kept) as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    database.close()
    old = box()["database"]
    assert (old["verdict"], "0001" in old["detail"]) == ("warn", True)
    with sqlite3.connect(kept) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "newer version" in box()["database"]["detail"]
    locked = sqlite3.connect(kept, isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")
    found = box()["database"]
    locked.close()
    assert (found["verdict"], "locked" in found["detail"]) == ("fail", True)


def test_a_damaged_database(box: Callable[..., Any], kept: Path) -> None:
    data = bytearray(kept.read_bytes())
    data[4096:12288] = os.urandom(8192)
    kept.write_bytes(data)
    found = box()["database"]
    assert (found["verdict"], "restore" in found["fix"]) == ("fail", True)
    kept.write_bytes(b"no database at all" * 100)
    assert box()["database"]["verdict"] == "fail"


def test_a_server_that_is_away() -> None:
    settings = Settings(store=StoreSettings(url="postgresql://shop:secret@127.0.0.1:1/shop"))
    found = storage.check_database(settings)
    assert (found.verdict, "does not answer" in found.detail[1]) == ("fail", True)
    assert "secret" not in str(found)


def test_a_server_that_answers(postgres_url: str) -> None:
    settings = Settings(store=StoreSettings(url=postgres_url))
    assert "first use" in storage.check_database(settings).detail[1]
    made = Database(postgres_url)
    made.migrate()
    made.close()
    assert storage.check_database(settings).verdict == "ok"


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Any]:
    """A function that writes pyproject.toml, with two dependencies, and constraints.txt; it returns their folder."""

    def write(*pins: Any) -> Path:
        (tmp_path / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["pytest"]\n[project]\ndependencies = ["rich", "not-here"]\n'
            "[project.optional-dependencies]\n"
        )
        (tmp_path / "constraints.txt").write_text("\n".join(("# pins", *pins)))
        return tmp_path

    return write


def test_versions_are_compared_with_the_tested_ones(project: Callable[..., Any]) -> None:
    assert machine.check_packages(project(f"rich=={machine.installed_version('rich')}", "not-here==1.0")).verdict == "ok"
    result = machine.check_packages(project("Rich==0.1", "Pygments==0.2"))  # Pygments: a dependency of Rich
    assert (result.verdict, "(0.1)" in result.detail[1]) == ("warn", True)
    for fix in result.fix:
        assert "pip install -c constraints.txt Rich==0.1 Pygments==0.2" in fix


def test_packages_of_a_new_virtual_environment_are_not_compared(project: Callable[..., Any]) -> None:
    """`python -m venv` of Python 3.11 brings setuptools 65.5.0; pip leaves it there, because no dependency needs it."""
    assert machine.check_packages(project("setuptools==0.1", "pip==0.1", "pytest==0.1")).verdict == "ok"


def test_a_clock_that_stands_before_the_installation() -> None:
    found = machine.check_clock(datetime(2001, 1, 1, tzinfo=UTC))
    assert (found.verdict, "timedatectl" in found.fix[1]) == ("fail", True)
    assert machine.check_clock().verdict in ("ok", "warn")


def test_a_gpu_that_is_full_or_that_pytorch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    one = gpu.Gpu(0, "NVIDIA GeForce RTX 4090 D", int(24e9), int(20e9), 0.1, 50.0)
    monkeypatch.setattr(gpu, "gpus", lambda: gpu.Gpus("580.65", (one,)))
    full, pytorch = machine.check_gpu(Settings())
    assert (full.verdict, "driver 580.65" in full.detail[1], "--vram-gb" in full.fix[1]) == ("warn", True, True)
    import torch

    if not torch.cuda.is_available():
        assert pytorch.verdict == "warn"
        assert "cannot use the GPU" in pytorch.detail[1]
        assert "nvidia-smi" in pytorch.fix[1]
    monkeypatch.setattr(machine, "installed_version", lambda name: None)
    assert "./launch_web_pt.sh" in list(machine.check_gpu(Settings()))[1].fix[1]
    monkeypatch.setattr(gpu, "gpus", lambda: None)
    assert [f.verdict for f in machine.check_gpu(Settings())] == ["ok"]
    assert [f.verdict for f in machine.check_gpu(Settings(backend="torch"))] == ["warn"]


def test_both_languages_and_a_table(box: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    chinese = box("zh")
    assert chinese["disk"]["what"] == "磁盘"
    assert all(any("一" <= c <= "鿿" for c in f["fix"]) for f in chinese.values() if f["fix"])
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert terminal_language() == "zh"
    monkeypatch.setenv("LC_ALL", "C")
    assert terminal_language() == "en"
    assert run("--language", "fr").exit_code == 2


def test_it_reads_a_line(box: Callable[..., Any]) -> None:
    done = run("--language", "en")
    assert "Test recognition" in done.stdout
    assert "read a test line" in done.stdout


def test_a_reader_that_cannot_start_is_reported(tmp_path: Path) -> None:
    found = model.check_reading(Settings(backend="torch", model_path=tmp_path))
    assert (found.verdict, "weights_missing" in found.detail[1]) == ("fail", True)
    shutil.rmtree(tmp_path)
