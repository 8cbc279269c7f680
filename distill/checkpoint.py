"""Checkpoints of runs, the last two kept, read without pickle."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from distill.files import write_atomically

NAMES = ("checkpoint.pt", "checkpoint_previous.pt")


def save_run(run_dir: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays as checkpoint_previous.pt.

    Args:
        run_dir: folder of the run.
        state: tensors, numbers, strings and containers of them, nothing that needs pickle to load.

    Raises:
        OSError: if it cannot be written; the last checkpoint is intact.
    """
    newest, previous = (run_dir / name for name in NAMES)
    written = run_dir / "checkpoint_new.pt"
    write_atomically(written, lambda path: _save(state, path))
    if newest.exists():
        newest.replace(previous)
    written.replace(newest)


def _save(state: dict[str, Any], path: Path) -> None:
    try:
        torch.save(state, path)
    except RuntimeError as error:  # torch reports a failed write so
        raise OSError(str(error).splitlines()[0]) from error


def load_run(run_dir: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the newest checkpoint that is whole.

    Returns:
        The state, on the CPU, and a warning for each checkpoint that was damaged.

    Raises:
        FileNotFoundError: if there is none to read.
    """
    warnings = []
    for name in ("checkpoint_new.pt", *NAMES):
        path = run_dir / name
        if not path.exists():
            continue
        try:
            return torch.load(path, map_location="cpu", weights_only=True), warnings
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError, ValueError):
            warnings.append(f"{path} is damaged; trying the checkpoint before it")
    raise FileNotFoundError(f"--resume {run_dir} has no whole checkpoint: start the run again in a new folder")
