"""Checkpoints of runs, the last two kept, and files of students; both read without pickle."""

import json
import sys
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill import cli
from distill.files import write_atomically
from distill.networks import Student
from distill.parsing import number
from distill.settings import SettingsT, from_mapping, replace
from distill.tracking import read_run
from distill.types import parse_widths

NAMES = ("checkpoint.pt", "checkpoint_previous.pt")
FORMAT = 2  # of what is saved; another number whenever that changes
OF_THE_MACHINE = ("device", "n_threads")  # what a resumed run need not share with the one it was


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


def load_run(run_dir: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the newest checkpoint that is whole.

    Returns:
        The state, on the CPU, and a warning for each checkpoint that was damaged.

    Raises:
        FileNotFoundError: if there is none to read.
        ValueError: if another version of this program wrote it.
    """
    warnings = []
    for name in ("checkpoint_new.pt", *NAMES):
        path = run_dir / name
        if not path.exists():
            continue
        try:
            state = _load(path)
        except Exception as error:  # there is no end to what its readers raise at a damaged file
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
    return torch.load(path, map_location="cpu", weights_only=True)


def reopen(
    asked: cli.Asked[SettingsT], run_dir: Path, *, beside: Collection[str] = ()
) -> tuple[SettingsT, dict[str, Any], dict[str, Any]]:
    """Find the run to resume, and say on standard error which checkpoints were damaged.

    Args:
        asked: `resume` alone, and what belongs to the machine.
        run_dir: the run's folder.
        beside: further settings that may be asked for; the caller sees to them.

    Returns:
        The settings that the run was started with, what else its folder records, and the checkpoint
        to continue from.

    Raises:
        FileNotFoundError, ValueError: if it is no run, has no checkpoint, or more is asked for.
    """
    cfg, names = asked
    here = {name: getattr(cfg, name) for name in OF_THE_MACHINE if name in names}
    if others := names - {"resume", *here, *beside}:
        flags = ", ".join(cli.flags(cfg, others))
        raise ValueError(f"--resume {run_dir} brings its own settings, got {flags} too")
    record = read_run(run_dir)
    saved = from_mapping(type(cfg), record["settings"], origin=str(run_dir / "config.yaml"))
    state, warnings = load_run(run_dir)
    sys.stderr.writelines(f"{warning}\n" for warning in warnings)
    return replace(saved, **here), record, state


def save_student(path: Path, student: Student, metadata: dict[str, str]) -> None:
    """Write what is needed to act as safetensors, with the network's construction in the metadata.

    Args:
        path: the .safetensors to write.
        student: encoder and action head are kept, a value head is not.
        metadata: more to keep: teacher, env_id, steps, score.
    """
    construction = {
        "widths": ",".join(map(str, student.encoder.widths)),
        "n_actions": str(student.n_actions),
        "n_stack": str(student.encoder.n_stack),
    }
    state = student.state_dict()
    tensors = {k: v.cpu().contiguous() for k, v in state.items() if not k.startswith("value_net.")}
    content = _with_sorted_header(save(tensors, {**metadata, **construction}))
    write_atomically(path, lambda to: to.write_bytes(content))


def _with_sorted_header(content: bytes) -> bytes:
    """Sort a safetensors file's metadata, which the library writes in another order each time."""
    n_bytes = int.from_bytes(content[:8], "little")
    text = json.dumps(json.loads(content[8 : 8 + n_bytes]), sort_keys=True, separators=(",", ":"))
    header = text.encode() + b" " * (-len(text) % 8)  # tensors are aligned to 8 bytes
    return len(header).to_bytes(8, "little") + header + content[8 + n_bytes :]


def score_on_record(path: Path) -> float:
    """Return the score that a student was written with; -inf where there is no such student."""
    try:
        with safe_open(path, framework="pt") as file:
            return float((file.metadata() or {})["score"])
    except (SafetensorError, OSError, ValueError, KeyError):
        return float("-inf")


def load_student(
    path: Path, *, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[Student, dict[str, str]]:
    """Read a student.

    Returns:
        The network, computing in `dtype` on `device`, and its metadata.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a student that `save_student` wrote.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file; `python scripts/run_distillation.py` makes students"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        student = _construct(metadata, state, dtype)
    except (SafetensorError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a student of this program: {reason}") from None
    return student.to(device).eval(), metadata


def _construct(metadata: dict[str, str], state: dict[str, Tensor], dtype: torch.dtype) -> Student:
    """Build the network that the metadata describes, and hold every weight against it."""
    widths = _read(metadata, "widths", parse_widths)
    n_actions, n_stack = (_read(metadata, name, _size) for name in ("n_actions", "n_stack"))
    with torch.device("meta"):  # shapes only: random initial weights would move the caller's seed
        student = Student(widths, n_actions, n_stack=n_stack, dtype=dtype)
    wanted = {name: tuple(weight.shape) for name, weight in student.state_dict().items()}
    for name in sorted(wanted.keys() | state.keys()):
        got = tuple(state[name].shape) if name in state else None
        if got != wanted.get(name):
            raise ValueError(f"{name} has shape {got}, not {wanted.get(name)} as its metadata say")
        if not state[name].isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite")
    # Copied, since what was read still lies in the file.
    weights = {name: weight.to(torch.float32, copy=True) for name, weight in state.items()}
    student.load_state_dict(weights, assign=True)
    return student


_size = number(int, "a whole number from 1 to 4096", lambda x: 1 <= x <= 4096)


def _read(metadata: dict[str, str], name: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(metadata.get(name, ""))
    except ValueError as error:
        raise ValueError(f"its {name} must be {error}, got {metadata.get(name)!r}") from None
