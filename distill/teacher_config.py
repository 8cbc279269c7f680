"""Every setting of `ppo_teacher.py` and `eval_teacher.py`: default, unit, help, validation."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from distill.options import (
    NETWORKS,
    data_init_option,
    device_option,
    env_option,
    learning_rate_option,
    optimizer_option,
    precision_option,
    resume_option,
    run_dir_option,
    schedule,
    seed_option,
    threads_option,
)
from distill.parsing import (
    flag,
    fraction,
    nonnegative,
    parallel_games,
    positive,
    positive_int,
    steps,
)
from distill.protocol import EVAL_ENVS, EVAL_GAMES, EVAL_SEED
from distill.schedules import LinearSchedule
from distill.settings import check, option
from distill.teacher_files import OWN_TEACHERS
from distill.types import WIDTHS, Widths, parse_widths

MUON_STEPS = 3_000_000  # the longest run that Muon has by default; a longer one has Adam
LEARNING_RATES = MappingProxyType(
    {"muon": LinearSchedule(2.5e-4, 0.0), "adam": LinearSchedule(5e-4, 0.0)}
)


@dataclass(frozen=True)
class TeacherConfig:
    """Settings of ppo_teacher.py.

    The defaults are rl-zoo's Atari preset but for those that make it faster, per step and second
    (Muon, layers standardized on the first states, 16 games instead of 8, 2 epochs instead of 4, a
    clipping range that stays: where it falls beside the learning rate, updates all but stop long
    before the end), for the actions held at first, which Freeway's first reward needs, and for an
    entropy bonus that begins at three times the preset's and falls to 0, without which a Freeway
    player that always goes up tries nothing else. Muon is ahead at first and behind in the end, so
    that a run of more than MUON_STEPS has Adam, at a rate of its own (teachers/README.md). Once
    settings are made, these two are what was decided.
    """

    HEADINGS = MappingProxyType(
        {
            "env": "game and network",
            "n_envs": "rollouts and updates",
            "gamma": "PPO's loss",
            "repeat_probability": "exploration at first",
            "init_from": "networks to begin with or to stay near",
            "device": "machine",
            "checkpoint_steps": "what is kept",
        }
    )
    FOLLOWS = MappingProxyType({"learning_rate": "optimizer"})

    total_steps: int | None = option(
        None, "agent steps over all games, such as 1e7", steps, positional=True
    )
    env: str = env_option("; without it that of --init_from or --kickstart, where there is one")
    seed: int = seed_option(0)
    network: Widths = option(WIDTHS["nature"], NETWORKS, parse_widths)
    data_init: bool = data_init_option()
    n_envs: int = option(16, "games played in parallel", parallel_games)
    n_steps: int = option(128, "steps of each game between two updates", positive_int)
    batch_size: int = option(256, "samples in a minibatch", positive_int)
    n_epochs: int = option(2, "passes over each rollout", positive_int)
    optimizer: str = optimizer_option(
        None, f" (default: muon up to total_steps {MUON_STEPS:,}, adam beyond)"
    )
    learning_rate: LinearSchedule = learning_rate_option(
        None, f" (default: {', '.join(f'{rate} with {k}' for k, rate in LEARNING_RATES.items())})"
    )
    clip_range: LinearSchedule = schedule(
        0.1, 0.1, "PPO's clipping range", parse=LinearSchedule.parse_rate
    )
    gamma: float = option(0.99, "discount factor a step", fraction)
    gae_lambda: float = option(0.95, "GAE's lambda", fraction)
    w_value: float = option(0.5, "weight of the value loss", nonnegative)
    w_entropy: LinearSchedule = schedule(0.03, 0.0, "weight of the entropy bonus")
    max_grad_norm: float = option(0.5, "gradients are clipped to this norm", positive)
    repeat_probability: float = option(
        0.8, "probability at first that a game's last action is played again, to explore", fraction
    )
    repeat_steps: int = option(100_000, "steps over which that probability falls to 0", steps)
    init_from: Path | None = option(
        None,
        "student .safetensors or teacher .zip to go on from, at its size and without held actions;"
        " a teacher's steps count",
        Path,
    )
    warm_up_steps: int = option(
        50_000, "steps after a student's --init_from in which only the value head learns", steps
    )
    kickstart: Path | None = option(
        None, "teacher .zip to stay near by its KL (Schmitt et al. 2018)", Path
    )
    w_kickstart: LinearSchedule = schedule(1.0, 0.0, "weight of that KL", 0.5)
    device: str = device_option()
    precision: str = precision_option()
    n_threads: int | None = threads_option()
    checkpoint_steps: int = option(
        100_000, "steps between two checkpoints of the run (the ladder's come on top)", steps
    )
    teachers_dir: Path = option(OWN_TEACHERS, "folder that receives the teachers", Path)
    run_dir: Path | None = run_dir_option()
    resume: Path | None = resume_option(
        "--device, --n_threads, --teachers_dir and, to train for longer, total_steps"
    )

    def __post_init__(self) -> None:
        check(self)
        optimizer = self.optimizer or optimizer_of(self.total_steps)
        rate = self.learning_rate or LEARNING_RATES[optimizer]
        object.__setattr__(self, "optimizer", optimizer)  # frozen
        object.__setattr__(self, "learning_rate", rate)

    def at_defaults(self) -> "TeacherConfig":
        """Return the defaults of such a run, as two of them follow from others of its settings."""
        optimizer, rate = optimizer_of(self.total_steps), LEARNING_RATES[self.optimizer]
        return replace(type(self)(), optimizer=optimizer, learning_rate=rate)

    @property
    def last_step(self) -> int:
        """The total asked for; a run without one is refused before this is read."""
        assert self.total_steps is not None
        return self.total_steps

    @property
    def is_fresh(self) -> bool:
        """Whether the network begins with random weights."""
        return self.init_from is None


def optimizer_of(total_steps: int | None) -> str:
    """Say what a run of that length has by default."""
    return "muon" if total_steps is None or total_steps <= MUON_STEPS else "adam"


def preset_of(cfg: TeacherConfig) -> TeacherConfig:
    """Return the same run with the settings of rl-zoo's Atari preset."""
    schedules = {
        "learning_rate": LinearSchedule(2.5e-4, 0.0),
        "clip_range": LinearSchedule(0.1, 0.0),
        "w_entropy": LinearSchedule(0.01, 0.01),
    }
    sizes = {"n_envs": 8, "n_steps": 128, "batch_size": 256, "n_epochs": 4}
    unlike = {"optimizer": "adam", "repeat_probability": 0.0, "data_init": False}
    return replace(cfg, **schedules, **sizes, **unlike)


@dataclass(frozen=True)
class EvalConfig:
    """Settings of eval_teacher.py."""

    teacher_chkpt: Path | None = option(
        None, "teacher .zip or student .safetensors (default: the latest in teachers/)", Path
    )
    n_eval_episodes: int = option(
        EVAL_GAMES, "whole games for each of greedy and sampled play", positive_int
    )
    env: str | None = option(
        None, "game to play (default: the one that the checkpoint was trained on)", str
    )
    seed: int = seed_option(EVAL_SEED)
    n_envs: int = option(EVAL_ENVS, "games played in parallel", parallel_games)
    device: str = device_option()
    precision: str = precision_option()
    n_threads: int | None = threads_option()
    write_score: bool = option(False, "write the result into the .json beside the checkpoint", flag)
    teachers_dir: Path = option(
        OWN_TEACHERS, "folder with the teachers and the floors that ship with them", Path
    )

    def __post_init__(self) -> None:
        check(self)
