"""Where a result came from: commit, versions, machine."""

import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from distill.device import describe_machine

ROOT = Path(__file__).resolve().parent.parent
TEACHERS = ROOT / "teachers"  # those that ship
PACKAGES = ("numpy", "gymnasium", "ale-py", "stable-baselines3")


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def provenance(device: str = "auto", precision: str = "auto") -> dict[str, Any]:
    """Return commit, whether the tree differed from it, versions and machine, as plain values.

    `device` and `precision` are the settings of what ran.

    The commit is None where the program is not in a git checkout. Files of one's own beside the
    program, teachers above all, are no difference: runs name theirs.
    """
    status = _git("status", "--porcelain")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else any(map(_is_change, status.splitlines())),
        # Its own word tells a CUDA build from one for the CPU, its package's name may not.
        "versions": {"torch": str(torch.__version__)} | {name: version(name) for name in PACKAGES},
        "machine": describe_machine(device, precision),
    }


def _is_change(line: str) -> bool:
    """Tell by a line of git's status whether the program may differ from its commit.

    Untracked, it is changed by a module alone, or by a folder, which may hold some.
    """
    if not line.startswith("?? "):
        return True
    path = line.removeprefix("?? ").strip('"')
    return path.endswith((".py", "/")) and not path.startswith(f"{TEACHERS.name}/")


def commit_of(record: Mapping[str, Any], n_letters: int | None = None) -> str:
    """Return what `provenance` recorded: the commit, or so many letters of it.

    Marked where the tree differed from it; `unknown` outside a git checkout.
    """
    if record["commit"] is None:
        return "unknown"
    return f"{record['commit'][:n_letters]}{'-dirty' if record.get('dirty') else ''}"
