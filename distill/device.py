"""The machine under the program: device, precision, threads, and the C allocator."""

import ctypes
import os
import platform
import sys

import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")
OLD_MMAP_LIMIT = 1 << 25  # bytes, the largest M_MMAP_THRESHOLD that older versions of glibc take


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` takes CUDA if there is one, else the CPU.

    Raises:
        ValueError: if the device is not there.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present[name]:
        there = ", ".join(k for k, v in present.items() if v)
        raise ValueError(f"--device {name} is not available here; there is: {there}")
    return torch.device(name)


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself; emulated, it is slower than float32."""
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type that encoders compute in; heads, losses and optimizer stay float32."""
    if name == "auto":
        name = "bfloat16" if has_native_bfloat16(device) else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def prepare_process(n_threads: int | None = None) -> None:
    """Set the number of torch threads, flush denormal numbers, and keep large blocks of memory.

    Once more does no harm: the number of threads may be known later than the rest is needed.

    Where a student is near its teacher, gradients fall below the least normal number, and some
    processors take a hundred cycles and more for an operation on such: they count as 0. OpenMP's
    threads inherit that from the one that starts them, so that this comes before a network is read.

    glibc hands every batch-sized tensor back to the kernel when it is freed and faults it in again
    when the next one is made. Raising the thresholds (M_TRIM_THRESHOLD -1, M_MMAP_THRESHOLD -3)
    keeps the pages. The first call alone would be worse than nothing, as it ends glibc's own
    adapting, and older versions take no more than OLD_MMAP_LIMIT in the second (mallopt(3)).
    Linux with glibc only; elsewhere it does nothing.
    """
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-1, 1 << 30)
        if not libc.mallopt(-3, 1 << 30):
            libc.mallopt(-3, OLD_MMAP_LIMIT)


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_machine(device_name: str = "auto", precision: str = "auto") -> str:
    """Name the processor, its cores for this process, the GPU if it computes, and in what type.

    Args:
        device_name: `--device` of what ran; `auto` is what most run on.
        precision: its `--precision`.
    """
    cores = n_cores()
    cpu = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    device = resolve_device(device_name)
    computes = f" ({str(resolve_precision(precision, device)).removeprefix('torch.')})"
    where = f"{cpu}{computes}, {cores} cores"
    if device.type == "cuda":
        where = f"{cpu}, {cores} cores, {torch.cuda.get_device_name()}{computes}"
    return f"{where}, torch {torch.__version__}"
