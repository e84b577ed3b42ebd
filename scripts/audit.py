"""Looks the pinned packages up among known vulnerabilities, with pip-audit. It needs the internet.

    .venv/bin/python scripts/audit.py

Exit status 0: all were looked up, and nothing is known; 1: something is; 3: not all could be looked up. pip-audit by itself calls
the last case a success.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINS = ("constraints.txt", "constraints-vllm.txt")


def names(pins: str) -> str:
    """The pins as the database of vulnerabilities knows them: without markers, and 2.13.0 for 2.13.0+cpu."""
    lines = (re.sub(r"\s*[#;].*|\+cpu", "", line) for line in pins.splitlines())
    return "".join(f"{line}\n" for line in lines if "==" in line)


def look_up(pins: str, *options: str) -> list[dict[str, Any]]:
    """pip-audit's word on each package. Raises ValueError where it has none."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(names(pins))
        file.flush()
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "-r",
            file.name,
            "--no-deps",
            "--disable-pip",
            "-f",
            "json",
            "--progress-spinner",
            "off",
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own pins
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as e:
        raise ValueError(done.stderr.strip().rpartition("\n")[2][:300] or "pip-audit says nothing") from e
    return found


def verdict(found: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """The exit status, and what to say."""
    bad = [f"{p['name']} {p['version']}: {v['id']}" for p in found for v in p.get("vulns", ())]
    skipped = [p["name"] for p in found if "skip_reason" in p]
    said = [*bad, f"{len(found) - len(skipped)} of {len(found)} packages were looked up, {len(bad)} vulnerabilities are known."]
    if skipped:
        said.append(f"Not looked up: {', '.join(skipped[:5])}{' …' if len(skipped) > 5 else ''}")
    return (1 if bad else 3 if skipped or not found else 0), said


def main(options: list[str]) -> int:
    """All files of pins; further arguments go to pip-audit (-s osv: another database). The exit status."""
    statuses = []
    for name in PINS:
        try:
            status, said = verdict(look_up((ROOT / name).read_text(encoding="utf-8"), *options))
        except ValueError as e:
            status, said = 3, [f"Nothing was looked up: {e}"]
        statuses.append(status)
        sys.stdout.write("\n".join([f"== {name}", *said]) + "\n")
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
