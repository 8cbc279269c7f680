"""Does a teacher's uncertainty find its mistakes? Each augmentation against a better teacher.

A teacher plays. Of some of the states that it comes to, its uncertainty under each augmentation is
measured (distill.uncertainty), and its error: KL(better || teacher), how far a better teacher of
the game answers otherwise. Spearman's rank correlation says whether the one tells the other.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill import losses
from distill.acting import logits_of, sample_actions
from distill.augmentations import AUGMENTATIONS
from distill.statistics import mean_interval, rank_correlation
from distill.teacher import CPU
from distill.types import ByteArray, Envs, FloatArray, Teacher
from distill.uncertainty import TELLING, Uncertainty

# Beside single augmentations:
IN_USE, ENTROPY = f"in use: one of {', '.join(TELLING)}", "the teacher's entropy"


class Probe(NamedTuple):
    """What one signal tells of one teacher's mistakes."""

    env_id: str
    teacher: str
    better: str
    signal: str  # an augmentation, IN_USE, or ENTROPY for comparison
    correlation: float  # mean over games of Spearman's rho with the error, over a game's states
    low: float  # 95 % interval, Student's t over games
    high: float
    mean: float  # of the signal
    n_games: int
    n_states: int  # of each game
    seed: int
    commit: str
    machine: str


def visit(
    teacher: Teacher, games: Envs, n_states: int, *, every: int, rng: np.random.Generator
) -> ByteArray:
    """Let a teacher play and keep every so many states: uint8 (n_states, N, S, 84, 84)."""
    kept, obs = [], games.reset()
    for step in range(n_states * every):
        if step % every == 0:
            kept.append(obs)
        obs = games.step(sample_actions(logits_of(teacher, obs, CPU), rng)).obs
    return np.stack(kept)


@torch.no_grad()  # fixed teachers are measured
def signals_and_errors(
    teacher: Teacher, better: Teacher, states: ByteArray, *, seed: int
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Measure every signal and the error of states (T, N, S, 84, 84): (T, N) each.

    All are in nats but for IN_USE, which is in units of each augmentation's own mean.
    """
    singles = {
        name: Uncertainty(teacher, augmentations=[name], seed=seed) for name in AUGMENTATIONS
    }
    in_use = Uncertainty(teacher, seed=seed)  # by --use_uncertainty
    rows: list[dict[str, Tensor]] = []
    for part in torch.from_numpy(states):  # (N, S, 84, 84)
        logits = teacher.logits(part)
        row = {name: single.divergence(part, logits) for name, single in singles.items()}
        row[IN_USE] = in_use(part, logits)
        row[ENTROPY] = losses.entropy(logits)
        row["error"] = losses.divergence("kl", better.logits(part), logits)
        rows.append(row)
    found = {name: torch.stack([row[name] for row in rows]).numpy() for name in rows[0]}
    error = found.pop("error")
    return found, error


def judge(
    signals: Mapping[str, FloatArray], error: FloatArray
) -> dict[str, tuple[float, float, float, float]]:
    """Correlate signals (T, N) with errors (T, N), game by game.

    States of one game follow each other and are alike, games are not: games are what is counted.

    Returns:
        By signal: mean correlation, its 95 % interval, mean of the signal.
    """
    verdicts = {}
    for name, signal in signals.items():
        by_game = [rank_correlation(x, y) for x, y in zip(signal.T, error.T, strict=True)]
        verdicts[name] = *mean_interval(by_game), float(signal.mean())
    return verdicts
