"""Checkpoints of runs, the last two kept, read without pickle."""

import shutil
import sys
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from distill import cli
from distill.errors import is_out_of_memory
from distill.files import locked, write_atomically
from distill.options import OF_THE_MACHINE
from distill.run_folder import CONFIG, read_run, resume_command
from distill.settings import SettingsT, from_mapping

NAMES = ("checkpoint.pt", "checkpoint_previous.pt")
NEW = "checkpoint_new.pt"  # until the others have made room for it
NEWEST_FIRST = (NEW, *NAMES)
FORMAT = 3  # of what is saved; another number whenever that changes


def save_run(run_dir: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays as checkpoint_previous.pt.

    Args:
        run_dir: folder of the run.
        state: tensors, numbers, strings and containers of them, nothing that needs pickle to load.

    Raises:
        OSError: if it cannot be written; the last checkpoint is intact.
    """
    newest, previous = (run_dir / name for name in NAMES)
    written = run_dir / NEW
    write_atomically(written, lambda path: _save({**state, "format": FORMAT}, path))
    if newest.exists():
        newest.replace(previous)
    written.replace(newest)


def _save(state: dict[str, Any], path: Path) -> None:
    try:
        torch.save(state, path)
    except RuntimeError as error:  # torch reports a failed write so, without the system's reason
        reason = str(error).splitlines()[0]
        cut_short = "the write was cut short, is the disk full?"
        raise OSError(cut_short if "enforce fail" in reason else reason) from error


def can_resume(run_dir: Path) -> bool:
    """Whether a run has a checkpoint to go on from."""
    return any((run_dir / name).is_file() for name in NEWEST_FIRST)


def load_run(run_dir: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the newest checkpoint that is whole.

    Returns:
        The state, on the CPU, and a warning for each checkpoint that was damaged.

    Raises:
        FileNotFoundError: if there is none to read.
        ValueError: if another version of this program wrote it.
    """
    warnings = []
    for name in NEWEST_FIRST:
        path = run_dir / name
        if not path.exists():
            continue
        try:
            state = _load(path)
        except Exception as error:  # there is no end to what its readers raise at a damaged file
            if is_out_of_memory(error):
                raise
            reason = str(error).split("\n")[0]
            warnings.append(f"{path} is damaged ({reason}); trying the checkpoint before it")
            continue
        if state.pop("format", None) != FORMAT:
            raise ValueError(
                f"--resume {run_dir} was written by another version of this program, which alone"
                " can go on with it"
            )
        return state, warnings
    raise FileNotFoundError(
        f"--resume {run_dir} has no whole checkpoint: start the run again in a new folder"
    )


def _load(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:  # what torch writes; it does not look at the checksums
        if damaged := archive.testzip():
            raise ValueError(f"wrong checksum of {damaged}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise TypeError("it is not a mapping")
    return state


def saved_settings(
    asked: cli.Asked[SettingsT], run_dir: Path, *, beside: Collection[str] = ()
) -> tuple[SettingsT, dict[str, Any]]:
    """Find the run to resume.

    Args:
        asked: `resume` alone, and what belongs to the machine.
        run_dir: the run's folder.
        beside: further settings that may be asked for; the caller sees to them.

    Returns:
        The settings that the run was started with, and what else its folder records.

    Raises:
        FileNotFoundError, ValueError: if it is no run, or more is asked for.
    """
    cfg, names = asked
    here = {name: getattr(cfg, name) for name in OF_THE_MACHINE if name in names}
    if others := names - {"resume", *here, *beside}:
        flags = cli.flags(cfg, others)
        more = f" and {len(flags) - 3} more" if len(flags) > 3 else ""  # all of a --config, perhaps
        shown = ", ".join(flags[:3]) + more
        raise ValueError(f"--resume {run_dir} brings its own settings, got {shown} too")
    record = read_run(run_dir)
    origin = f"{run_dir / CONFIG}, which may be another command's,"
    saved = from_mapping(type(cfg), record["settings"], origin=origin)
    return replace(saved, **here), record


def reopen(
    asked: cli.Asked[SettingsT], run_dir: Path, *, beside: Collection[str] = ()
) -> tuple[SettingsT, dict[str, Any], dict[str, Any]]:
    """Find the run to resume, and say on standard error which checkpoints were damaged.

    Returns:
        What `saved_settings` does, whose arguments these are, and the checkpoint to continue from.

    Raises:
        FileNotFoundError, ValueError: as there, and if it has no checkpoint, its command line is
            gone, or another process is at it, whose next checkpoint would be that to continue from.
    """
    saved, record = saved_settings(asked, run_dir, beside=beside)
    with locked(run_dir):
        state, warnings = load_run(run_dir)
    sys.stderr.writelines(f"{warning}\n" for warning in warnings)
    if not isinstance(record.get("argv"), list):
        raise ValueError(f"{run_dir / CONFIG} is damaged: it lacks 'argv'")
    return saved, record, state


@contextmanager
def resumable(program: str, run_dir: Path, *, is_new: bool) -> Iterator[None]:
    """Say how to go on with a run that is stopped within, or that cannot write.

    The folder of a new one that has no checkpoint yet is removed: with nothing to go on from, it
    would only be in the way of starting again.
    """
    try:
        yield
    except BaseException as stop:
        then = f"continue with: {resume_command(program, run_dir)}"
        if is_new and not can_resume(run_dir):
            shutil.rmtree(run_dir, ignore_errors=True)
            then = "start again: it was stopped before its first checkpoint"
        if isinstance(stop, KeyboardInterrupt):
            with suppress(OSError):  # nobody may be there to read it
                sys.stderr.write(f"\n{str(stop) or 'stopped'}; {then}\n")
        if isinstance(stop, OSError):
            raise type(stop)(f"{stop}; {then}") from None
        raise


@contextmanager
def restoring(run_dir: Path) -> Iterator[None]:
    """Say in one line that a checkpoint is not of the settings in its folder.

    Raises:
        ValueError: for whatever goes wrong within, but for a lack of memory.
    """
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(
            f"--resume {run_dir} has a checkpoint of other settings than its config.yaml: {reason}"
        ) from None
