"""Files of students: safetensors with the network's construction in the metadata."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.files import write_atomically
from distill.networks import ActorCritic
from distill.parsing import number
from distill.types import MAX_WIDTH, parse_widths


def save_student(path: Path, student: ActorCritic, metadata: dict[str, str]) -> None:
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
) -> tuple[ActorCritic, dict[str, str]]:
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


def _construct(
    metadata: dict[str, str], state: dict[str, Tensor], dtype: torch.dtype
) -> ActorCritic:
    """Build the network that the metadata describes, and hold every weight against it."""
    widths = _read(metadata, "widths", parse_widths)
    n_actions, n_stack = (_read(metadata, name, _size) for name in ("n_actions", "n_stack"))
    with torch.device("meta"):  # shapes only: random initial weights would move the caller's seed
        student = ActorCritic(widths, n_actions, n_stack=n_stack, dtype=dtype)
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


_size = number(int, f"a whole number from 1 to {MAX_WIDTH}", lambda x: 1 <= x <= MAX_WIDTH)


def _read(metadata: dict[str, str], name: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(metadata.get(name, ""))
    except ValueError as error:
        raise ValueError(f"its {name} must be {error}, got {metadata.get(name)!r}") from None
