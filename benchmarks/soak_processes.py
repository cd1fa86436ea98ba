"""What the kernel says of one process of the soak."""

from __future__ import annotations

import os
from pathlib import Path


def stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; nothing for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return fields if fields[0] not in "ZX" else []


def look_at(pid: int) -> dict[str, float] | None:
    try:
        fields = stat(pid)
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        return {
            "age_s": round(uptime_s - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 1),
            "rss_kib": memory_kib(pid, "status", "VmRSS:"),
            "pss_kib": memory_kib(pid, "smaps_rollup", "Pss:"),
            "descriptors": sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            "threads": int(fields[17]),
        }
    except (OSError, IndexError):  # it has just ended
        return None


def memory_kib(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
