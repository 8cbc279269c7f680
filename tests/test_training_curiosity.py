"""Curiosity in the loop on fakes: what it adds, what is logged of it, and what it leaves alone."""

import numpy as np
import pytest
import torch
from fakes import (
    BandTeacher,
    FakeEnvs,
    FixedTeacher,
    collapse,
    constant,
    fake_hooks,
    first_gradient,
    make_run,
    same_weights,
    settings,
    through_a_file,
    train,
    trained,
    weights_of,
)

from distill.advantages import AdvantageEstimator
from distill.evaluation import MODES, evaluate
from distill.run_state import make_rnd

CURIOUS = {"use_curiosity": True}
AUX = CURIOUS | {"curiosity": "aux"}
BONUS = CURIOUS | {"curiosity": "bonus"}
RND = CURIOUS | {"curiosity_source": "rnd"}
ONE_UPDATE = {"total_steps": 32, "steps_per_update": 16, "epsilon": constant(0.0)}

# What it adds


def test_an_auxiliary_icm_adds_its_own_gradient_to_the_first_update_and_nothing_else():
    """The gradient is computed anew: inverse loss alone, states and successors apart."""
    what = ONE_UPDATE | {"max_grad_norm": 1e6, "data_init": False}
    plain, curious = trained(**what), trained(**what | AUX)
    fresh = make_run(curious.cfg)
    batch = curious.ring.sample(fresh.ring_rng, curious.cfg.batch_size, pairs=True)
    assert batch.next_obs is not None
    assert fresh.icm is not None
    both = [fresh.student.encoder(obs) for obs in (batch.obs, batch.next_obs)]
    answers = fresh.icm.inverse_model(torch.cat(both, 1)).log_softmax(1)
    inverse_loss = -answers[torch.arange(len(answers)), batch.action].mean()
    parameters = list(fresh.student.encoder.parameters())
    own = torch.autograd.grad(0.3 * (1 - 0.2) * inverse_loss, parameters)
    own = torch.cat([g.flatten() for g in own])
    added = first_gradient(curious) - first_gradient(plain)
    n = len(own)
    assert own.norm() > 1e-3 * first_gradient(plain).norm()
    torch.testing.assert_close(added[:n], own, rtol=1e-3, atol=1e-3 * float(own.abs().max()))
    assert (added[n:].abs() < 1e-5).all()  # the action head
    name = "encoder.linear.0.weight"
    assert not torch.equal(weights_of(plain)[name], weights_of(curious)[name])


def test_rnd_starts_from_numbers_of_its_own():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (make_rnd(settings(seed=seed)).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["target.0.weight"], other["target.0.weight"])
    assert same_weights(make_run(settings(**RND)), make_run())


def test_training_teaches_rnds_predictor_and_never_its_target():
    run = trained(**RND)
    assert run.rnd is not None
    first, last = make_rnd(run.cfg).state_dict(), run.rnd.state_dict()
    for name in first:
        assert torch.equal(first[name], last[name]) == name.startswith("target."), name


# What is logged


def test_metrics_of_a_run_with_rnd_describe_it_and_no_icm():
    tracker = train(make_run(settings(**RND)))
    tags = {tag for _, row in tracker.rows for tag in row}
    terms = {"distill", "rnd", "policy", "value"}
    assert {tag for tag in tags if tag.startswith(("loss/", "grad_norm/"))} == {
        f"{group}/{term}" for group in ("loss", "grad_norm") for term in terms
    }
    assert {"rnd/intrinsic_reward", "explore/bonus_std", "explore/bonus_share"} <= tags
    assert not any(tag.startswith("icm/") for tag in tags)
    rewards = tracker.column("rnd/intrinsic_reward")
    assert all(x > 0 for x in rewards)
    assert len(rewards) == len(tracker.column("loss/rnd"))


@pytest.mark.parametrize("what", [{}, CURIOUS], ids=["plain", "curious"])
def test_the_places_that_a_student_saw_are_counted_with_and_without_curiosity(what):
    tracker = train(make_run(settings(**what)), envs=FakeEnvs(lengths=(4,)))
    # What coarse pictures differ by is the bright band: the third one comes in the second game.
    assert tracker.column("explore/coverage") == [2.0] + [3.0] * 9


def test_a_rollout_counts_for_the_stretch_that_it_began_in(monkeypatch):
    run, began = make_run(), []
    monkeypatch.setattr(run.coverage, "add", lambda obs, step: began.append(step))
    train(run)
    assert began == list(range(0, 160, 16))


def test_features_that_have_collapsed_are_warned_of_once_even_over_a_resume(capsys):
    cfg = settings(**AUX)
    first, resumed = make_run(cfg), make_run(cfg)
    collapse(first.student)
    tracker = train(first, hooks=fake_hooks(stop_after=4))
    assert tracker.column("icm/feature_std") == [0.0] * 3
    assert capsys.readouterr().err == ""  # it may not last
    resumed.load_state_dict(through_a_file(first.state_dict()))
    train(resumed)
    warnings = capsys.readouterr().err.split("collapsed")
    assert len(warnings) == 2
    assert warnings[1].startswith(" at step 96: see icm/feature_std")


@pytest.mark.parametrize(
    ("what", "icm_gradient", "w_icm"),
    [
        ({"icm_gradient": "both"}, True, True),
        ({}, False, True),
        ({"curiosity": "bonus"}, False, False),
    ],
    ids=["both losses", "inverse loss", "bonus"],
)
def test_what_may_prevent_a_collapse_is_advised_only_if_it_could(what, icm_gradient, w_icm, capsys):
    run = make_run(settings(**AUX | what))
    collapse(run.student)
    train(run)
    warning = capsys.readouterr().err
    assert ("--icm_gradient inverse" in warning, "--w_icm" in warning) == (icm_gradient, w_icm)
    assert "features have collapsed" in warning


def test_minibatches_of_one_state_tell_of_no_collapse(capsys):
    tracker = train(make_run(settings(**AUX, batch_size=1)))
    assert tracker.column("icm/forward_loss")
    assert tracker.column("icm/feature_std") == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("what", [{}, CURIOUS, AUX], ids=["plain", "curious", "aux"])
def test_a_healthy_run_warns_of_nothing(what, capsys):
    tracker = train(make_run(settings(**what)))
    assert all(std > 0 for std in tracker.column("icm/feature_std"))
    assert capsys.readouterr().err == ""


# What it leaves alone


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", [BONUS, RND], ids=["icm", "rnd"])
def test_scores_are_the_games_own_reward_and_ask_for_no_bonus(what, mode, monkeypatch):
    run = trained(**what)
    for source in (run.icm, run.rnd):
        if source is not None:
            monkeypatch.setattr(source, "intrinsic_reward", None)
    monkeypatch.setattr(AdvantageEstimator, "__call__", None)
    envs = FakeEnvs(3, lengths=(9, 13, 6), worths=(0.25, 0.5, 2.0))
    score = evaluate(run.student, envs, 3, mode=mode, seed=0, device=run.device)
    rewards = np.stack(envs.rewards)  # (T, N)
    expected = [rewards[:length, i].sum() for length, i in ((9, 0), (13, 1), (6, 2))]
    assert score.scores == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("arm", [AUX, BONUS, RND], ids=["aux", "bonus", "rnd"])
def test_a_teacher_that_is_not_learned_from_has_no_say_in_what_curiosity_learns(arm):
    cfg = settings(w_distill=constant(0.0), n_candidates=4, **arm)
    found = []
    for teacher in (BandTeacher(), FixedTeacher((5.0, 0.0, 0.0))):
        run = make_run(cfg)
        train(run, teacher=teacher)
        assert run.n_updates > 0
        found.append(weights_of(run))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
