"""Every setting of the commands that run studies and probe teachers. One dataclass a command."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from distill.options import device_option, seed_option, threads_option
from distill.parsing import MAX_GAMES, count, flag, nonnegative_int, positive_int, threads
from distill.settings import check, option
from distill.study.grids import GRIDS
from distill.teacher_files import OWN_TEACHERS

STUDY_SUFFIXES = (".yaml", ".yml")  # of a study of one's own


def _grid(text: str) -> str:
    if Path(text).suffix not in STUDY_SUFFIXES and text not in GRIDS:
        raise ValueError(f"one of {', '.join(GRIDS)}, or a .yaml file")
    return text


class Shard(NamedTuple):
    """One of `n` equal parts of a study, counted from 1."""

    part: int
    n: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `i/n`."""
        match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError("i/n with i from 1 to n, such as 2/3")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.part}/{self.n}"


@dataclass(frozen=True)
class CompareConfig:
    """Settings of scripts/compare.py."""

    grid: str = option(
        "curiosity", f"study to run, one of {', '.join(GRIDS)}, or a .yaml file of your own", _grid
    )
    out: Path = option(Path("runs/study"), "folder of the runs, shared by all grids", Path)
    workers: int | None = option(None, "runs at a time (default: one a core)", positive_int)
    n_threads: int = option(1, "threads of each run", threads)
    device: str = device_option("; of each run, and many that share a GPU are slowed by it")
    retries: int = option(1, "further attempts at a run that fails", nonnegative_int)
    shard: Shard = option(Shard(1, 1), "part of the grid to run, i/n", Shard.parse)
    known: Path | None = option(
        None, "leave out runs that this file has, such as scripts/results/distillation.csv", Path
    )
    dry_run: bool = option(False, "list the runs and start none", flag)
    teachers_dir: Path = option(OWN_TEACHERS, "folder with the graded teachers", Path)

    def __post_init__(self) -> None:
        check(self)

    @property
    def study_file(self) -> Path | None:
        """The file of a study of one's own, if it is one."""
        return None if self.grid in GRIDS else Path(self.grid)

    @property
    def name(self) -> str:
        """What the study is called."""
        return Path(self.grid).stem


@dataclass(frozen=True)
class ProbeConfig:
    """Settings of scripts/probe_uncertainty.py."""

    n_games: int = option(32, "games played in parallel, at least 2", count(2, most=MAX_GAMES))
    n_states: int = option(128, "states of each game that are looked at, at least 2", count(2))
    every_steps: int = option(8, "steps between two of them", positive_int)
    seed: int = seed_option(0)
    n_threads: int | None = threads_option()
    out: Path | None = option(
        None,
        "folder for uncertainty.csv and uncertainty.png (default: where README has them from)",
        Path,
    )

    def __post_init__(self) -> None:
        check(self)
