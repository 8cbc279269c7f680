"""Playing: the student acts, now and then a random action or the teacher's instead.

`teacher_mix` is the beta of DAgger (Ross et al. 2011), drawn anew at every step; at 0 all that is
seen is what the student comes to by itself.
"""

import numpy as np
import torch

from distill.types import (
    BoolArray,
    ByteArray,
    Envs,
    FloatArray,
    Game,
    IntArray,
    Network,
    Rollout,
    Step,
    Teacher,
)


def logits_of(network: Network, obs: ByteArray, device: torch.device) -> FloatArray:
    """Answer raw observations (N, S, 84, 84) with logits (N, A)."""
    with torch.no_grad():  # only played, never learned from
        return network.logits(torch.from_numpy(obs).to(device)).float().cpu().numpy()


def sample_actions(logits: FloatArray, rng: np.random.Generator) -> IntArray:
    """Draw an action (N,) from each softmax of logits (N, A), by the Gumbel-max trick."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(1)


class Actor:
    """Plays N games on end and hands them out rollout by rollout.

    Args:
        envs: N games.
        teacher: acts with probability `teacher_mix`.
        device: where the networks are.
        rng: draws actions.
    """

    def __init__(
        self, envs: Envs, teacher: Teacher, *, device: torch.device, rng: np.random.Generator
    ) -> None:
        self.envs, self._teacher, self._device, self._rng = envs, teacher, device, rng
        self._obs = envs.reset()
        self._age = np.zeros(envs.n_envs, np.int64)

    def collect(
        self, student: Network, n_steps: int, *, epsilon: float, teacher_mix: float
    ) -> tuple[Rollout, list[Game]]:
        """Play `n_steps` steps of every game.

        Args:
            student: who acts, by sampling from its policy.
            n_steps: T.
            epsilon: probability that an action is drawn uniformly instead.
            teacher_mix: probability that it is drawn from the teacher's policy instead.

        Returns:
            The rollout, and the games that ended in it.
        """
        rows, games = [], []
        for _ in range(n_steps):
            obs, age = self._obs, self._age
            logits = logits_of(student, self._obs, self._device)
            chosen, own = self._choose(logits, epsilon, teacher_mix)
            step = self.envs.step(chosen)
            rows.append((obs, age, step, logits, own & ~step.forced))
            games += step.games
            self._obs, self._age = step.obs, np.where(step.game_over, 0, age + 1)
        return _stack(rows, self._obs), games

    def _choose(
        self, logits: FloatArray, epsilon: float, teacher_mix: float
    ) -> tuple[IntArray, BoolArray]:
        """Pick actions (N,), and say which are the student's own samples (N,)."""
        action = sample_actions(logits, self._rng)
        own = np.ones(len(action), bool)
        if teacher_mix > 0:
            taught = self._rng.random(len(action)) < teacher_mix
            advice = logits_of(self._teacher, self._obs, self._device)
            action = np.where(taught, sample_actions(advice, self._rng), action)
            own &= ~taught
        if epsilon > 0:
            random = self._rng.random(len(action)) < epsilon
            action = np.where(random, self._rng.integers(logits.shape[1], size=len(action)), action)
            own &= ~random
        return action, own


def _stack(
    rows: list[tuple[np.ndarray, IntArray, Step, FloatArray, BoolArray]], last_obs: np.ndarray
) -> Rollout:
    obs, age, steps, logits, own = zip(*rows, strict=True)
    return Rollout(
        obs=np.stack(obs),
        age=np.stack(age),
        action=np.stack([step.action for step in steps]),
        reward=np.stack([step.reward for step in steps]),
        done=np.stack([step.done for step in steps]),
        game_over=np.stack([step.game_over for step in steps]),
        student_logits=np.stack(logits),
        on_policy=np.stack(own),
        last_obs=last_obs,
    )
