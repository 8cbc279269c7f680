"""Where a run's numbers come from: what it trained, by which command, at which commit."""

import shlex
from collections.abc import Mapping, Set
from dataclasses import fields
from pathlib import Path
from typing import Any

from distill import cli
from distill.config import DistillConfig
from distill.options import PLACES
from distill.provenance import commit_of
from distill.run_folder import CONFIG, name_of, read_run
from distill.schedules import LinearSchedule
from distill.settings import from_mapping, info_of
from distill.teacher_config import TeacherConfig
from distill.teacher_files import is_teacher

TEACHER_NETWORK, PPO_KIND = "nature", "PPO "
FOUND = {"env", "network", "teacher_chkpt"}  # settings that a command need not give: it finds them
THEN = ", then "  # before what lengthened a run, in its command


def read_origin(run_dir: Path) -> dict[str, Any]:
    """Return the fields of a record that say where a run's numbers come from.

    Raises:
        FileNotFoundError: if it is not a run.
        ValueError: if its config.yaml is damaged.
    """
    record = read_run(run_dir, flag="--collect")
    settings = record["settings"]
    try:
        return {
            "run": name_of(run_dir),
            "kind": kind_of(settings),
            "env_id": settings["env"],
            "seed": int(settings["seed"]),
            "commit": commit_of(record),
            "machine": record["machine"],
            "command": command_of(record, run_dir),
        }
    except KeyError as error:
        raise ValueError(f"{run_dir / CONFIG} is damaged: it lacks {error}") from None


def kind_of(settings: Mapping[str, Any]) -> str:
    """Name what was trained: `plain` and `curious` students, a `teacher`, or PPO of another size.

    A student of no teacher, as PPO's from scratch or curiosity's alone, is `untaught`. PPO has the
    name of its network, and of what it began with and stayed near, if anything: `PPO net3`, `PPO
    net3 from a student, kickstarted`.
    """
    if "student" in settings:
        if LinearSchedule.parse(str(settings.get("w_distill", 1))).is_zero:
            return "untaught"
        return "curious" if settings.get("use_curiosity") else "plain"
    network = settings.get("network", TEACHER_NETWORK)
    first = settings.get("init_from")
    begun = f" from a {'teacher' if is_teacher(Path(first)) else 'student'}" if first else ""
    if network == TEACHER_NETWORK and begun != " from a student":
        return "teacher"
    near = ", kickstarted" if settings.get("kickstart") else ""
    return f"{PPO_KIND}{network}{begun}{near}"


def small_network_of(kind: str) -> str | None:
    """Return the network that a kind's name says PPO trained; None if it is not of that sort."""
    return kind.split()[1].rstrip(",") if kind.startswith(PPO_KIND) else None


def command_of(record: dict[str, Any], run_dir: Path) -> str:
    """Return the words that a run was started with, and those that lengthened it.

    In place of a file of settings, which may change or be gone, are the settings themselves; and
    settings that were defaults then and are none any more are added.

    Args:
        record: its config.yaml.
        run_dir: its folder.
    """
    argv = list(map(str, record["argv"]))
    given = {part for word in argv for part in parts_of(word)}
    if "settings" in record:
        cls = DistillConfig if "student" in record["settings"] else TeacherConfig
        if "--config" in given:
            argv = cli.to_argv(from_mapping(cls, first_settings(record), origin=str(run_dir)))
        else:
            argv += defaults_of_then(cls, first_settings(record), given)
    begun = shlex.join(without_places(argv))
    later = [
        f"{change['total_steps']} --resume {name_of(run_dir)}"
        for change in record.get("lengthened", [])
    ]
    return THEN.join([begun, *later])


def defaults_of_then(
    cls: type[DistillConfig | TeacherConfig], settings: dict[str, Any], given: Set[str]
) -> list[str]:
    """Spell the settings that a command of another version left at what is no default any more."""
    try:
        cfg = from_mapping(cls, settings, origin="")
    except ValueError:  # some of them are gone, so that no command gives them all
        return []
    left = {
        f.name
        for f in fields(cls)
        if not info_of(f).positional and not {f"--{f.name}", f"--no-{f.name}"} & given
    }
    return cli.to_argv(cfg, left - FOUND)


def first_settings(record: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a run was started with, before it was lengthened."""
    first = next(iter(record.get("lengthened", [])), {})
    total = {"total_steps": first["total_steps_before"]} if "total_steps_before" in first else {}
    return record["settings"] | total


def without_places(argv: list[str]) -> list[str]:
    """Drop from a command line where things lay on one machine, and how many threads it had."""
    places = [f"--{name}" for name in PLACES]
    words = [part for word in argv for part in parts_of(word)]
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in places and before not in places
    ]
    return [name_alone(word) for word in kept]


def parts_of(word: str) -> list[str]:
    """Take `--name=value` for what it is, two words; leave any other."""
    return word.split("=", 1) if word.startswith("--") else [word]


def name_alone(word: str) -> str:
    """Keep the name alone of a file, whose place is one machine's; leave any other word."""
    return Path(word).name if Path(word).is_absolute() else word
