"""A project as small as one can be, which is bundled and installed by the real programs: pip, bash, tar."""

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.test_offline import can_make_namespaces

ROOT = Path(__file__).parents[2]
PROJECT = """[build-system]
requires = []
build-backend = "app_web"
backend-path = ["."]
[project]
name = "tiny-shop"
version = "{version}"
dependencies = ["till=={till}"]
optional-dependencies.heavy = ["torch==9.0"]
"""
# Builds an editable wheel of the project without setuptools, so that no other package is needed. It is called app_web.py
# because a file of that name goes into bundles.
BACKEND = """import sys, pathlib
sys.path.insert(0, str(pathlib.Path(__file__).parent / "scripts"))
from wheelmaker import wheel
def build_editable(folder, config_settings=None, metadata_directory=None):
    here = pathlib.Path(__file__).parent
    return wheel(pathlib.Path(folder), "tiny_shop", "1.0", {"tiny_shop.pth": str(here)}, ["till"]).name
"""


def wheel(
    folder: Path, name: str, version: str, files: dict[str, str], requires: Any = (), tag: str = "py3-none-any", extra: str = ""
) -> Path:
    """A wheel with these files, as the format wants it (PEP 427)."""
    info = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n{extra}{lines}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{inner},sha256={digest},{len(text.encode())}\n"
            archive.writestr(inner, text)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the small project, and `pip` set up to find its wheels in a folder and nowhere else."""
    return make_project(tmp_path, monkeypatch)


def make_project(place: Path, monkeypatch: Any) -> Path:
    root, cache = place / "project", place / "cache"
    for folder in (root / "scripts", root / "hunyuanocr" / "bundle", cache):
        folder.mkdir(parents=True)
    for name in ("scripts/bootstrap.sh", "scripts/install.sh", "hunyuanocr/bundle/install.py"):
        shutil.copy2(ROOT / name, root / name)
    shutil.copy2(__file__, root / "scripts" / "wheelmaker.py")
    maker = (root / "scripts" / "wheelmaker.py").read_text().replace("import pytest\n", "")
    (root / "scripts" / "wheelmaker.py").write_text(maker.partition("\n@pytest.fixture")[0].replace("from tests", "# from tests"))
    (root / "pyproject.toml").write_text(PROJECT.format(version="1.0", till="1.0"))
    (root / "constraints.txt").write_text("till==1.0\n")
    (root / "app_web.py").write_text(BACKEND)
    wheel(cache, "till", "1.0", {"till.py": "RINGS = 1\n"})
    wheel(cache, "till", "2.0", {"till.py": "RINGS = 2\n"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", cache.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return root


def unpack(archive: Path, folder: Path) -> Path:
    """The one folder that is in the archive, unpacked by the program that a person would use."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True, timeout=200)
    (inner,) = folder.iterdir()
    return inner


def install(bundle: Path, *arguments: str, seconds: int = 300, **environment: str) -> subprocess.CompletedProcess:
    """Run its install.sh with nothing of pip's settings, in a network namespace of its own where that can be made."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HUNYUANOCR_"))}
    alone = ["unshare", "-n"] if can_make_namespaces() else []
    command = [*alone, str(bundle / "install.sh"), *arguments]
    return subprocess.run(command, env=clean | environment, cwd="/", capture_output=True, text=True, timeout=seconds)
