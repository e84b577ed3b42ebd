"""`hunyuanocr bundle` and `hunyuanocr sbom` as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hunyuanocr.bundle import BundleFailed, BundleSpec, build
from hunyuanocr.cli import app
from hunyuanocr.errors import ConfigError


def run(*arguments: Any, **environment: Any) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env=environment, catch_exceptions=True)


def test_an_archive_is_checked(project: Path, tmp_path: Path) -> None:
    made = build(tmp_path / "a.tar", project, BundleSpec())
    done = run("bundle", made.path, "--check")
    assert done.exit_code == 0, done.output
    assert f"all {made.files} files are correct" in done.stderr
    made.path.write_bytes(made.path.read_bytes().replace(b"RINGS = 1", b"RINGS = 7", 1))
    assert isinstance(run("bundle", made.path, "--check").exception, BundleFailed)
    assert isinstance(run("bundle", tmp_path / "none.tar", "--check").exception, BundleFailed)


def test_a_machine_that_stays_offline_downloads_nothing(tmp_path: Path) -> None:
    done = run("bundle", tmp_path / "a.tar.gz", HUNYUANOCR_OFFLINE="1")
    assert isinstance(done.exception, ConfigError)
    assert "HUNYUANOCR_OFFLINE" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("extras", "there"), [((), True), (("--extra", "torch"), True), (("--extra", "cluster"), False)])
def test_what_is_installed_is_listed(extras: tuple[Any, ...], there: bool) -> None:
    done = run("sbom", *extras)
    assert done.exit_code == 0, done.output
    names = {component["name"] for component in json.loads(done.stdout)["components"]}
    assert {"fastapi", "rapidocr"} <= names
    assert "pytest" not in names
    assert ("torch" in names) == there


def test_an_unknown_extra_is_reported() -> None:
    assert isinstance(run("sbom", "--extra", "nonesuch").exception, ConfigError)
