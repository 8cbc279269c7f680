"""A run's folder: config.yaml with settings, command line and provenance, and result.json."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from distill.files import digest_of, read_json, write_text
from distill.provenance import provenance
from distill.settings import Settings, read_yaml, to_mapping

CONFIG, RESULT = "config.yaml", "result.json"


def time_stamp() -> str:
    """Return the time, UTC, as names of runs and teachers carry it."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}"


def name_of(run_dir: Path) -> str:
    """Return a run's name, its folder's, however the folder was called: `.`, or by a link."""
    return run_dir.resolve().name


def unused(folder: Path) -> Path:
    """Return this path, with the first number behind it that no folder has if there is such one."""
    path, n = folder, 1
    while path.exists():
        n += 1
        path = folder.with_name(f"{folder.name}_{n}")
    return path


def resume_command(program: str, run_dir: Path) -> str:
    """Return the command line that goes on with a run, to be pasted into a shell."""
    return f"python {program} --resume {shlex.quote(str(run_dir))}"


def create_run(
    run_dir: Path,
    cfg: Settings,
    *,
    made_by: Mapping[str, Any] | None = None,
    files: Mapping[str, Path] | None = None,
    first_step: int | None = None,
) -> dict[str, Any]:
    """Make the folder of a new run, and config.yaml: settings, command line and provenance.

    Args:
        run_dir: the folder.
        cfg: the settings.
        made_by: what `provenance` says of a run by these settings, if not by the default ones.
        files: those that the run reads again when it is resumed, by setting.
        first_step: where a teacher's begins, which may go on from another.

    Returns:
        What was written.

    Raises:
        FileExistsError: if there is such a folder; a run's folder is never used twice.
    """
    try:
        run_dir.mkdir(parents=True)
    except FileExistsError:
        raise FileExistsError(
            f"--run_dir {run_dir} exists; name a new folder, or continue it by --resume {run_dir}"
        ) from None
    except OSError as error:
        raise OSError(f"cannot create --run_dir {run_dir}: {error.strerror}") from error
    started = datetime.now(UTC).isoformat()
    try:
        record = {"settings": to_mapping(cfg), "started": started, "argv": sys.argv[1:]}
        record |= provenance() if made_by is None else made_by
        if first_step is not None:
            record["first_step"] = first_step
        if files:
            record["sha256"] = {name: digest_of(path) for name, path in files.items()}
        write_text(run_dir / CONFIG, yaml.safe_dump(record, sort_keys=False))
    except BaseException:  # an empty folder would only be in the way of starting again
        shutil.rmtree(run_dir, ignore_errors=True)
        raise
    return record


def digests_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the SHA-256 of the files that a run began with, by setting; old ones do not say."""
    digests = record.get("sha256")
    return digests if isinstance(digests, dict) else {}


def check_files(run_dir: Path, record: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Check that the files that a resumed run reads are those that it began with.

    Args:
        run_dir: its folder.
        record: its config.yaml; those of earlier versions do not say.
        files: by setting.

    Raises:
        FileNotFoundError: if one is not there.
        ValueError: if one has been replaced since.
    """
    known = digests_in(record)
    for name, path in files.items():
        if not path.is_file():
            raise FileNotFoundError(
                f"--resume {run_dir} needs --{name} {path}, which is not there: it was moved, or"
                " the run was started in another folder"
            )
        if known.get(name) not in (None, digest_of(path)):
            raise ValueError(
                f"--resume {run_dir} began with another --{name} than {path} is now: put the old"
                " file back, or begin a new run"
            )


def lengthen_run(
    run_dir: Path, total_steps: int, at_step: int, *, made_by: Mapping[str, Any] | None = None
) -> None:
    """Write into a run's config.yaml that from `at_step` on it goes to another total, if so.

    `made_by` is as in `create_run`.
    """
    path = run_dir / CONFIG
    record = yaml.safe_load(path.read_text())  # numbers as such, unlike `read_run`
    before = record["settings"]["total_steps"]
    if before == total_steps:
        return
    record["settings"]["total_steps"] = total_steps
    change = {"at_step": at_step, "total_steps_before": before, "total_steps": total_steps}
    change |= provenance() if made_by is None else made_by
    record["lengthened"] = [*record.get("lengthened", []), change]
    write_text(path, yaml.safe_dump(record, sort_keys=False))


def read_run(run_dir: Path, *, flag: str = "--resume") -> dict[str, Any]:
    """Return what `create_run` wrote; `flag` is what named the folder.

    Raises:
        FileNotFoundError: if the folder is not a run.
        ValueError: if its config.yaml is damaged.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{flag} {run_dir} is not a run folder: it has no config.yaml")
    record = read_yaml(path)
    if not isinstance(record.get("settings"), dict):
        raise ValueError(f"{path} holds no settings of a run")
    _check_steps(path, record)
    return record


def _check_steps(path: Path, record: Mapping[str, Any]) -> None:
    """Check what a record says of a run's steps, if it does: a first one, and later totals."""
    first, later = record.get("first_step", "0"), record.get("lengthened", [])
    if not str(first).isdecimal():
        raise ValueError(f"{path} is damaged: `first_step` must be a whole number, got {first!r}")
    if not isinstance(later, list) or not all(
        isinstance(change, dict) and "total_steps" in change for change in later
    ):
        raise ValueError(f"{path} is damaged: `lengthened` must list total_steps, got {later!r}")


def started_at(run_dir: Path, record: Mapping[str, Any]) -> datetime:
    """Return when a run was first started.

    Raises:
        ValueError: if its config.yaml, the record, does not say.
    """
    try:
        return datetime.fromisoformat(record["started"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{run_dir / CONFIG} is damaged: `started` must be a date and time, got"
            f" {record.get('started')!r}"
        ) from None


def read_result(run_dir: Path) -> dict[str, Any] | None:
    """Return what a distillation that came to its end left in result.json; None for other runs.

    Raises:
        ValueError: if the file is damaged.
    """
    path = run_dir / RESULT
    return read_json(path) if path.is_file() else None
