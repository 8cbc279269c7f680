"""Settings that would change nothing, which a new run refuses."""

import math
from dataclasses import replace

from distill.cli import Switch
from distill.config import DistillConfig
from distill.losses import TEMPERED
from distill.schedules import refuse_over

# Settings that nothing listens to without another, or but at some of its values.
OF_ICM = ("icm_gradient", "icm_beta", "w_icm")
OF_CHOICE = ("n_candidates", "prefer", "importance_weights")
OF_DIVERGENCE = ("loss", "temperature", "match_temperature", *OF_CHOICE)
OF_PPO = ("w_policy", "w_value", "w_entropy", "gamma", "gae_lambda", "clip_range")
SWITCHES: tuple[Switch[DistillConfig], ...] = (
    Switch(
        "--use_curiosity",
        lambda cfg: cfg.use_curiosity,
        ("curiosity", "curiosity_source", "c_int", "w_rnd", *OF_ICM),
    ),
    Switch("--curiosity aux|both", lambda cfg: cfg.curiosity in ("aux", "both"), ("icm_gradient",)),
    Switch("--w_icm above 0", lambda cfg: not cfg.w_icm.is_zero, ("icm_gradient",)),
    Switch("--curiosity bonus|both", lambda cfg: cfg.curiosity in ("bonus", "both"), ("c_int",)),
    Switch("--curiosity_source icm", lambda cfg: cfg.curiosity_source == "icm", OF_ICM),
    Switch("--curiosity_source rnd", lambda cfg: cfg.curiosity_source == "rnd", ("w_rnd",)),
    Switch(
        f"--loss {'|'.join(TEMPERED)}",
        lambda cfg: cfg.loss in TEMPERED,
        ("temperature", "match_temperature"),
    ),
    Switch("--temperature other than 1", lambda cfg: cfg.temperature != 1, ("match_temperature",)),
    Switch("--w_distill above 0", lambda cfg: cfg.use_teacher, OF_DIVERGENCE),
    Switch("--n_candidates above 1", lambda cfg: cfg.use_choice, ("prefer", "importance_weights")),
    Switch("--use_uncertainty", lambda cfg: cfg.use_uncertainty, ("uncertainty_target",)),
    Switch("a reward (--c_ext, or a bonus of --use_curiosity)", lambda cfg: cfg.use_reward, OF_PPO),
)

JUST_BEFORE_THE_END = 1 - 1e-6  # a weight may fall to 0 over the whole run


def only_heard(cfg: DistillConfig) -> DistillConfig:
    """Put settings that nothing listens to at their defaults, which decides the same result."""
    unheard = {name for switch in SWITCHES if not switch.is_on(cfg) for name in switch.names}
    return replace(cfg, **{name: getattr(DistillConfig, name) for name in unheard})


def refuse_idle(cfg: DistillConfig) -> None:
    """Refuse settings that are valid and yet do not do what whoever types them wants.

    Raises:
        ValueError: if nothing would be learned, be it at the end, or a reward, curiosity or
            uncertainty changed nothing.
    """
    _refuse_too_short(cfg)
    _refuse_over_too_soon(cfg)
    _refuse_weightless(cfg)
    _refuse_unused_reward(cfg)
    _refuse_untaught_end(cfg)
    _refuse_idle_curiosity(cfg)
    _refuse_idle_uncertainty(cfg)


def _refuse_untaught_end(cfg: DistillConfig) -> None:
    if not cfg.weights(JUST_BEFORE_THE_END).keys() & {"distill", "policy"}:
        raise ValueError(
            f"--w_distill {cfg.w_distill} leaves nothing to learn from at the end (ICM trains no"
            " policy) without --c_ext above 0, or a bonus (--c_int) that is above 0 at the end, too"
        )


def _refuse_idle_curiosity(cfg: DistillConfig) -> None:
    if cfg.use_curiosity and not (cfg.use_icm or cfg.use_bonus):
        off = [name for name in ("c_int", "w_icm", "w_rnd") if getattr(cfg, name).is_zero]
        raise ValueError(
            f"--use_curiosity changes nothing with --curiosity {cfg.curiosity} and"
            f" {', '.join(f'--{name} 0' for name in off)}"
        )
    if cfg.use_bonus and cfg.use_icm and cfg.icm_beta == 0:
        raise ValueError(
            "--icm_beta 0 leaves the forward model untrained, whose error is the bonus of"
            f" --curiosity {cfg.curiosity}"
        )
    if cfg.shapes_encoder and cfg.icm_gradient == "inverse" and cfg.icm_beta == 1:
        raise ValueError(
            "--icm_beta 1 leaves the inverse loss no weight, which alone reaches the encoder by"
            " --icm_gradient inverse"
        )


def _refuse_idle_uncertainty(cfg: DistillConfig) -> None:
    if "bonus" in cfg.uncertain_terms and not cfg.use_bonus:
        raise ValueError(
            "--uncertainty_target both needs a bonus of --use_curiosity; without, it is distill's"
        )
    if cfg.uncertain_terms == {"distill"} and not cfg.use_teacher:
        raise ValueError(
            "--use_uncertainty changes nothing with --uncertainty_target distill and --w_distill 0"
        )


def _refuse_over_too_soon(cfg: DistillConfig) -> None:
    rollout_steps = cfg.n_envs * cfg.n_steps
    due = cfg.learning_starts + cfg.steps_per_update
    first = (due - 1) // rollout_steps * rollout_steps  # where the rollout begins that it is after
    wanted = {
        "w_distill": cfg.use_teacher,
        "c_ext": not cfg.c_ext.is_zero,
        "c_int": cfg.use_bonus,
        "w_icm": cfg.shapes_encoder,
        "w_rnd": cfg.use_rnd,
        "w_policy": cfg.use_reward and not cfg.w_policy.is_zero,
        "learning_rate": True,
    }
    when = f"from step {first:,} on, when the first update is made"
    for name in (name for name, is_on in wanted.items() if is_on):
        schedule = getattr(cfg, name)
        refuse_over(name, schedule, step=first, total_steps=cfg.total_steps, when=when)


def _refuse_weightless(cfg: DistillConfig) -> None:
    weighted = {
        "--importance_weights": cfg.importance_weights,
        "--use_uncertainty": cfg.uncertain_terms == {"distill"},
    }
    for flag, is_on in weighted.items():
        if is_on and cfg.batch_size == 1:
            raise ValueError(
                f"{flag} changes nothing with --batch_size 1: weights are relative to the mean of"
                " their minibatch"
            )


def _refuse_unused_reward(cfg: DistillConfig) -> None:
    if not cfg.use_reward:
        return
    others = {"--epsilon 1": cfg.epsilon, "--teacher_mix 1": cfg.teacher_mix}
    always = [text for text, chance in others.items() if chance.start == chance.end == 1]
    if cfg.w_policy.is_zero or always:
        why = f"{always[0]}: no step is the student's own" if always else "--w_policy 0"
        raise ValueError(
            f"a reward (--c_ext, or a bonus of --use_curiosity) changes nothing with {why}"
        )


def _refuse_too_short(cfg: DistillConfig) -> None:
    if cfg.learning_starts >= cfg.total_steps:
        raise ValueError(
            f"--learning_starts must be below --total_steps, {cfg.total_steps:,}, got"
            f" {cfg.learning_starts:,}: nothing would be learned"
        )
    rollout_steps = cfg.n_envs * cfg.n_steps
    n_steps = math.ceil(cfg.total_steps / rollout_steps) * rollout_steps - cfg.learning_starts
    if cfg.steps_per_update > n_steps:
        raise ValueError(
            f"--steps_per_update must be at most the {n_steps:,} steps after --learning_starts, got"
            f" {cfg.steps_per_update:,}: nothing would be learned"
        )
    if cfg.total_steps <= cfg.n_envs and cfg.n_steps == 1:  # no state is followed by another
        raise ValueError(
            f"--total_steps must be above --n_envs, {cfg.n_envs}, with --n_steps 1, got"
            f" {cfg.total_steps}: nothing would be learned"
        )
