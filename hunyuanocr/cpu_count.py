"""How many CPUs this process may use, containers and task sets counted in."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """At least 1: the CPUs of the affinity mask, no more than the control group's quota (version 2 or 1) rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in (_quota_v2(root, own), _quota_v1(root)) if quota is not None]
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def _quota_v2(root: Path, own: Path) -> float | None:
    """The least `cpu.max` on the way from our own group up to the root (inside a container the root is the container's)."""
    try:
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        path = "/"
    group = root / path.lstrip("/")
    found = []
    for folder in (group, *group.parents):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            found += [int(quota) / int(period)] if quota != "max" else []
        except (OSError, ValueError, ZeroDivisionError):
            pass
        if folder == root:
            break
    return min(found, default=None)


def _quota_v1(root: Path) -> float | None:
    try:
        quota = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return quota / int((root / "cpu/cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
