"""The networks that a run of PPO goes on from or stays near: read, and checked before it begins."""

from dataclasses import replace
from pathlib import Path

from distill.cli import Switch
from distill.envs import make_atari
from distill.errors import of_setting
from distill.networks import ActorCritic
from distill.player import find_game, load_player
from distill.sb3_archive import steps_in_header
from distill.schedules import refuse_over
from distill.student_files import load_student
from distill.teacher import CPU, FrozenPolicy, load_actor_critic, load_teacher
from distill.teacher_config import TeacherConfig
from distill.teacher_files import is_teacher, steps_of
from distill.types import N_STACK

# Settings that nothing listens to without another, or but at some of its values.
SWITCHES: tuple[Switch[TeacherConfig], ...] = (
    Switch("--kickstart", lambda cfg: cfg.kickstart is not None, ("w_kickstart",)),
    Switch("--w_kickstart above 0", lambda cfg: not cfg.w_kickstart.is_zero, ("kickstart",)),
    Switch(
        "--init_from STUDENT",
        lambda cfg: cfg.init_from is not None and not is_teacher(cfg.init_from),
        ("warm_up_steps",),
    ),
    Switch(
        "a fresh network, which there is not with --init_from,",
        lambda cfg: cfg.is_fresh,
        ("data_init", "repeat_probability", "repeat_steps"),
    ),
    Switch(
        "--repeat_probability above 0", lambda cfg: cfg.repeat_probability > 0, ("repeat_steps",)
    ),
)


def first_step(cfg: TeacherConfig) -> int:
    """Return the step that a new run begins at: that of the teacher it goes on from, or 0."""
    if cfg.init_from is None or not is_teacher(cfg.init_from):
        return 0
    return steps_of(cfg.init_from) or steps_in_header(cfg.init_from)


def check_steps(cfg: TeacherConfig) -> None:
    """Check that a new run has steps to learn in.

    Raises:
        ValueError: if no step is left to train for, a student's policy would never be trained, or
            a schedule is over before the first step that could learn by it.
    """
    rollout_steps = cfg.n_envs * cfg.n_steps
    last_start = (cfg.last_step - 1) // rollout_steps * rollout_steps
    if cfg.init_from is None:
        done, had = min(rollout_steps, last_start), "steps of the first rollout"
    elif is_teacher(cfg.init_from):
        done, had = first_step(cfg), f"steps that --init_from {cfg.init_from} had"
        if cfg.last_step <= done:
            raise ValueError(
                f"total_steps counts those of --init_from {cfg.init_from}, so it must be more than"
                f" {done:,}, got {cfg.last_step:,}"
            )
    else:
        done, had = cfg.warm_up_steps, "steps of --warm_up_steps"
        if cfg.warm_up_steps > last_start:
            raise ValueError(
                f"--warm_up_steps must be at most {last_start:,}, where the last rollout of"
                f" total_steps {cfg.last_step:,} begins, got {cfg.warm_up_steps:,}: only the"
                " value head would learn"
            )
    schedules = {"learning_rate": cfg.learning_rate, "clip_range": cfg.clip_range}
    if cfg.kickstart is not None and cfg.init_from is not None:  # else it counts from step 0 on
        schedules["w_kickstart"] = cfg.w_kickstart
    for name, schedule in schedules.items():
        when = f"after the {done:,} {had}"
        refuse_over(name, schedule, step=done, total_steps=cfg.last_step, when=when)


def load_first(path: Path) -> ActorCritic:
    """Read a network to go on from; a teacher's has its value head.

    Raises:
        FileNotFoundError, ValueError: if the file is not what it should be.
    """
    return load_actor_critic(path) if is_teacher(path) else load_student(path, device=CPU)[0]


def games_of(cfg: TeacherConfig) -> dict[str, str | None]:
    """Return the games of the network to go on from and of the teacher to stay near, or None.

    Raises:
        FileNotFoundError, ValueError: if one is not what it should be.
    """
    games: dict[str, str | None] = {}
    for flag, path in (("--init_from", cfg.init_from), ("--kickstart", cfg.kickstart)):
        if path is not None:
            with of_setting(flag):
                games[f"{flag} {path}"] = load_player(path).env_id
    return games


def with_own_game(cfg: TeacherConfig) -> TeacherConfig:
    """Take the game of the network to go on from, else of the teacher to stay near.

    Raises:
        FileNotFoundError, ValueError: as `games_of`, and if neither says its game.
    """
    games = games_of(cfg)
    return replace(cfg, env=find_game(None, games)) if games else cfg


def note_of_other_games(cfg: TeacherConfig) -> str:
    """Say which networks are of another game: `--config` may have brought another run's id."""
    others = {name: game for name, game in games_of(cfg).items() if game not in (None, cfg.env)}
    return "".join(f"; {name} was trained on {game}" for name, game in others.items())


def check_networks(cfg: TeacherConfig, *, size_is_asked_for: bool = False) -> TeacherConfig:
    """Check the network to go on from and the teacher to stay near; take the former's size.

    Args:
        cfg: the settings of a new run.
        size_is_asked_for: whether `cfg.network` was given; it must be that size then.

    Raises:
        FileNotFoundError, ValueError: if one is not what it should be, chooses from other actions,
            sees other frames or has another size.
    """
    networks: dict[str, ActorCritic | FrozenPolicy] = {}
    if cfg.kickstart is not None:
        with of_setting("--kickstart"):
            networks[f"--kickstart {cfg.kickstart}"] = load_teacher(cfg.kickstart)
    if cfg.init_from is not None:
        with of_setting("--init_from"):
            first = load_first(cfg.init_from)
        networks[f"--init_from {cfg.init_from}"] = first
        if size_is_asked_for and cfg.network != first.widths:
            raise ValueError(
                f"--network must be that of --init_from, {first.widths}, got {cfg.network}"
            )
        cfg = replace(cfg, network=first.widths)
    if networks:
        games = make_atari(cfg.env, 1, seed=0, training=False)
        games.close()
        for name, network in networks.items():
            if (network.n_actions, network.n_stack) != (games.n_actions, N_STACK):
                raise ValueError(
                    f"{name} must choose from the {games.n_actions} actions of {cfg.env} and see"
                    f" {N_STACK} frames, got {network.n_actions} and {network.n_stack}"
                )
    return cfg
