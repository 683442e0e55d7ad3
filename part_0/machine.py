"""What machine is this, and how fast is it beside the one that the lessons name?

Used   demo_environment.py, demo_pipeline.py (its estimates) and the report card
"""

import os
import platform

import torch
from runtime import time_layer

# `time_layer` at width 256 on the machine that the lessons name (2 cores of an AMD EPYC, Zen 5).
REFERENCE_LAYER_SECONDS = 0.0054


def processor_name() -> str:
    """The processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        return names[0] if names else platform.processor()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()


def total_memory_gb() -> float | None:
    """Main memory in GB, where the system tells it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def machine_slowness() -> float:
    """How many times slower than the reference machine a layer runs here (below 1: faster)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fastest = min(time_layer(256, dtype, device, repeats=20) for dtype in (None, torch.bfloat16))
    return fastest / REFERENCE_LAYER_SECONDS


def describe_machine() -> dict:
    """The lines about the machine that stand in a report."""
    memory = total_memory_gb()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"system": f"{platform.system()} {platform.release()}", "processor": processor_name(),
            "threads": torch.get_num_threads(), "memory_gb": memory and round(memory, 1),
            "gpu": gpu, "python": platform.python_version(), "torch": torch.__version__}
