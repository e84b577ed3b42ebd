"""A bundle goes to a machine without a network: it installs whole or not at all, and updates bring only what is new."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.bundle import BundleFailed, BundleSpec, build, check_archive
from hunyuanocr.bundle.install import CannotInstall, driver_warning, fits
from tests.bundle.conftest import PROJECT, install, make_project, unpack


def rings(folder: Path) -> str:
    """What the installed package says, asked of the folder's own Python."""
    asked = [str(folder / ".venv" / "bin" / "python"), "-I", "-c", "import till; print(till.RINGS)"]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """A bundle and its update, made, unpacked and installed one after the other, and what was said."""
    place = tmp_path_factory.mktemp("a shop")  # a folder with a blank in its name, as people have
    with pytest.MonkeyPatch.context() as patch:
        root = make_project(place, patch)
        (place / "config.toml").write_text("backend = 'ppocr'\n")
        (root / "docs").mkdir()
        (root / "docs" / "old.md").write_text("of the first version\n")
        first = build(place / "first.tar.gz", root, BundleSpec(config=place / "config.toml"))
        (root / "pyproject.toml").write_text(PROJECT.format(version="1.1", till="2.0"))
        (root / "constraints.txt").write_text("till==2.0\n")
        (root / "docs" / "old.md").unlink()
        (root / "docs" / "new.md").write_text("of the second\n")
        update = build(place / "update.tar.gz", root, BundleSpec(config=place / "config.toml", base=first.path))
    folder = place / "hunyuan ocr"
    done = [install(unpack(first.path, place / "1"), str(folder))]
    reported = [rings(folder)] if not done[0].returncode else []
    (folder / "data").mkdir()
    (folder / "data" / "hunyuanocr.db").write_text("receipts")
    (folder / "config.toml").write_text("backend = 'torch'\n")
    done.append(install(unpack(update.path, place / "2"), str(folder)))
    return {"folder": folder, "first": first, "update": update, "done": done, "rings": reported, "place": place}


def test_it_installs_without_a_network_and_says_how_to_start(shop: dict[Any, Any]) -> None:
    done = shop["done"][0]
    assert done.returncode == 0, done.stdout + done.stderr
    assert shop["rings"] == ["1"]
    assert f"cd {shop['folder']} && ./launch_web_pt.sh --host 0.0.0.0 --config config.toml" in done.stdout


def test_an_update_carries_only_what_is_new(shop: dict[Any, Any]) -> None:
    names = subprocess.run(["tar", "-tf", str(shop["update"].path)], capture_output=True, text=True, check=True).stdout.split()
    carried = {name.partition("/")[2] for name in names}
    assert {"app/docs/new.md", "app/pyproject.toml", "wheels/till-2.0-py3-none-any.whl", "bundle.json"} <= carried
    assert "app/app_web.py" not in carried
    assert "wheels/till-1.0-py3-none-any.whl" not in carried
    assert shop["update"].bytes < shop["first"].bytes


def test_an_update_brings_the_new_and_takes_the_old_away_and_leaves_what_is_the_owners(shop: dict[Any, Any]) -> None:
    done, folder = shop["done"][1], shop["folder"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert rings(folder) == "2"
    assert (folder / "docs" / "new.md").exists()
    assert not (folder / "docs" / "old.md").exists()
    assert not (folder / "wheels" / "till-1.0-py3-none-any.whl").exists()
    assert (folder / "data" / "hunyuanocr.db").read_text() == "receipts"
    assert "torch" in (folder / "config.toml").read_text()
    assert json.loads((folder / "bundle.json").read_text())["version"] == "1.1"


def test_an_update_of_another_version_is_refused(shop: dict[Any, Any], tmp_path: Path) -> None:
    done = install(unpack(shop["update"].path, tmp_path / "u"), str(tmp_path / "elsewhere"))
    assert done.returncode == 2
    assert "does not match the version in" in done.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_one_wrong_byte_and_nothing_is_installed(shop: dict[Any, Any], tmp_path: Path) -> None:
    bundle = unpack(shop["first"].path, tmp_path / "b")
    assert install(bundle, "--check").returncode == 0
    names = (
        "wheels/till-1.0-py3-none-any.whl",
        "app/pyproject.toml",
        "app/scripts/bootstrap.sh",
        "bundle.json",
        "install.py",
        "SHA256SUMS",
    )
    for name in names:
        whole = (bundle / name).read_bytes()
        (bundle / name).write_bytes(bytes([whole[0] ^ 0x01]) + whole[1:])
        done = install(bundle, str(tmp_path / "there"))
        (bundle / name).write_bytes(whole)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "The bundle is damaged" in done.stderr
        assert name in done.stderr or name == "SHA256SUMS", "whose wrong line blames the file that it names"
    assert not (tmp_path / "there").exists()


def test_a_bundle_is_not_installed_over_itself(shop: dict[Any, Any], tmp_path: Path) -> None:
    bundle = unpack(shop["first"].path, tmp_path / "b")
    assert "in its own folder" in install(bundle, str(bundle)).stderr


def test_a_missing_file_is_reported(shop: dict[Any, Any], tmp_path: Path) -> None:
    bundle = unpack(shop["first"].path, tmp_path / "b")
    (bundle / "app" / "app_web.py").unlink()
    done = install(bundle, "--check")
    assert done.returncode == 2
    assert "app/app_web.py" in done.stderr
    (bundle / "install.py").unlink()
    assert "incomplete" in install(bundle, "--check").stderr


def test_sums_that_lead_out_of_the_bundle_are_refused(shop: dict[Any, Any], tmp_path: Path) -> None:
    bundle = unpack(shop["first"].path, tmp_path / "b")
    with (bundle / "SHA256SUMS").open("a") as f:
        f.write(f"{'0' * 64}  ../../etc/passwd\n")
    assert "SHA256SUMS" in install(bundle, "--check").stderr


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.zst"])
def test_a_damaged_archive_is_found_before_it_travels(project: Path, tmp_path: Path, ending: str) -> None:
    if ending.endswith("zst") and not shutil.which("zstd"):
        pytest.skip("needs the program zstd")
    made = build(tmp_path / f"bundle{ending}", project, BundleSpec())
    assert check_archive(made.path)["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    whole = made.path.read_bytes()
    for at in (len(whole) // 3, len(whole) // 2):
        made.path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(BundleFailed, match=r"damaged|checksum"):
            check_archive(made.path)
    made.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleFailed, match="damaged"):
        check_archive(made.path)


FITTING = {"python": "3.11", "machine": "x86_64", "glibc": "2.28"}


@pytest.mark.parametrize(("here", "said"), [
    ({"version": "3.12"}, "is for Python 3.11 on x86_64; this machine has Python 3.12"),
    ({"machine": "aarch64"}, "on aarch64"),
    ({"libc": ("glibc", "2.17")}, "needs glibc 2.28 or newer; this machine has glibc 2.17"),
    ({"libc": ("", "")}, "another C library"),
])  # fmt: skip
def test_a_machine_that_does_not_fit_is_reported_why(here: dict[str, Any], said: str) -> None:
    good: dict[str, Any] = {"version": "3.11", "machine": "x86_64", "libc": ("glibc", "2.36")}
    fits(FITTING, **good)
    with pytest.raises(CannotInstall, match=said):
        fits(FITTING, **good | here)


def test_a_driver_that_is_too_old_or_missing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    manifest = {"cuda": "13.0", "driver": "580"}
    assert driver_warning({"cuda": None, "driver": None}) is None
    assert "no driver was found" in driver_warning(manifest)
    for version, wrong in (("570.86.10", True), ("580.65.06", False), ("590.1", False)):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        assert (driver_warning(manifest) is not None) == wrong
