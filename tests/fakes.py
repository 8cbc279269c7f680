"""Fakes for the tests of the loop: games, teacher, tracker, and a tape of who was called.

The pictures of the games say where they come from: four pixels in a corner hold environment, game
and age, and one of `n_actions` horizontal bands is bright, which is what the teacher answers to.
"""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from distill.config import DistillConfig
from distill.learner import Learner
from distill.networks import ActorCritic
from distill.run_state import Distillation
from distill.schedules import LinearSchedule
from distill.tags import TAGS
from distill.tracking import Tracker
from distill.training import Hooks, train_student
from distill.types import Game, Step, Widths
from distill.uncertainty import Uncertainty

CPU = torch.device("cpu")
TINY = Widths(2, 2, 2, 8)
N_ACTIONS = 3

# A run of a few rollouts of 4 x 4 steps, two updates of 8 states after each.
SMALL = DistillConfig(
    n_candidates=1,  # uniform: what was drawn is told by the seed alone
    student=TINY,
    total_steps=160,
    n_envs=4,
    n_steps=4,
    ring_size=128,
    learning_starts=16,
    steps_per_update=8,
    batch_size=8,
    log_steps=16,
    eval_steps=64,
    checkpoint_steps=64,
)


class FakeEnvs:
    """Games of known lengths; an action is worth its reward at every step.

    Args:
        n_envs: N.
        lengths: steps of the games, by environment, repeated over the environments.
        worths: reward of each action.
        lives_steps: a life is lost (done, no game over) every so many steps of a game; 0: never.
        fires: play action 1 in the step after a lost life, whatever was chosen.
        alike: every game of an environment shows the same pictures.
        tape: receives an entry a call.
    """

    def __init__(
        self, n_envs=4, *, n_stack=4, lengths: Sequence[int] = (9, 13, 6), worths=(0.0, 0.0, 1.0),
        lives_steps=0, fires=False, alike=False, tape=None
    ):  # fmt: skip
        self.n_envs, self.n_actions, self.n_stack = n_envs, len(worths), n_stack
        self.lengths = np.resize(np.array(lengths), n_envs)
        self.worths, self.lives_steps = np.array(worths), lives_steps
        self.fires, self.alike = fires, alike
        self.tape = [] if tape is None else tape
        self.game = np.full(n_envs, -1)  # never starts over: a reset shows new games
        self.rewards: list[np.ndarray] = []

    def reset(self):
        self.tape.append("reset")
        self.game, self.age = self.game + 1, np.zeros(self.n_envs, int)
        self.score = np.zeros(self.n_envs)
        self.must_fire = np.zeros(self.n_envs, bool)
        self.obs = np.zeros((self.n_envs, self.n_stack, 84, 84), np.uint8)
        self.obs[:, -1] = self._pictures()
        return self.obs

    def _pictures(self):
        game = np.zeros_like(self.game) if self.alike else self.game
        pictures = np.full((self.n_envs, 84, 84), 30, np.uint8)
        side = 84 // self.n_actions
        for i, picture in enumerate(pictures):
            band = (3 * i + 5 * game[i] + self.age[i] * (self.age[i] + 1) // 2) % self.n_actions
            picture[band * side : (band + 1) * side] = 200
            picture[0, :4] = i, game[i], self.age[i] // 256, self.age[i] % 256
        return pictures

    def step(self, actions):
        assert actions.shape == (self.n_envs,)
        self.tape.append("act")
        forced = self.must_fire
        action = np.where(forced, 1, actions)
        reward = self.worths[action]
        self.rewards.append(reward)
        self.score, self.age = self.score + reward, self.age + 1
        over = self.age == self.lengths
        lost = (
            (self.age % self.lives_steps == 0) & ~over if self.lives_steps else np.zeros_like(over)
        )
        self.must_fire = lost & self.fires
        games = [Game(int(i), float(self.score[i]), int(self.age[i])) for i in np.flatnonzero(over)]
        self.game, self.age = self.game + over, np.where(over, 0, self.age)
        self.score = np.where(over, 0.0, self.score)
        old = np.where(over[:, None, None, None], 0, self.obs[:, 1:]).astype(np.uint8)
        final_obs = self.obs if over.any() else None
        self.obs = np.concatenate((old, self._pictures()[:, None]), 1)
        reward = reward.astype(np.float32)
        return Step(
            self.obs, action, forced, reward, over | lost, over, np.zeros_like(over), final_obs,
            games,
        )  # fmt: skip


class Recorded:
    """Passes calls on to other games; keeps a copy of every observation and of every choice."""

    def __init__(self, envs):
        self.envs, self.n_envs, self.n_actions = envs, envs.n_envs, envs.n_actions
        self.seen: list[np.ndarray] = []
        self.chosen: list[np.ndarray] = []
        self.steps: list[Step] = []

    def reset(self):
        obs = self.envs.reset()
        self.seen.append(obs.copy())
        return obs

    def step(self, actions):
        self.chosen.append(actions.copy())
        step = self.envs.step(actions)
        self.seen.append(step.obs.copy())
        self.steps.append(step)
        return step


class BandTeacher:
    """Prefers the action whose band is bright in the newest frame, by `gap` nats."""

    def __init__(self, *, gap=3.0, n_actions=N_ACTIONS, tape=None):
        self.n_actions, self.gap = n_actions, gap
        self.tape = [] if tape is None else tape

    def logits(self, obs):
        self.tape.append(("label", len(obs)))
        bands = obs[:, -1].float().view(len(obs), self.n_actions, -1).mean(2)
        return self.gap * (bands > 100).float()


class FixedTeacher:
    """Gives every state the same answer; after `fails_after` calls, one that is not a number."""

    def __init__(self, logits=(0.0, 1.0, -1.0), *, fails_after=None):
        self.n_actions, self.answer = len(logits), torch.tensor(logits)
        self.fails_after, self.n_calls = fails_after, 0

    def logits(self, obs):
        self.n_calls += 1
        failed = self.fails_after is not None and self.n_calls > self.fails_after
        return (self.answer * float("nan") if failed else self.answer).repeat(len(obs), 1)


class FakeUncertainty(Uncertainty):
    """Finds states uncertain whose first band is bright."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, obs, logits):
        self.n_calls += 1
        assert len(obs) == len(logits)
        return (obs[:, -1, 10, 10] > 100).float() * 0.3

    def state_dict(self):
        return {"n_calls": self.n_calls}

    def load_state_dict(self, state):
        self.n_calls = state["n_calls"]


class FakeTracker(Tracker):
    """Keeps what is logged as (step, numbers by tag); refuses a tag without documentation."""

    def __init__(self, tape=None):
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.tape = [] if tape is None else tape

    def log(self, scalars, step):
        assert set(scalars) <= set(TAGS), set(scalars) - set(TAGS)
        self.tape.append(("log", step))
        self.rows.append((step, {tag: float(value) for tag, value in scalars.items()}))

    def column(self, tag):
        return [row[tag] for _, row in self.rows if tag in row]


class TapedLearner(Learner):
    """Notes every update, then makes it."""

    def __init__(self, learner, tape):
        self.optimizer, self._learner, self._tape = learner.optimizer, learner, tape
        self.step_sizes: list[float] = []

    def gradient_norms(self, terms):
        return self._learner.gradient_norms(terms)

    def step(self, terms, weights, lr):
        self._tape.append("learn")
        self.step_sizes.append(lr)
        self._learner.step(terms, weights, lr)


def noise(n, *, n_stack=4, seed=0):
    """Return stacks of gray noise (n, S, 84, 84), neither black nor white."""
    shape = (n, n_stack, 84, 84)
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(40, 201, shape, dtype=torch.uint8, generator=rng)


def fake_hooks(tape=None, *, stop_after=None):
    """Hooks that write to a tape; they ask to stop after so many rollouts."""
    tape = [] if tape is None else tape
    n_rollouts = 0

    def progress(n_steps, note):
        nonlocal n_rollouts
        n_rollouts += 1
        tape.append(("progress", n_steps))

    return Hooks(
        evaluate=lambda step: tape.append(("evaluate", step)),
        checkpoint=lambda step: tape.append(("checkpoint", step)),
        should_stop=lambda: stop_after is not None and n_rollouts >= stop_after,
        on_progress=progress,
    )


def settings(**changes):
    """Return the small configuration with some settings changed."""
    return replace(SMALL, **changes)


def make_run(cfg=SMALL, *, n_actions=N_ACTIONS, n_stack=4):
    """Build a student, and all that trains it, from the configuration's seed."""
    torch.manual_seed(cfg.seed)
    student = ActorCritic(cfg.student, n_actions, n_stack=n_stack, with_value=cfg.use_reward)
    uncertainty = FakeUncertainty() if cfg.use_uncertainty else None
    return Distillation(cfg, student, device=CPU, uncertainty=uncertainty)


def train(run, *, envs=None, teacher=None, tracker=None, hooks=None):
    """Train a run on fakes; returns the tracker."""
    tracker = tracker or FakeTracker()
    envs = envs or FakeEnvs(run.cfg.n_envs, alike=True)
    hooks = hooks or fake_hooks()
    train_student(run, envs, teacher or BandTeacher(), tracker=tracker, hooks=hooks)
    return tracker


def weights_of(run):
    """Return a copy of the weights that act: encoder and action head."""
    state = run.student.state_dict()
    return {k: v.clone() for k, v in state.items() if not k.startswith("value_net.")}


def same_weights(left, right):
    """Tell whether two runs' acting weights are equal to the bit."""
    a, b = weights_of(left), weights_of(right)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def constant(value):
    """Return a schedule that never changes."""
    return LinearSchedule(value, value)


def trained(**what):
    """Train a small run to its end."""
    run = make_run(settings(**what))
    train(run)
    return run


def first_gradient(run):
    """Return the gradient of encoder and action head in the one update that was made."""
    actor = {
        id(p) for net in (run.student.encoder, run.student.action_net) for p in net.parameters()
    }
    moments = {id(p): m for o in run.learner.optimizer.parts for p, m in o.state.items()}
    found = [moments[id(p)]["exp_avg"] for p in run.student.parameters() if id(p) in actor]
    return torch.cat([10 * m.flatten() for m in found])


def collapse(student):
    """Let a student see the same in all pictures, forever."""
    torch.nn.init.zeros_(student.encoder.linear[0].weight)
    torch.nn.init.zeros_(student.encoder.linear[0].bias)


def through_a_file(state):
    """Save a state and read it back as checkpoints are."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
