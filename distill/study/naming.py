"""Runs told by their commands: which is which, and names made of their settings."""

import re
from collections.abc import Container
from dataclasses import fields
from typing import Protocol

from distill.origins import THEN
from distill.parsing import flag
from distill.settings import info_of
from distill.teacher_config import TeacherConfig

BOOLEANS = {f.name for f in fields(TeacherConfig) if info_of(f).parse is flag}  # take no value
USUAL_CORES = 2  # at most, of the machines that most recorded times are of


class OnRecord(Protocol):
    """What is on record of a run."""

    @property
    def kind(self) -> str:
        """As `kind_of` calls it."""
        ...

    @property
    def env_id(self) -> str:
        """Its game."""
        ...

    @property
    def machine(self) -> str:
        """As `provenance` describes it."""
        ...

    @property
    def command(self) -> str:
        """As `command_of` gives it."""
        ...


def begun(command: str) -> str:
    """Return what a run was started with, without what lengthened it."""
    return command.split(THEN)[0]


def lengthened_in(command: str) -> list[str]:
    """Say to what a run was lengthened, each time; empty if it was not."""
    _, *later = command.split(THEN)
    return [f"then to {int(words.split()[0]):,} steps" for words in later]


def is_same_run(one: OnRecord, other: OnRecord) -> bool:
    """Whether what is on record of two runs of one name is of one, be it lengthened in between."""
    return (one.env_id, begun(one.command)) == (other.env_id, begun(other.command))


def was_float32(machine: str) -> bool:
    """Whether a machine, as it was described, computed in float32; else bfloat16 is assumed."""
    return "(float32)" in machine


def sets_apart(machine: str) -> str:
    """Name what makes times of a machine, as it was described, not compare with most.

    Those are of one or two cores with bfloat16, of which there is nothing to name.
    """
    if was_float32(machine):
        return "float32"
    found = re.search(r"(\d+) cores(, (?!torch))?", machine)
    if found is None or (found[2] is None and int(found[1]) <= USUAL_CORES):
        return ""
    return f"{found[1]} cores" if found[2] is None else "GPU"


def is_float32(run: OnRecord) -> bool:
    """Whether a run computed in float32: as asked, or on a machine without bfloat16."""
    return was_float32(run.machine) or "--precision float32" in run.command


def name_of_small(run: OnRecord) -> str:
    """Name the settings of a run of PPO at a student's size, but for its game, seed and length.

    What was lengthened is told: its schedules were not one.
    """
    told = ("env", "network", "init_from", "kickstart", "seed", "precision")  # by kind, or below
    precision = ["in float32"] if is_float32(run) else []
    settings = settings_in(begun(run.command), but=told)
    return ", ".join([run.kind, *settings, *precision, *lengthened_in(run.command)])


def settings_in(command: str, *, but: Container[str]) -> list[str]:
    """List the settings of a command, but for those of some names."""
    found = re.findall(r"--(\S+)(?: ([^-\s]\S*))?", command)
    return [setting_text(name, value) for name, value in found if name not in but]


def setting_text(name: str, value: str) -> str:
    """Write a setting; of a teacher to go on from, where its steps ended."""
    if name.removeprefix("no-") in BOOLEANS:  # a word behind it is another argument
        return name
    if name == "init_from" and (steps := re.search(r"n_iters(\d+)\.zip", value)):
        return f"from step {int(steps[1]):,}"
    return f"{name} {value}".strip()
