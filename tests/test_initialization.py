"""Initial weights: layers standardized on states, the network otherwise what it was."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fakes import BandTeacher, FakeEnvs, make_run, settings, train
from stable_baselines3 import PPO
from torch import Tensor

from distill import training
from distill.envs import make_atari
from distill.initialization import FITTED_STATES, MAX_GAIN, standardize
from distill.networks import N_LAYERS, Encoder, pack
from distill.ppo import algorithm, warm_start
from distill.ppo.sb3 import AtariVecEnv
from distill.teacher_config import TeacherConfig
from distill.types import WIDTHS, Widths

PONG = "PongNoFrameskip-v4"
NARROW = Widths(2, 3, 4, 5)


def pictures(n: int = 64, n_stack: int = 4) -> Tensor:
    """One picture, of which a patch differs from state to state: games look like that."""
    rng = torch.Generator().manual_seed(0)
    obs = torch.randint(0, 256, (1, n_stack, 84, 84), generator=rng, dtype=torch.uint8)
    obs = obs.repeat(n, 1, 1, 1)
    patch = torch.randint(0, 256, (n, n_stack, 9, 9), generator=rng, dtype=torch.uint8)
    obs[:, :, 20:56, 30:66] = patch.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return obs


def fresh(widths: Widths = NARROW, **what) -> Encoder:
    torch.manual_seed(0)
    return Encoder(widths, **what)


@torch.no_grad()
def before_relu(encoder: Encoder, obs: Tensor) -> list[Tensor]:
    """Return what each layer answers before its ReLU, a row a channel."""
    x, found = encoder.pixels(obs), []
    for i in range(N_LAYERS):
        out = encoder.layer(i, x)
        found.append(out.transpose(0, 1).flatten(1))
        x = F.relu(out)
    return found


@pytest.mark.parametrize("prepare", [lambda obs: obs, pack], ids=["raw", "packed"])
@pytest.mark.parametrize("n_stack", [1, 4])
def test_every_channel_has_mean_0_and_variance_1_on_the_states(prepare, n_stack):
    encoder, obs = fresh(n_stack=n_stack), prepare(pictures(n_stack=n_stack))
    standardize(encoder, obs)
    for out in before_relu(encoder, obs):
        torch.testing.assert_close(out.mean(1), torch.zeros(len(out)), rtol=0, atol=1e-4)
        torch.testing.assert_close(
            out.var(1, correction=0), torch.ones(len(out)), rtol=1e-3, atol=0
        )


def test_a_standardized_layer_is_the_old_one_shifted_and_scaled():
    """The first layer's answer at every place, computed anew from the old one's."""
    encoder, obs = fresh(), pictures()
    old = before_relu(encoder, obs)[0]
    standardize(encoder, obs)
    expected = (old - old.mean(1, keepdim=True)) / old.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(before_relu(encoder, obs)[0], expected, rtol=1e-3, atol=1e-4)


def test_what_is_standardized_stays_as_it_is():
    encoder, obs = fresh(), pictures()
    standardize(encoder, obs)
    once = [p.clone() for p in encoder.parameters()]
    standardize(encoder, obs)
    for twice, expected in zip(encoder.parameters(), once, strict=True):
        torch.testing.assert_close(twice, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_pictures_without_any_difference_give_finite_weights_of_bounded_size(value):
    encoder = fresh()
    old = [p.abs().max() for p in encoder.parameters()]
    standardize(encoder, torch.full((8, 4, 84, 84), value, dtype=torch.uint8))
    for name, weight in encoder.named_parameters():
        assert weight.isfinite().all(), name
    weights = [p for p in encoder.parameters() if p.dim() > 1]
    for weight, largest in zip(weights, old[::2], strict=True):
        assert weight.abs().max() <= MAX_GAIN * largest * 1.001


@pytest.mark.atari
def test_features_of_a_real_game_vary_ten_times_as_much_as_before():
    """The reason for it all: a fresh encoder all but ignores what tells two states apart."""
    envs = make_atari("FreewayNoFrameskip-v0", 8, seed=0, training=True)
    rng, seen = np.random.default_rng(0), [envs.reset()]
    for _ in range(60):
        seen.append(envs.step(rng.integers(envs.n_actions, size=8)).obs)
    obs = torch.from_numpy(np.concatenate(seen[::2]))
    encoder = fresh(WIDTHS["net3"])
    with torch.no_grad():
        before = encoder(obs).std(0).mean()
        standardize(encoder, obs)
        after = encoder(obs).std(0).mean()
    assert after > 10 * before
    # A ReLU of a normal variable has std 0.58.
    assert 0.3 < after < 0.9


# In the loop


def parameters_at_updates(monkeypatch, **what) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Return the encoder's first weights as drawn, and as they were at each call of `learn`."""
    run = make_run(settings(**what))
    drawn = [p.detach().clone() for p in run.student.encoder.parameters()]
    at_updates = []

    def note(run, *args, **kwargs):
        if run.updates_due():
            at_updates.append([p.detach().clone() for p in run.student.encoder.parameters()])
        return learn(run, *args, **kwargs)

    learn = training.learn
    monkeypatch.setattr(training, "learn", note)
    train(run, envs=FakeEnvs(), teacher=BandTeacher())
    return drawn, at_updates


def same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_student_is_standardized_on_the_ring_right_before_its_first_update(monkeypatch):
    seen = []
    monkeypatch.setattr(
        training, "standardize", lambda *args: seen.append((standardize(*args), *args))
    )
    _, at_updates = parameters_at_updates(monkeypatch)
    assert len(seen) == 1
    assert len(at_updates) > 1
    obs = seen[0][2]
    assert len(obs) <= FITTED_STATES
    expected = make_run(settings()).student.encoder
    standardize(expected, obs)
    assert same(at_updates[0], list(expected.parameters()))
    assert not same(at_updates[1], at_updates[0])


def test_without_it_the_first_update_finds_the_weights_as_drawn(monkeypatch):
    drawn, at_updates = parameters_at_updates(monkeypatch, data_init=False)
    assert same(at_updates[0], drawn)


# A teacher


def a_teacher(*, fresh: bool = True, **what) -> tuple[PPO, list[Tensor]]:
    """Return a PPO about to be trained, and its weights as SB3 drew them."""
    what |= {"n_envs": 4, "n_steps": 64, "precision": "float32", "device": "cpu"}
    cfg = TeacherConfig(total_steps=64, env=PONG, network=NARROW, **what)
    drawn = [p.detach().clone() for p in algorithm.build(cfg).policy.parameters()]
    model = algorithm.build(cfg)
    warm_start.begin_with(model, cfg, is_new=fresh)
    return model, drawn


@pytest.mark.atari
def test_a_fresh_teachers_encoder_is_standardized_on_states_of_its_game():
    model, drawn = a_teacher()
    obs = warm_start.first_states(AtariVecEnv(make_atari(PONG, 4, seed=0, training=True)), seed=0)
    assert obs.shape == (FITTED_STATES, 21, 21, 64)
    assert len(obs.unique(dim=0)) > FITTED_STATES / 2
    encoder = model.policy.features_extractor
    assert isinstance(encoder, Encoder)
    for out in before_relu(encoder, obs):
        torch.testing.assert_close(out.mean(1), torch.zeros(len(out)), rtol=0, atol=1e-3)
        torch.testing.assert_close(
            out.var(1, correction=0), torch.ones(len(out)), rtol=0.01, atol=0
        )
    action_head = list(model.policy.action_net.parameters())
    assert same(action_head, drawn[2 * N_LAYERS : 2 * N_LAYERS + 2])
    assert not model.policy.predict_values(obs).any()


@pytest.mark.atari
@pytest.mark.parametrize("what", [{"data_init": False}, {"fresh": False}], ids=str)
def test_a_teacher_that_goes_on_or_is_told_not_to_keeps_its_weights(what):
    model, drawn = a_teacher(**what)
    assert same(list(model.policy.parameters()), drawn)
