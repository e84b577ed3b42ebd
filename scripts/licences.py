"""Writes docs/licences.md: what licences the packages have that the appliance is made of, in their own words.

.venv/bin/python scripts/licences.py            write it, after packages have changed
.venv/bin/python scripts/licences.py --check    exit status 1 where it is out of date
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

from hunyuanocr.bundle.requirements import requirements
from hunyuanocr.bundle.sbom import installed_dependencies, licence_of

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "licences.md"
EXTRAS = ("torch", "finetune", "cluster")
_STRICT = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
_NOT_SO = re.compile(r"\bLGPL|Lesser General Public|WITH [\w-]*exception", re.IGNORECASE)
# Libraries under the GPL that wheels are known to carry, whatever their metadata says.
_CARRIED = re.compile(r"lib(x264|x265|xvidcore|mupdf|poppler|gs|readline|gsl|fftw3|postproc)\b")
# What wheels carry within, beyond what their metadata says; looked up in their own licence files.
WITHIN = {
    "numpy": "OpenBLAS (BSD-3-Clause), libgfortran (GPL-3.0 with GCC's exception)",
    "opencv-python-headless": "FFmpeg (LGPL-2.1), OpenSSL 1.1.1 for its network, which is not used",
    "pi-heif": "libheif, libde265 (LGPL-3.0)",
    "pillow-heif": "x265 (GPL-2.0), libheif, libde265 (LGPL-3.0)",
    "psycopg-binary": "libpq (PostgreSQL), OpenSSL (Apache-2.0) and others",
    "pypdfium2": "PDFium (BSD-3-Clause, Apache-2.0) and what it is built of",
    "rapidocr": "the PP-OCR networks (Apache-2.0)",
    "shapely": "GEOS (LGPL-2.1)",
}
HEAD = """# Licences of the packages

Made by `scripts/licences.py` from what the installed packages say of themselves; not by hand. The appliance itself is Apache-2.0.
The weights of HunyuanOCR are not part of it; their licence is the Tencent Hunyuan Community License.

No package that runs in the appliance is under the GPL or the AGPL, and none carries such a library: a test looks at the words and
at the libraries in the wheels. (`pillow-heif`, which makes the HEIC pictures of the tests, carries x265 and is GPL-2.0; it is not
part of the appliance, which reads HEIC with `pi-heif`.) LGPL packages are used as they come and may be replaced.

Builds of PyTorch for CUDA bring NVIDIA's libraries (`nvidia-…`, `cuda-…`) besides, under NVIDIA's own licences; this list was
made with a build for CPUs.
"""


def forbidden(packages: Iterable[Distribution]) -> list[str]:
    """Packages that must not be in the appliance: by their words, or by a library that lies in their wheel."""
    bad = []
    for package in packages:
        said = licence_of(package)
        choices = re.split(r"\s+OR\s+", said)
        if all(_STRICT.search(choice) and not _NOT_SO.search(choice) for choice in choices):
            bad.append(f"{package.metadata['Name']}: {said}")
        bad += [f"{package.metadata['Name']}: {file.name}" for file in package.files or () if _CARRIED.match(file.name)]
    return bad


def installed() -> dict[str, dict[str, Distribution]]:
    """Packages by part of the appliance: the whole without extras, then what each extra adds, then what only developers need."""
    parts: dict[str, dict[str, Distribution]] = {}
    seen: set[str] = set()
    for extra in ("", *EXTRAS, "dev"):
        found = installed_dependencies(requirements(ROOT, [extra] if extra else []))
        parts[extra] = {name: found[name] for name in sorted(found) if name not in seen}
        seen |= set(found)
    return parts


def report() -> str:
    """The whole page."""
    titles = {"": "The appliance", "dev": "For development alone"}
    lines = [HEAD]
    for extra, packages in installed().items():
        lines += [
            f"## {titles.get(extra, f'With [{extra}]')}\n",
            "| package | licence, in its own words | within its wheel |",
            "|---|---|---|",
        ]
        lines += [f"| {name} | {licence_of(p).replace('|', '/')} | {WITHIN.get(name, '')} |" for name, p in packages.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """The exit status."""
    made = report()
    if "--check" not in sys.argv:
        REPORT.write_text(made, encoding="utf-8")
        return 0
    return int(REPORT.read_text(encoding="utf-8") != made)


if __name__ == "__main__":
    sys.exit(main())
