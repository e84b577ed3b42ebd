"""The wheel: one version, the data files, and only the packages of the product."""

import ast
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

import hunyuanocr

ROOT = Path(__file__).parent.parent
DEVELOPMENT = {"synthesis", "demo_model", "tests", "bench", "examples", "scripts"}


@pytest.fixture(scope="module")
def wheel() -> Any:
    """What setuptools reads from pyproject.toml: version, packages, modules and package data."""
    pytest.importorskip("setuptools")
    from setuptools import Distribution
    from setuptools.config.pyprojecttoml import apply_configuration

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return apply_configuration(Distribution({"src_root": str(ROOT)}), ROOT / "pyproject.toml")


def shipped(wheel: Any) -> list[Path]:
    modules = [ROOT / f"{name}.py" for name in wheel.py_modules]
    return modules + [path for package in wheel.packages for path in (ROOT / package.replace(".", "/")).glob("*.py")]


def development_imports(source: str) -> set[str]:
    """Return the development packages that Python source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return {name for name in found if name.partition(".")[0] in DEVELOPMENT}


def test_the_version_is_written_in_one_place(wheel: Any) -> None:
    assert wheel.metadata.version == hunyuanocr.__version__
    assert f"## {hunyuanocr.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_wheel_holds_the_product_only(wheel: Any) -> None:
    assert {name.partition(".")[0] for name in wheel.packages} == {"hunyuanocr", "api", "web"}
    assert wheel.py_modules == ["app_web"]
    folders = {path.parent for top in ("hunyuanocr", "api", "web") for path in (ROOT / top).rglob("*.py")}
    assert {ROOT / name.replace(".", "/") for name in wheel.packages} >= folders


def test_the_wheel_holds_every_data_file(wheel: Any) -> None:
    listed = {
        path
        for package, patterns in wheel.package_data.items()
        for pattern in patterns
        for path in (ROOT / package).glob(pattern)
    }
    data = {
        path
        for top in ("hunyuanocr", "api", "web")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert ROOT / "hunyuanocr" / "py.typed" in listed
    assert data - listed == set()


def test_nothing_shipped_imports_a_development_package(wheel: Any) -> None:
    files = shipped(wheel)
    assert len(files) > 100
    assert {path: found for path in files if (found := development_imports(path.read_text(encoding="utf-8")))} == {}


def test_an_import_of_a_development_package_is_found() -> None:
    assert development_imports("def f():\n    from synthesis.render import render\n") == {"synthesis.render"}
    assert development_imports("import importlib\nimportlib.import_module('tests.support')\n") == {"tests.support"}
