"""Every setting of the commands that measure, show and compare. One dataclass a command."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from distill.config import DistillConfig
from distill.options import (
    DEFAULT_ENV,
    NETWORKS,
    device_option,
    env_option,
    precision_option,
    seed_option,
    threads_option,
)
from distill.parsing import (
    MAX_GAMES,
    Parse,
    count,
    flag,
    nonnegative_int,
    number,
    parallel_games,
    positive,
    positive_int,
    threads,
)
from distill.settings import check, option
from distill.teacher_files import NETWORK_SUFFIXES, OWN_TEACHERS
from distill.types import WIDTHS, Widths, parse_widths

FULLY_SCORED = (  # studies scored over as many games as teachers
    *("best", "best_losses", "temperatures", "students", "updates", "states", "methods"),
    *("budgets", "teachers", "breakout", "curiosity_breakout"),
)
HALF_SCORED = (  # over half as many
    *("initialization", "losses", "actors", "sampling", "settings", "encoder", "bonus"),
    *("curiosity", "curiosity_defaults", "weighting"),
)
GRIDS = (*FULLY_SCORED, *HALF_SCORED)
BENCH_PARTS = (
    *("emulator", "labels", "update", "update_512"),
    *("loop", "loop_1", "loop_curious", "loop_uncertain"),
    *("ppo", "ppo_preset", "sb3"),
)


STUDY_SUFFIXES = (".yaml", ".yml")  # of a study of one's own


def _grid(text: str) -> str:
    if Path(text).suffix not in STUDY_SUFFIXES and text not in GRIDS:
        raise ValueError(f"one of {', '.join(GRIDS)}, or a .yaml file")
    return text


def _bench_parts(text: str) -> str:
    if text != "all" and not set(text.split(",")) <= set(BENCH_PARTS):
        raise ValueError(f"all, or one or more of {','.join(BENCH_PARTS)}, separated by commas")
    return text


@dataclass(frozen=True)
class BenchConfig:
    """Settings of scripts/bench.py."""

    what: str = option(
        "all",
        f"parts to measure: all, or some of {','.join(BENCH_PARTS)}, separated by commas",
        _bench_parts,
    )
    env: str = env_option()
    repeats: int = option(5, "measurements of each part", positive_int)
    seconds: float = option(
        3.0, "shortest duration of a measurement (PPO's end with a whole rollout)", positive
    )
    n_envs: int = option(
        DistillConfig.n_envs,
        "games played in parallel by emulator and loop (each PPO plays its own settings')",
        parallel_games,
    )
    student: Widths = option(WIDTHS["net3"], NETWORKS, parse_widths)
    device: str = device_option()
    precision: str = precision_option()
    n_threads: int | None = threads_option()

    def __post_init__(self) -> None:
        check(self)

    @property
    def parts(self) -> list[str]:
        """Return the names of the parts to measure, in their one order."""
        chosen = BENCH_PARTS if self.what == "all" else self.what.split(",")
        return [name for name in BENCH_PARTS if name in chosen]


FILM_SUFFIXES = (".gif", ".mp4")


def _path(suffixes: tuple[str, ...], what: str) -> Parse:
    def parse(text: str) -> Path:
        if Path(text).suffix not in suffixes:
            raise ValueError(f"{what}, {' or '.join(suffixes)}")
        return Path(text)

    return parse


@dataclass(frozen=True)
class WatchConfig:
    """Settings of scripts/watch.py."""

    checkpoints: tuple[Path, ...] = option(
        (),
        "teachers (.zip) and students (.safetensors) to show side by side (default: the best"
        " teacher of the game in teachers/ and the newest student of it in runs/)",
        _path(NETWORK_SUFFIXES, "files of teachers or students"),
        positional=True,
        many=True,
    )
    env: str | None = option(
        None,
        f"game to play (default: the one of the checkpoints; without checkpoints {DEFAULT_ENV})",
        str,
    )
    out: Path = option(
        Path("runs/watch.gif"),
        "file to write, .gif or .mp4 (which needs the package av)",
        _path(FILM_SUFFIXES, "a file of a kind that can be written"),
    )
    n_steps: int = option(
        500,
        "agent steps to show, a picture each; a GIF takes 1 MB of memory for each",
        positive_int,
    )
    skip_steps: int = option(0, "agent steps played before those", nonnegative_int)
    fps: int = option(
        15,
        "steps shown a second, 1 to 50; 15 is the games' own speed",
        number(int, "a whole number from 1 to 50", lambda x: 1 <= x <= 50),
    )
    greedy: bool = option(False, "take the most probable action instead of sampling", flag)
    seed: int = seed_option(0)

    def __post_init__(self) -> None:
        check(self)


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
