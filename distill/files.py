"""Files: writes that leave the old or the new one whole whenever the process dies; JSON; locks."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def check_folder(folder: Path, *, flag: str) -> None:
    """Refuse a folder, which `flag` named, that nothing could be kept in.

    Raises:
        ValueError: if it is none, or cannot be written to or made.
    """
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not there.is_dir():
        raise ValueError(f"{flag} must be a folder, got {folder}: {there} is a file")
    if not os.access(there, os.W_OK):
        raise ValueError(f"{flag} must be a folder to write to, got {folder}: {there} is not")


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place.

    Raises:
        OSError: if it cannot be written (full disk, read-only folder); `path` is as it was.
    """
    # The suffix stays last: some writers choose a format by it, or append it where it is missing.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _flush_to_disk(temporary)
        temporary.replace(path)
        _flush_to_disk(path.parent)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # that of the write says more
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed amid a write left in a folder that nobody writes to.

    That of a checkpoint is as large as one, and hidden.
    """
    for path in folder.glob(".*"):
        if re.fullmatch(r"\.[^.]+\.\d+\.\w+", path.name):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a JSON file atomically: a line a key, each list of numbers on one line."""
    text = json.dumps(record, indent=1)
    # Strings hold no line breaks in JSON, so that this meets lists only.
    one_line = re.sub(r"\[\n([\s\d.,eE+-]*)\]", lambda f: f"[{' '.join(f[1].split())}]", text)
    write_text(path, one_line + "\n")


def print_for_programs(record: Mapping[str, Any]) -> None:
    """Print a record as one line of JSON, unless on a terminal, whose table it would push away."""
    if not sys.stdout.isatty():
        sys.stdout.write(f"{json.dumps(record)}\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is damaged, naming it.
    """
    try:
        record = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path} is damaged: it is not a JSON object")
    return record


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder; false while another process holds the lock, unless to wait."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def lock_folder(folder: Path, *, wait: bool = False) -> int:
    """Lock a folder against other processes that would lock it, too.

    Args:
        folder: what to lock.
        wait: until another process that holds the lock lets go.

    Returns:
        The descriptor that holds the lock, until it is closed or the process ends.

    Raises:
        ValueError: if another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    if not lock(descriptor, wait=wait):
        os.close(descriptor)
        raise ValueError(f"{folder} is being written by another process")
    return descriptor


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder's lock within; arguments and errors as of `lock_folder`."""
    descriptor = lock_folder(folder, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
