"""Every setting of `run_distillation.py`: default, unit, help, validation."""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from distill.losses import DIVERGENCES
from distill.options import (
    DEFAULT_ENV,
    NETWORKS,
    data_init_option,
    device_option,
    learning_rate_option,
    optimizer_option,
    precision_option,
    probability,
    resume_option,
    run_dir_option,
    schedule,
    seed_option,
    threads_option,
)
from distill.parsing import (
    flag,
    fraction,
    nonnegative_int,
    one_of,
    parallel_games,
    positive,
    positive_int,
    share,
    steps,
)
from distill.protocol import EVAL_GAMES
from distill.schedules import LinearSchedule
from distill.settings import check, option
from distill.types import WIDTHS, Widths, parse_widths

# Above, float32 may round the differences away that the loss is made of; below 1 / this a student
# can meet any answer by logits that it hardly tells from 0.
MAX_TEMPERATURE = 1000


@dataclass(frozen=True)
class DistillConfig:
    """Settings of scripts/run_distillation.py; the loss is the sum of each w_* times its term."""

    HEADINGS = MappingProxyType(
        {
            "teacher_chkpt": "teacher, game and student",
            "loss": "what is learned from the teacher",
            "use_curiosity": "curiosity",
            "use_uncertainty": "the teacher's uncertainty",
            "w_distill": "weights of the terms",
            "c_ext": "rewards",
            "total_steps": "states",
            "learning_starts": "updates",
            "epsilon": "who acts",
            "seed": "seed and machine",
            "n_eval_episodes": "scores, curves and checkpoints",
        }
    )

    teacher_chkpt: Path | None = option(
        None, "teacher .zip (default: the best of the game in teachers/)", Path
    )
    env: str | None = option(
        None, f"game (default: that of --teacher_chkpt; without it {DEFAULT_ENV})", str
    )
    student: Widths = option(WIDTHS["net3"], NETWORKS, parse_widths)
    data_init: bool = data_init_option()
    loss: str = option("kl", f"divergence, one of {', '.join(DIVERGENCES)}", one_of(*DIVERGENCES))
    temperature: float = option(3.0, "divides the logits; of kl, reverse_kl and js", positive)
    match_temperature: bool = option(
        True,
        "divide both sides' logits and multiply the loss by the temperature's square (Hinton et"
        " al.), instead of the teacher's logits alone (Rusu et al.)",
        flag,
    )
    use_curiosity: bool = option(False, "add the intrinsic curiosity module", flag)
    curiosity: str = option(
        "both",
        "aux: ICM's losses shape the encoder; bonus: its error is a reward; both",
        one_of("aux", "bonus", "both"),
    )
    curiosity_source: str = option(
        "icm",
        "source of the bonus: icm, or rnd (random network distillation), which leaves out ICM",
        one_of("icm", "rnd"),
    )
    icm_gradient: str = option(
        "inverse",
        "ICM losses that reach the encoder, one of inverse, both, none",
        one_of("inverse", "both", "none"),
    )
    icm_beta: float = option(
        0.2, "share of the forward loss in ICM's loss, beta of Pathak et al.", fraction
    )
    use_uncertainty: bool = option(False, "weight samples by the teacher's uncertainty", flag)
    uncertainty_target: str = option(
        "distill",
        "what the uncertainty weights: distill, bonus or both",
        one_of("distill", "bonus", "both"),
    )
    w_distill: LinearSchedule = schedule(1.0, 1.0, "weight of the divergence")
    w_icm: LinearSchedule = schedule(
        0.3,
        0.3,
        "weight of ICM's losses; where none reaches the encoder, Adam all but ignores it; 0 keeps"
        " them from the encoder alone while ICM's error is a bonus",
    )
    w_rnd: LinearSchedule = schedule(
        1.0, 1.0, "weight of RND's loss, while its bonus counts; Adam all but ignores its size"
    )
    w_policy: LinearSchedule = schedule(1.0, 1.0, "weight of PPO-clip, where a reward counts")
    w_value: LinearSchedule = schedule(0.5, 0.5, "weight of the value loss, where a reward counts")
    w_entropy: LinearSchedule = schedule(
        0.0, 0.0, "weight of the entropy bonus, where a reward counts"
    )
    c_ext: LinearSchedule = schedule(0.0, 0.0, "factor of the game's clipped reward")
    c_int: LinearSchedule = schedule(0.3, 0.0, "factor of the intrinsic reward, if curious", 0.8)
    gamma: float = option(0.99, "discount factor a step", fraction)
    gae_lambda: float = option(0.95, "GAE's lambda", fraction)
    clip_range: float = option(0.1, "PPO's clipping range", positive)
    total_steps: int = option(100_000, "agent steps over all games", steps)
    n_envs: int = option(16, "games played in parallel", parallel_games)
    n_steps: int = option(16, "steps of each game between two rounds of updates", positive_int)
    ring_size: int = option(65_536, "states kept for sampling", positive_int)
    learning_starts: int = option(2_000, "steps before the first update", nonnegative_int)
    steps_per_update: int = option(4, "agent steps for each update", positive_int)
    batch_size: int = option(32, "samples in a minibatch", positive_int)
    n_candidates: int = option(
        4,
        "draw this many times as many samples and keep some, by --prefer; 1: uniform",
        positive_int,
    )
    prefer: str = option(
        "kl",
        "priority of a sample, the likelier to be kept: kl, the last known KL; gap, how much"
        " likelier the teacher's best action is than its second",
        one_of("kl", "gap"),
    )
    importance_weights: bool = option(
        False, "weight the divergence by 1 / the probability of being kept", flag
    )
    optimizer: str = optimizer_option()
    learning_rate: LinearSchedule = learning_rate_option(LinearSchedule(2e-3, 0.0))
    max_grad_norm: float = option(10.0, "gradients are clipped to this norm", positive)
    ema_decay: float = option(
        0.0,
        "score an exponential moving average of the weights, of this decay an update; 0: off",
        share,
    )
    epsilon: LinearSchedule = probability(0.1, "probability of a random action", 0.5)
    teacher_mix: LinearSchedule = probability(
        0.0, "probability that the teacher acts where no action is random"
    )
    seed: int = seed_option(0)
    device: str = device_option()
    precision: str = precision_option()
    n_threads: int | None = threads_option()
    n_eval_episodes: int = option(EVAL_GAMES, "whole games for each final score", positive_int)
    eval_greedy: bool = option(True, "score greedy play too, beside sampled actions", flag)
    eval_steps: int = option(25_000, "steps between two evaluations", steps)
    n_interim_episodes: int = option(10, "whole games for each of those evaluations", positive_int)
    log_steps: int = option(2_000, "steps between two rows of metrics", steps)
    checkpoint_steps: int = option(25_000, "steps between two checkpoints", steps)
    run_dir: Path | None = run_dir_option()
    resume: Path | None = resume_option()

    def __post_init__(self) -> None:
        check(self)
        smallest = self.n_envs * max(2 * self.n_steps, 5)  # two rollouts; 4 frames and one more
        if self.ring_size < smallest:
            least = f"n_envs x max(2 x n_steps, 5) = {smallest}"
            raise ValueError(f"--ring_size must be at least {least}, got {self.ring_size}")
        if not 1 / MAX_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            allowed = f"from {1 / MAX_TEMPERATURE} to {MAX_TEMPERATURE}"
            raise ValueError(f"--temperature must be {allowed}, got {self.temperature}")
        if self.curiosity == "aux" and self.curiosity_source == "rnd":
            raise ValueError("--curiosity aux needs --curiosity_source icm: rnd is a bonus only")
        if self.uncertain_terms == {"bonus"} and not self.use_bonus:
            raise ValueError(
                "--uncertainty_target bonus needs --use_curiosity with --curiosity bonus or both,"
                " and --c_int (of rnd --w_rnd, too) above 0"
            )
        if not self.use_teacher and not (self.use_reward or self.use_icm):
            raise ValueError(
                "--w_distill 0 leaves nothing to learn from without --c_ext above 0, or"
                " --use_curiosity with --c_int or --w_icm above 0"
            )
        if self.use_bonus and self.gamma == 1:  # the sum of all bonuses has no end
            raise ValueError("--gamma must be below 1 with a bonus, got 1")

    @property
    def use_teacher(self) -> bool:
        """Whether the teacher's answers are ever learned from."""
        return not self.w_distill.is_zero

    @property
    def use_choice(self) -> bool:
        """Whether samples are chosen among more that are drawn."""
        return self.n_candidates > 1

    @property
    def use_bonus(self) -> bool:
        """Whether the intrinsic reward counts."""
        never_learns = self.curiosity_source == "rnd" and self.w_rnd.is_zero
        is_wanted = self.use_curiosity and self.curiosity in ("bonus", "both")
        return is_wanted and not self.c_int.is_zero and not never_learns

    def has_bonus(self, progress: float) -> bool:
        """Tell whether the intrinsic reward counts now."""
        return self.use_bonus and self.c_int(progress) > 0

    @property
    def use_icm(self) -> bool:
        """Whether there is an ICM to train: for its losses' sake, for its bonus, or both."""
        return self.shapes_encoder or (self.use_bonus and self.curiosity_source == "icm")

    @property
    def shapes_encoder(self) -> bool:
        """Whether ICM's losses count for the encoder's sake."""
        is_source = self.use_curiosity and self.curiosity_source == "icm"
        return is_source and self.curiosity in ("aux", "both") and not self.w_icm.is_zero

    @property
    def use_rnd(self) -> bool:
        """Whether there is a random network to distill, for its bonus."""
        return self.use_bonus and self.curiosity_source == "rnd"

    @property
    def use_reward(self) -> bool:
        """Whether any reward counts, so that the policy terms and the value head exist."""
        return self.use_bonus or not self.c_ext.is_zero

    @property
    def uncertain_terms(self) -> frozenset[str]:
        """What the teacher's uncertainty weights: the divergence, the bonus, both or neither."""
        if not self.use_uncertainty:
            return frozenset()
        both = self.uncertainty_target == "both"
        return frozenset(("distill", "bonus") if both else (self.uncertainty_target,))

    def needs_uncertainty(self, progress: float) -> bool:
        """Tell whether the teacher's uncertainty weights anything that counts now."""
        of_divergence = "distill" in self.uncertain_terms and self.w_distill.lasts(progress)
        return of_divergence or ("bonus" in self.uncertain_terms and self.has_bonus(progress))

    def encoder_gradient(self, progress: float) -> str:
        """Return which ICM losses reach the encoder: none where they have no weight."""
        is_bonus_only = self.curiosity == "bonus" or self.w_icm(progress) == 0
        return "none" if is_bonus_only else self.icm_gradient

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights, by name, of the terms that count at `progress` (0 to 1)."""
        has_bonus = self.has_bonus(progress)
        rewarded = self.c_ext(progress) > 0 or has_bonus
        weights = {"distill": self.w_distill(progress)}
        awaits_bonus = self.use_bonus and self.c_int.lasts(progress)
        if self.use_icm and (awaits_bonus or self.curiosity != "bonus"):
            weights["icm"] = self.w_icm(progress)
            if weights["icm"] == 0 and awaits_bonus:  # a bonus needs a trained ICM even so
                weights["icm"] = 1.0
        if self.use_rnd and has_bonus:
            weights["rnd"] = self.w_rnd(progress)
        if rewarded:
            weights["policy"] = self.w_policy(progress)
            weights["value"] = self.w_value(progress)
            weights["entropy"] = self.w_entropy(progress)
        return {name: weight for name, weight in weights.items() if weight > 0}
