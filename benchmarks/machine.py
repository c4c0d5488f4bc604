"""The machine that figures were measured on."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def conditions(module: str) -> dict[str, str]:
    """Return the command, time and machine, with which every file of figures begins."""
    return {
        "command": " ".join([f"python -m {module}", *sys.argv[1:]]),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }


def processor() -> str:
    """Return the processor's name, if the system states it."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")
