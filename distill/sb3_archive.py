"""Open a zip of stable-baselines3 that may be damaged or hostile: weights and plain values only.

Only `policy.pth` is loaded, by torch's weights-only reader; `data` is parsed as plain JSON and may
be missing. Whatever the bytes claim, they make us hold no more than is said here.
"""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.teacher_files import NETWORK_SUFFIXES, is_teacher

# What a file may make us hold in memory, whatever its compression claims.
MAX_POLICY_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 16 * 2**20
MAX_NAMES = 3  # of files in an error

# What zipfile and json raise on damaged or hostile bytes; RuntimeError if encrypted or too deep.
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)


def read_archive(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a zip's state dict, and the plain values of its header; runs nothing in it.

    Raises:
        ValueError: if it cannot be read so, saying what it is.
    """
    if not path.is_file():
        raise ValueError(f"is not a file{_hint_at_networks(path)}")
    if not is_teacher(path):
        raise ValueError("is a student")
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except _READ_ERRORS:
            raise ValueError("is not a zip, or not a whole one") from None
        if "policy.pth" not in archive.namelist():
            raise ValueError("holds no policy.pth")
        policy = _read_member(archive, "policy.pth", MAX_POLICY_BYTES)
        return _load_state(policy), _read_header(archive)


def steps_in_header(path: Path) -> int:
    """Return the steps that stable-baselines3 wrote into a zip it trained; 0 if it does not say.

    Raises:
        ValueError: as `read_archive`.
    """
    steps = read_archive(path)[1].get("num_timesteps")
    return steps if type(steps) is int and steps > 0 else 0  # JSON's true is an int, too


def _hint_at_networks(folder: Path) -> str:
    """Name what a folder holds that could have been meant: a run's student, say."""
    names = sorted(path.name for path in folder.glob("*.*") if path.suffix in NETWORK_SUFFIXES)
    if not names:
        return ""
    more = " ..." if len(names) > MAX_NAMES else ""
    return f", but a folder with {', '.join(names[:MAX_NAMES])}{more}"


def _read_member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    info = archive.getinfo(name)
    # Other methods can ask for gigabytes of dictionary before they yield the first byte.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compresses {name} in a way stable-baselines3 never does")
    if info.file_size > max_bytes:
        size = f"{info.file_size / 2**20:,.0f} MiB"
        raise ValueError(f"declares {name} as {size}, over {max_bytes / 2**20:.0f} MiB")
    try:
        with archive.open(info) as member:
            return member.read(max_bytes)  # ends at the declared size, whatever the stream holds
    except _READ_ERRORS:
        raise ValueError(f"is damaged: {name} cannot be read") from None


def _read_header(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the plain values of `data`, an empty dict if there is none that can be read."""
    try:
        text = _read_member(archive, "data", MAX_HEADER_BYTES)
        header = json.loads(text, object_hook=_drop_pickles)
    except (KeyError, *_READ_ERRORS):  # nothing in it is needed
        return {}
    return header if isinstance(header, dict) else {}


def _drop_pickles(mapping: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != ":serialized:"}


def _load_state(policy: bytes) -> dict[str, Tensor]:
    """Read a state dict's tensors without running what else the bytes may hold."""
    try:
        members = zipfile.ZipFile(io.BytesIO(policy)).infolist()
    except _READ_ERRORS:
        raise ValueError("is damaged: policy.pth is no PyTorch archive") from None
    # torch inflates members without a limit, but never compresses any itself.
    stored = all(m.compress_type == zipfile.ZIP_STORED for m in members)
    if not stored or sum(m.file_size for m in members) > MAX_POLICY_BYTES:
        raise ValueError("has a policy.pth that would unpack to more than it is")
    try:
        state = torch.load(io.BytesIO(policy), map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes make the unpickler raise anything
        raise ValueError(
            "has a policy.pth that is damaged or holds more than weights; nothing in it was run"
        ) from error
    if not isinstance(state, dict) or not all(map(_is_plain, state.values())):
        raise ValueError("has a policy.pth that is not a state dict")
    # detach drops the attributes that a file can hang on a tensor.
    return {str(key): torch.detach(value) for key, value in state.items()}


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and not value.is_nested
        and value.layout == torch.strided
        and value.device.type == "cpu"  # not "meta": shapes without numbers
    )
