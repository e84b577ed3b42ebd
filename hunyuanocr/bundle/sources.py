"""Files of the project that a bundle contains: programs and documentation; no tests, no data, nothing that git ignores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TREES = ("hunyuanocr", "api", "web", "docs", "docker", "scripts")
FILES = (
    "LICENSE",
    "README.md",
    "README_zh.md",
    "app_web.py",
    "compose.yaml",
    "constraints-vllm.txt",
    "constraints.txt",
    "launch_vllm.sh",
    "launch_web_pt.sh",
    "models/README.md",
    "pyproject.toml",
)
_LEFT_OUT = re.compile(r"(^|/)(\.[^/]*|__pycache__|[^/]*\.egg-info|build)(/|$)|\.(pyc|log|part)$")


def project_files(root: Path) -> Iterator[str]:
    """Yield paths relative to the project folder, sorted within each tree."""
    yield from (name for name in FILES if (root / name).is_file())
    for tree in TREES:
        names = sorted(path.relative_to(root).as_posix() for path in (root / tree).rglob("*") if path.is_file())
        yield from (name for name in names if not _LEFT_OUT.search(name))
