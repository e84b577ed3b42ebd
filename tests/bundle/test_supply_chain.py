"""Pinned, licensed, and looked up: the report is up to date, and nothing under the GPL runs in the appliance."""

import importlib.util
from importlib.metadata import distribution, distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.utils import canonicalize_name

from hunyuanocr.bundle.requirements import requirements
from hunyuanocr.bundle.sbom import installed_dependencies
from hunyuanocr.bundle.wheels import wheel_metadata
from tests.bundle.conftest import ROOT, wheel
from tests.docker.test_images import CUDA, pinned


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LICENCES, AUDIT = script("licences"), script("audit")
RUNTIME = installed_dependencies(requirements(ROOT, LICENCES.EXTRAS))


def test_the_report_names_every_pinned_package_that_is_installed() -> None:
    report = LICENCES.REPORT.read_text(encoding="utf-8")
    installed = {canonicalize_name(d.metadata["Name"]) for d in distributions()} & set(pinned())
    lost = sorted(name for name in installed if f"| {name} |" not in report and not name.startswith(CUDA))
    assert not lost, "packages have changed: .venv/bin/python scripts/licences.py"
    assert "not stated" not in report


def test_the_report_tells_the_appliance_from_what_developers_need() -> None:
    head, _, development = LICENCES.report().partition("## For development only")
    assert "| pi-heif |" in head
    assert "| pillow-heif |" not in head
    assert "| pillow-heif |" in development


def test_nothing_under_the_gpl_runs_in_the_appliance() -> None:
    assert {"fastapi", "torch", "psycopg-binary", "pi-heif", "gradio"} <= set(RUNTIME)
    assert LICENCES.forbidden(RUNTIME.values()) == []


def test_a_library_under_the_gpl_is_seen_whatever_the_package_says() -> None:
    (bad,) = LICENCES.forbidden([distribution("pillow-heif")])  # "BSD-3-Clause"
    assert "libx265" in bad


@pytest.mark.parametrize(("said", "good"), [
    ("License-Expression: GPL-3.0-only", False),
    ("License: GPLv2", False),
    ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", False),
    ("License: AGPL-3.0", False),
    ("License-Expression: GPL-2.0-only OR MIT", True),
    ("License-Expression: GPL-3.0-only WITH GCC-exception-3.1", True),
    ("License-Expression: LGPL-3.0-only", True),
    ("Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", True),
])  # fmt: skip
def test_which_licences_are_refused(tmp_path: Path, said: str, good: bool) -> None:
    assert (LICENCES.forbidden([wheel_metadata(wheel(tmp_path, "x", "1.0", {}, extra=f"{said}\n"))]) == []) == good


def test_an_audit_that_looked_nothing_up_is_no_success() -> None:
    fine = {"name": "a", "version": "1.0", "vulns": []}
    known = {"name": "b", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]}
    skipped = {"name": "c", "skip_reason": "not found"}
    assert AUDIT.verdict([fine])[0] == 0
    assert AUDIT.verdict([fine, known, skipped])[0] == 1
    assert AUDIT.verdict([fine, skipped])[0] == 3
    assert AUDIT.verdict([])[0] == 3
    assert "b 1.0: PYSEC-1" in AUDIT.verdict([fine, known])[1]


def test_the_audit_asks_for_what_is_pinned() -> None:
    asked = AUDIT.names((ROOT / "constraints-vllm.txt").read_text())
    assert "torch==2.13.0\n" in asked
    assert "intel-openmp==2024.2.1\n" in asked
    with pytest.raises(ValueError, match=r"\w"):  # nobody listens there: said, and no success
        AUDIT.look_up("click==8.5.1\n", "--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/", "--timeout", "2")
