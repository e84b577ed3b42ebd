"""What goes into a bundle, and what it says of itself."""

import json
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from hunyuanocr.bundle import BundleFailed, BundleSpec, build
from hunyuanocr.bundle.requirements import requirements
from hunyuanocr.bundle.sbom import build_sbom, installed_dependencies, licence_of
from hunyuanocr.bundle.sources import FILES, TREES, project_files
from hunyuanocr.bundle.wheels import cuda_of, driver_for, glibc_of, wheel_metadata
from hunyuanocr.errors import WeightsMissing
from tests.bundle.conftest import ROOT, unpack, wheel


def test_the_same_project_makes_the_same_bytes(project: Path, tmp_path: Path) -> None:
    first, second = (build(tmp_path / f"{n}.tar.gz", project, BundleSpec()) for n in "ab")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert subprocess.run(["sha256sum", "-c", "a.tar.gz.sha256"], cwd=tmp_path).returncode == 0


def test_the_checksums_are_those_that_sha256sum_knows(project: Path, tmp_path: Path) -> None:
    bundle = unpack(build(tmp_path / "a.tar", project, BundleSpec()).path, tmp_path / "b")
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle).returncode == 0
    listed = {line.partition("  ")[2] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert there - listed == {"SHA256SUMS"}


def test_what_pip_cannot_bring_is_reported_and_leaves_nothing(project: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleFailed, match=r"pip cannot download.*torch==9\.0"):
        build(tmp_path / "a.tar.gz", project, BundleSpec(extras=("heavy",)))
    with pytest.raises(BundleFailed, match="Unknown extra 'nonesuch'"):
        build(tmp_path / "a.tar.gz", project, BundleSpec(extras=("nonesuch",)))
    with pytest.raises(BundleFailed, match="does not end with"):
        build(tmp_path / "a.zip", project, BundleSpec())
    with pytest.raises(BundleFailed, match="not found"):
        build(tmp_path / "none" / "a.tar", project, BundleSpec())
    with pytest.raises(WeightsMissing):
        build(tmp_path / "a.tar.gz", project, BundleSpec(weights=(tmp_path / "none",)))
    assert {path.name for path in tmp_path.iterdir()} == {"project", "cache"}


@pytest.mark.parametrize(
    ("text", "good"), [("backend = 'ppocr'\n", True), ("bakend = 'ppocr'\n", False), ("backend = \n", False)]
)
def test_settings_with_a_mistake_do_not_travel(project: Path, tmp_path: Path, text: str, good: bool) -> None:
    (tmp_path / "own.toml").write_text(text)
    expected = BundleSpec(config=tmp_path / "own.toml")
    if good:
        assert build(tmp_path / "a.tar", project, expected).files == build(tmp_path / "b.tar", project, BundleSpec()).files + 1
    else:
        with pytest.raises(BundleFailed, match=r"Cannot use the settings file .*own\.toml"):
            build(tmp_path / "a.tar", project, expected)


def test_something_else_is_no_base_of_an_update(project: Path, tmp_path: Path) -> None:
    for name, content in (("a.tar.gz", b"no archive"), ("b.json", b"[]"), ("c.json", b"{")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleFailed):
            build(tmp_path / "out.tar", project, BundleSpec(base=tmp_path / name))


def test_every_tracked_file_of_the_product_goes_along_and_nothing_that_git_ignores() -> None:
    listed = subprocess.run(["git", "ls-files", *TREES, *FILES], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no clone")
    ours = list(project_files(ROOT))
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert tracked - set(ours) == set()
    asked = subprocess.run(["git", "check-ignore", "--stdin"], cwd=ROOT, input="\n".join(ours), capture_output=True, text=True)
    assert asked.stdout == ""
    assert not [name for name in ours if name.startswith(("tests/", "data/", ".venv"))]


def test_the_cuda_of_pytorch_tells_the_driver(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("a", "b", "c", "d")}
    for folder in places.values():
        folder.mkdir()
    new = 'cuda-toolkit[cublas,cudart]==13.0.3; platform_system == "Linux"'
    built = [
        (wheel(places["a"], "torch", "2.13.0", {}, ["filelock", new]), "13.0", "580"),
        (wheel(places["b"], "torch", "2.9.0", {}, ["nvidia-cuda-runtime-cu12==12.8.90"]), "12.8", "525"),
        (wheel(places["c"], "torch", "2.13.0+cpu", {}, ["filelock"]), None, None),
    ]
    for path, cuda, driver in built:
        assert cuda_of([path]) == cuda
        assert (driver_for(cuda) if cuda else None) == driver
    assert cuda_of([wheel(places["d"], "till", "1.0", {})]) is None
    with pytest.raises(BundleFailed, match="CUDA 21"):
        driver_for("21.0")


def test_the_newest_glibc_that_a_wheel_wants_counts(tmp_path: Path) -> None:
    tags = ("py3-none-any", "cp311-cp311-manylinux2014_x86_64.manylinux_2_28_x86_64", "cp311-abi3-manylinux_2_34_x86_64")
    made = [wheel(tmp_path, f"w{n}", "1.0", {}, tag=tag) for n, tag in enumerate(tags)]
    assert [glibc_of(made[:n]) for n in (1, 2, 3)] == ["2.17", "2.17", "2.34"]


def test_a_wheel_speaks_for_itself_and_not_for_what_it_carries(tmp_path: Path) -> None:
    inner = {"till/_vendor/aaa-9.dist-info/METADATA": "Metadata-Version: 2.1\nName: aaa\nVersion: 9\n"}
    assert wheel_metadata(wheel(tmp_path, "till", "1.0", inner)).metadata["Name"] == "till"


def valid(raw: bytes) -> bool:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode()) is None


def test_the_bill_of_materials_is_valid_and_counts_every_package(project: Path, tmp_path: Path) -> None:
    bundle = unpack(build(tmp_path / "a.tar", project, BundleSpec()).path, tmp_path / "b")
    raw = (bundle / "sbom.cdx.json").read_bytes()
    assert valid(raw)
    (till,) = json.loads(raw)["components"]
    assert till["purl"] == "pkg:pypi/till@1.0"
    assert till["hashes"][0]["content"] in (bundle / "SHA256SUMS").read_text()
    installed = installed_dependencies(requirements(ROOT))
    raw = build_sbom(installed.values(), "1.0")
    assert valid(raw)
    found = json.loads(raw)
    assert {"fastapi", "rapidocr", "starlette", "numpy"} <= {c["name"] for c in found["components"]}
    asked = {line["ref"].partition("@")[0]: line["dependsOn"] for line in found["dependencies"]}
    assert f"pkg:pypi/starlette@{distribution('starlette').version}" in asked["pkg:pypi/fastapi"]
    assert not valid(raw.replace(b'"type": "library"', b'"type": "cache"'))


@pytest.mark.parametrize(("said", "licence"), [
    ("License-Expression: MIT\nLicense: other\n", "MIT"),
    ("License: Long words\n of a licence\nClassifier: License :: OSI Approved :: BSD License\n", "BSD License"),
    ("License: Apache-2.0\n", "Apache-2.0"),
    ("", "not stated"),
])  # fmt: skip
def test_a_licence_in_the_packages_own_words(tmp_path: Path, said: str, licence: str) -> None:
    assert licence_of(wheel_metadata(wheel(tmp_path, "till", "1.0", {}, extra=said))) == licence
