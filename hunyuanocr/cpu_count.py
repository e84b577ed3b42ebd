"""The number of CPUs that this process may use, by affinity mask and control group."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cpus(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the CPUs of the affinity mask, at most the quota of the control group (v2 or v1) rounded up; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in (_quota_v2(root, own), _quota_v1(root)) if quota is not None]
    return max(1, min([cpus, *(math.ceil(quota) for quota in quotas)]))


def _quota_v2(root: Path, own: Path) -> float | None:
    """Return the minimum of `cpu.max` from the own group up to the root (in a container, the root of the container)."""
    try:
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        path = "/"
    group = root / path.lstrip("/")
    quotas = []
    for folder in (group, *group.parents):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            quotas += [int(quota) / int(period)] if quota != "max" else []
        except (OSError, ValueError, ZeroDivisionError):
            pass
        if folder == root:
            break
    return min(quotas, default=None)


def _quota_v1(root: Path) -> float | None:
    try:
        quota = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return quota / int((root / "cpu/cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
