"""Every setting of the commands that measure speed and show players. One dataclass a command."""

from dataclasses import dataclass
from pathlib import Path

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
    Parse,
    flag,
    nonnegative_int,
    number,
    parallel_games,
    positive,
    positive_int,
)
from distill.settings import check, option
from distill.teacher_files import NETWORK_SUFFIXES
from distill.types import WIDTHS, Widths, parse_widths

BENCH_PARTS = (
    *("emulator", "labels", "update", "update_512"),
    *("loop", "loop_1", "loop_curious", "loop_uncertain"),
    *("ppo", "ppo_preset", "sb3"),
)


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
