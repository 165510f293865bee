"""What machine this is."""

import os
import platform
import re
from pathlib import Path

INTERESTING = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")


def cpu_flags(cpuinfo=None):
    """The instruction sets that the system names."""
    found = re.search(r"^flags\s*:(.*)$", _cpuinfo() if cpuinfo is None else cpuinfo, re.MULTILINE)
    return set(found[1].split()) if found else set()


def describe():
    cpuinfo = _cpuinfo()
    name = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    flags = cpu_flags(cpuinfo)
    numbers = {key: re.search(rf"^{key}\s*:\s*(\d+)", cpuinfo, re.MULTILINE) for key in ("cpu family", "model")}
    return {
        "cpu": name[1] if name else platform.machine(),
        "family_and_model": [int(found[1]) for found in numbers.values() if found],
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": [flag for flag in INTERESTING if flag in flags],
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.platform(),
    }


def _cpuinfo():
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
