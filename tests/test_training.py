"""The loop on fakes: who is called when, what is learned, how a run is repeated and resumed."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import (
    CPU,
    SMALL,
    TINY,
    BandTeacher,
    FakeEnvs,
    FakeTracker,
    FixedTeacher,
    TapedLearner,
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

from distill import training
from distill.envs import make_atari
from distill.errors import DivergedError
from distill.losses import divergence
from distill.networks import ActorCritic
from distill.run_state import make_distillation, make_icm
from distill.schedules import LinearSchedule
from distill.teacher import FrozenPolicy
from distill.training import check_saveable
from distill.types import WIDTHS

CURIOUS = {"use_curiosity": True}
AUX = CURIOUS | {"curiosity": "aux"}
BONUS = CURIOUS | {"curiosity": "bonus"}
RND = CURIOUS | {"curiosity_source": "rnd"}
ZERO, ONE = constant(0.0), constant(1.0)
EVERYTHING = CURIOUS | {"use_uncertainty": True, "c_ext": ONE, "w_entropy": constant(0.01)}
FROM_SCRATCH = {"w_distill": ZERO, "c_ext": ONE}
AVERAGED = {"ema_decay": 0.75}
EACH_KIND = pytest.mark.parametrize(
    "what",
    [{}, EVERYTHING, RND, FROM_SCRATCH, AVERAGED],
    ids=["plain", "all", "rnd", "scratch", "averaged"],
)


def noting(step, note):
    """Make an update's step that is followed by a note."""

    def step_and_note(terms, weights, lr):
        step(terms, weights, lr)
        note()

    return step_and_note


def record(cfg, *, stop_after=None, **games):
    """Train with every fake writing to one tape."""
    tape = []
    run = make_run(cfg)
    run.learner = TapedLearner(run.learner, tape)
    envs, teacher = FakeEnvs(cfg.n_envs, tape=tape, **games), BandTeacher(tape=tape)
    hooks = fake_hooks(tape, stop_after=stop_after)
    train(run, envs=envs, teacher=teacher, tracker=FakeTracker(tape), hooks=hooks)
    return run, tape


def of(tape, name):
    return [entry[1] for entry in tape if entry[0] == name and isinstance(entry, tuple)]


# Who is called when


def test_the_loop_acts_labels_learns_and_then_logs_evaluates_and_saves_what_is_due():
    cfg = settings(
        n_envs=2, n_steps=3, total_steps=18, learning_starts=6, steps_per_update=3,
        log_steps=10, eval_steps=7, checkpoint_steps=12,
    )  # fmt: skip
    _, tape = record(cfg)
    rollout = ["act"] * 3 + [("label", 6)]
    assert tape == [
        "reset",
        *rollout, ("progress", 6),
        *rollout, "learn", "learn", ("progress", 6), ("log", 12), ("evaluate", 12),
        ("checkpoint", 12),
        *rollout, "learn", "learn", ("progress", 6), ("log", 18), ("evaluate", 18),
    ]  # fmt: skip


def test_curves_end_where_the_run_does_however_short_it_is():
    run, tape = record(settings(n_envs=2, n_steps=7, total_steps=50, log_steps=1000))
    assert of(tape, "log") == [run.n_steps_done] == [56]


@EACH_KIND
def test_labels_come_once_a_rollout_in_one_batch(what):
    _, tape = record(settings(n_envs=3, n_steps=5, total_steps=150, ring_size=60, **what))
    assert of(tape, "label") == [15] * 10
    assert tape.count("act") == 50


@pytest.mark.parametrize("n_envs", [2, 3, 5])
@pytest.mark.parametrize("period", [10, 16, 45, 1000])
def test_every_period_is_kept_whatever_the_stride(n_envs, period):
    periods = dict.fromkeys(("log_steps", "eval_steps", "checkpoint_steps"), period)
    run, tape = record(settings(n_envs=n_envs, n_steps=7, total_steps=300, **periods))
    before_the_last = run.n_steps_done - 7 * n_envs
    for name in ("log", "evaluate", "checkpoint"):
        crossed = [step // period for step in of(tape, name)]
        if name == "log" and run.n_steps_done // period == before_the_last // period:
            crossed.pop()  # the last row: it ends the curves, due or not
        n_strides = run.n_steps_done // (7 * n_envs)
        assert len(crossed) == min(n_strides, run.n_steps_done // period)
        assert crossed == sorted(set(crossed))


@pytest.mark.parametrize(
    ("n_envs", "n_steps", "learning_starts", "steps_per_update"),
    [(4, 4, 16, 8), (3, 5, 40, 7), (2, 2, 0, 9), (4, 3, 100, 1), (1, 1, 0, 1)],
)
def test_an_update_is_made_every_so_many_steps_from_the_start_on_without_a_burst(
    n_envs, n_steps, learning_starts, steps_per_update
):
    cfg = settings(
        n_envs=n_envs, n_steps=n_steps, learning_starts=learning_starts,
        steps_per_update=steps_per_update, batch_size=2, total_steps=200,
    )  # fmt: skip
    run, tape = record(cfg)
    learned_steps = run.n_steps_done - learning_starts
    assert run.n_updates == learned_steps // steps_per_update
    updates = "".join("u" if e == "learn" else "|" * (e[0] == "progress") for e in tape)
    counts = [len(part) for part in updates.split("|")]
    assert max(counts) <= -(-n_envs * n_steps // steps_per_update)
    n_silent = learning_starts // (n_envs * n_steps)
    assert counts[:n_silent] == [0] * n_silent


@pytest.mark.parametrize(("n_envs", "total_steps"), [(4, 160), (3, 100), (5, 1)])
def test_the_total_is_reached_and_no_rollout_is_begun_after_it(n_envs, total_steps):
    run, _ = record(settings(n_envs=n_envs, total_steps=total_steps))
    assert total_steps <= run.n_steps_done < total_steps + 4 * n_envs


def test_a_run_stops_after_the_rollout_in_which_it_is_asked_to():
    run, tape = record(SMALL, stop_after=3)
    assert run.n_steps_done == 3 * 16
    assert of(tape, "progress") == [16] * 3


def test_a_finished_run_is_not_played_on():
    run, _ = record(SMALL)
    envs = FakeEnvs()
    train(run, envs=envs)
    assert "act" not in envs.tape


def test_the_games_that_ended_are_the_curve_of_scores():
    envs, tracker = FakeEnvs(lengths=(5,), worths=(1.0, 1.0, 1.0)), FakeTracker()
    train(make_run(), envs=envs, tracker=tracker)
    assert tracker.column("rollout/ep_rew_mean") == [5.0] * 9  # none in the first 4 steps
    assert tracker.column("rollout/ep_len_mean") == [5.0] * 9


# Determinism, and what each term changes


@EACH_KIND
def test_two_runs_with_one_seed_are_equal_to_the_bit(what):
    runs = [make_run(settings(**what)) for _ in range(2)]
    trackers = [train(run) for run in runs]
    assert same_weights(*runs)
    rows = [
        [{tag: x for tag, x in row.items() if tag != "time/fps"} for _, row in tracker.rows]
        for tracker in trackers
    ]
    assert rows[0] == rows[1]


def test_runs_with_different_seeds_differ():
    runs = [make_run(settings(seed=seed)) for seed in (0, 1)]
    for run in runs:
        torch.manual_seed(0)
        run.student.load_state_dict(ActorCritic(TINY, 3).state_dict())
        train(run)
    assert not same_weights(*runs)


@pytest.mark.parametrize(
    "what",
    [
        CURIOUS | {"w_icm": ZERO, "c_int": ZERO},
        AUX | {"w_icm": ZERO},
        BONUS | {"c_int": ZERO},
        RND | {"c_int": ZERO},
        RND | {"w_rnd": ZERO},
        {"w_entropy": ONE, "w_value": constant(3.0)},
        {"icm_gradient": "both", "c_int": ONE, "w_icm": ONE},
        {"curiosity_source": "rnd", "c_int": ONE, "w_rnd": constant(3.0)},
        {"uncertainty_target": "both"},
    ],
    ids=[
        "curiosity", "aux", "bonus", "rnd's bonus", "rnd", "policy terms, no reward",
        "no curiosity", "no curiosity by rnd", "no uncertainty",
    ],
)  # fmt: skip
def test_a_term_of_weight_zero_leaves_a_run_as_if_it_had_never_heard_of_it(what):
    assert same_weights(trained(), trained(**what))


ONE_UPDATE = {"total_steps": 32, "steps_per_update": 16, "epsilon": ZERO}
ACTIVE = {
    "aux": AUX,
    "aux by both losses": AUX | {"icm_gradient": "both"},
    "bonus": BONUS,
    "rnd": RND,
    "reward": {"c_ext": ONE},
    "uncertainty": {"use_uncertainty": True},
    "temperature": {"temperature": 2.0},
    "reverse kl": {"loss": "reverse_kl"},
    "candidates": {"n_candidates": 4},
    "action gap": {"n_candidates": 4, "prefer": "gap"},
}


@pytest.mark.parametrize("what", ACTIVE.values(), ids=ACTIVE)
def test_each_mechanism_changes_the_student_from_the_first_update_on(what):
    plain, other = trained(**ONE_UPDATE), trained(**ONE_UPDATE, **what)
    assert plain.n_updates == other.n_updates == 1
    gradient, changed = first_gradient(plain), first_gradient(other)
    assert (changed - gradient).norm() > 1e-3 * gradient.norm()  # far beyond rounding


def test_importance_weights_change_what_is_learned_from_the_candidates_kept():
    kept = {"n_candidates": 4} | ONE_UPDATE
    plain, weighted = (
        first_gradient(trained(**kept, importance_weights=on)) for on in (False, True)
    )
    assert (weighted - plain).norm() > 1e-3 * plain.norm()
    assert same_weights(trained(importance_weights=True), trained())  # uniform: all are kept


def test_curiosity_starts_from_numbers_of_its_own():
    cfg, student = settings(**CURIOUS), make_run().student
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = make_icm(cfg, student).state_dict()
    assert torch.equal(torch.rand(1), expected)
    again, other = (make_icm(replace(cfg, seed=seed), student).state_dict() for seed in (0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["inverse_model.0.weight"], other["inverse_model.0.weight"])


@pytest.mark.parametrize("max_grad_norm", [10.0, 0.05], ids=["unclipped", "clipped"])
def test_curiosity_that_is_cut_off_from_the_encoder_does_not_change_the_student(max_grad_norm):
    cut_off = trained(**AUX, icm_gradient="none", max_grad_norm=max_grad_norm)
    assert cut_off.icm is not None
    expected = weights_of(trained(max_grad_norm=max_grad_norm))
    # Not to the bit: states and successors pass the encoder in one batch of twice the size.
    torch.testing.assert_close(weights_of(cut_off), expected, rtol=0, atol=1e-5)


def test_a_bonus_beside_an_auxiliary_loss_of_no_weight_is_a_bonus_alone():
    gradients = [
        first_gradient(trained(**ONE_UPDATE | what)) for what in (BONUS, CURIOUS | {"w_icm": ZERO})
    ]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_uncertainty_that_weights_the_bonus_alone_leaves_distillation_alone():
    only_bonus = {"use_uncertainty": True, "uncertainty_target": "bonus"}
    unheard = {**BONUS, "w_policy": constant(0.0), "w_value": constant(0.0)}
    assert same_weights(trained(**unheard), trained(**unheard, **only_bonus))
    assert not same_weights(trained(**BONUS), trained(**BONUS, **only_bonus))


# What is learned


LEARNING = {
    "student": WIDTHS["1pct"],
    "n_envs": 8,
    "total_steps": 960,
    "ring_size": 1024,
    "batch_size": 32,
    "log_steps": 64,
}


@pytest.mark.parametrize("loss", ["kl", "reverse_kl", "js", "nll", "mse"])
def test_distillation_lowers_the_divergence_from_a_fixed_teacher_tenfold(loss):
    # Where a student is sure of what its teacher never does, the reverse KL's gradient vanishes.
    lr = constant(5e-4 if loss == "reverse_kl" else 2e-3)
    cfg = settings(**LEARNING, loss=loss, learning_rate=lr, data_init=False)
    tracker = train(make_run(cfg))
    if loss == "nll":  # its optimum is the argmax, not the teacher's distribution
        assert tracker.column("distill/agreement")[-1] == 1
        return
    kl = tracker.column("distill/kl")
    assert kl[0] > 0.2
    assert np.mean(kl[-5:]) < kl[0] / 10


def test_the_games_reward_alone_teaches_a_student_from_scratch():
    cfg = settings(
        **LEARNING | FROM_SCRATCH | {"total_steps": 1600}, n_steps=16, steps_per_update=16,
        learning_rate=constant(3e-3), epsilon=ZERO, learning_starts=0,
    )  # fmt: skip
    envs, run = FakeEnvs(8), make_run(cfg)
    tracker = train(run, envs=envs)
    reward = np.mean(envs.rewards, 1)  # chance: 1/3
    assert reward[:20].mean() < 0.5
    assert reward[-20:].mean() > 0.8
    assert not tracker.column("distill/kl")


def opinionated_teacher(envs):
    """A small random network whose answers differ from state to state; as drawn, they hardly do."""
    torch.manual_seed(1)
    network = ActorCritic(WIDTHS["0.3pct"], envs.n_actions)
    envs.reset()
    rng = np.random.default_rng(0)
    obs = [envs.step(rng.integers(envs.n_actions, size=envs.n_envs)).obs for _ in range(160)]
    with torch.no_grad():
        answers = network.logits(torch.from_numpy(np.concatenate(obs[20::5])))  # (B, A)
        factor = 1.5 / answers.std(0).mean()
        network.action_net.bias.sub_(answers.mean(0)).mul_(factor)
        network.action_net.weight.mul_(factor)
    return FrozenPolicy(network)


@pytest.mark.atari
def test_distilling_a_real_network_on_real_frames_lowers_the_divergence():
    # Most of Gopher's picture moves; where little does, a student needs thousands of updates.
    envs = make_atari("GopherNoFrameskip-v4", 8, seed=0, training=True, n_threads=1)
    teacher = opinionated_teacher(envs)
    changes = {"total_steps": 1536, "ring_size": 2048, "learning_rate": constant(2e-3)}
    run = make_run(settings(**LEARNING | changes), n_actions=envs.n_actions)
    untrained = deepcopy(run.student)
    train(run, envs=envs, teacher=teacher)
    envs.close()
    batch = run.ring.sample(np.random.default_rng(0), 500, pairs=False)
    answers = batch.teacher_logits
    # The ring's labels are the answers to the states that it rebuilds.
    torch.testing.assert_close(answers, teacher.logits(batch.obs), rtol=0, atol=1e-4)
    blind = answers.softmax(1).mean(0).log().expand_as(answers)  # the best that looks at nothing
    with torch.no_grad():
        before, after, constant_answer = (
            float(divergence("kl", answers, logits).mean())
            for logits in (untrained.logits(batch.obs), run.student.logits(batch.obs), blind)
        )
    assert after < 0.6 * min(before, constant_answer)


# What is logged


def test_metrics_of_a_run_with_everything_on_describe_every_term():
    tracker = train(make_run(settings(**EVERYTHING)))
    tags = {tag for _, row in tracker.rows for tag in row}
    terms = {"distill", "icm", "policy", "value", "entropy"}
    assert {f"{group}/{term}" for group in ("loss", "grad_norm") for term in terms} <= tags
    assert {
        "icm/inverse_loss", "icm/forward_loss", "icm/inverse_accuracy", "icm/intrinsic_reward",
        "icm/feature_std", "explore/coverage", "explore/bonus_std", "explore/bonus_share",
        "uncertainty/mean", "explore/epsilon", "explore/teacher_mix", "time/fps",
        "train/learning_rate", "train/n_updates", "distill/kl", "distill/agreement",
        "distill/teacher_entropy", "distill/student_entropy", "rollout/ep_rew_mean",
    } <= tags  # fmt: skip
    assert all(norm > 0 for term in terms for norm in tracker.column(f"grad_norm/{term}"))
    assert all(x > 0 for x in tracker.column("icm/intrinsic_reward"))


def test_metrics_of_a_plain_run_have_no_word_of_what_is_off():
    tags = {tag for _, row in train(make_run()).rows for tag in row}
    off = ("loss/", "grad_norm/", "icm/", "rnd/", "explore/bonus", "unc")
    assert {tag for tag in tags if tag.startswith(off)} == {"loss/distill", "grad_norm/distill"}


def test_gradient_norms_are_measured_every_fifth_row():
    tracker = train(make_run(settings(total_steps=320, learning_starts=0)))
    rows = [i for i, (_, row) in enumerate(tracker.rows) if "grad_norm/distill" in row]
    assert np.diff(rows).tolist() == [5] * (len(rows) - 1)
    assert len(rows) >= 3


def test_schedules_are_logged_as_they_were_used():
    cfg = settings(learning_rate=LinearSchedule(1e-3, 0.0), epsilon=LinearSchedule(0.4, 0.0, 0.5))
    run = make_run(cfg)
    run.learner = learner = TapedLearner(run.learner, [])
    tracker = train(run)
    begun = np.arange(10) / 10  # the share of the run that was done when each rollout began
    np.testing.assert_allclose(learner.step_sizes, 1e-3 * (1 - np.repeat(begun[1:], 2)), rtol=1e-6)
    np.testing.assert_allclose(tracker.column("train/learning_rate"), 1e-3 * (1 - begun), rtol=1e-6)
    expected = np.maximum(0, 0.4 - 0.8 * begun)
    np.testing.assert_allclose(tracker.column("explore/epsilon"), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("instead", ["epsilon", "teacher_mix"])
def test_students_act_and_encoders_learn_by_their_schedules(monkeypatch, instead):
    fading = LinearSchedule(1.0, 0.0, 0.5)
    acting = {"epsilon": ZERO, "teacher_mix": ZERO} | {instead: fading}
    cfg = settings(**CURIOUS, **acting, w_icm=fading, icm_gradient="inverse")
    own, gradients = [], []
    label, compute_losses = training.label, training.compute_losses

    def watched_label(rollout, *rest):
        own.append(float(rollout.on_policy.mean()))
        return label(rollout, *rest)

    def watched_losses(*args, icm_gradient, **more):
        gradients.append(icm_gradient)
        return compute_losses(*args, icm_gradient=icm_gradient, **more)

    monkeypatch.setattr(training, "label", watched_label)
    monkeypatch.setattr(training, "compute_losses", watched_losses)
    train(make_run(cfg))
    assert (own[0], own[5:]) == (0.0, [1.0] * 5)  # 1 and 0; ten rollouts
    assert gradients == ["inverse"] * 8 + ["none"] * 10  # two updates a rollout from the second on


def test_an_intrinsic_reward_that_no_longer_counts_is_not_logged_on():
    cfg = settings(**CURIOUS | {"c_int": LinearSchedule(1.0, 0.0, 0.5)})
    tracker = train(make_run(cfg))
    logged = [step for step, row in tracker.rows if "icm/intrinsic_reward" in row]
    assert logged
    assert max(logged) <= 96  # the rollout that began at step 80 is the first without


# Divergence


def failing(cfg, *, teacher=None, envs=None):
    """Train until it fails; returns error message and tape."""
    tape = []
    with pytest.raises(DivergedError) as error:
        train(make_run(cfg), teacher=teacher, envs=envs, hooks=fake_hooks(tape))
    return str(error.value), tape


EVERY_ROLLOUT = {"checkpoint_steps": 16, "eval_steps": 16, "batch_size": 64}


def test_a_loss_that_is_not_a_number_stops_the_run_before_that_step_is_saved():
    cfg = settings(**EVERY_ROLLOUT)
    message, tape = failing(cfg, teacher=FixedTeacher(fails_after=4))
    assert "term distill is not finite" in message
    assert "step 80" in message
    assert of(tape, "checkpoint") == of(tape, "evaluate") == [16, 32, 48, 64]


def test_the_terms_named_are_those_that_first_were_not_finite():
    envs = FakeEnvs(worths=(0.0, float("inf"), 0.0))
    message, tape = failing(settings(**EVERY_ROLLOUT, c_ext=ONE), envs=envs)
    assert "term policy and value is not finite" in message
    assert "step 32" in message
    assert of(tape, "checkpoint") == [16]


EXPLODING = {"learning_rate": constant(1e30)} | ONE_UPDATE


def test_what_the_last_update_broke_is_not_saved():
    run = make_run(settings(**EXPLODING))
    train(run)  # each loss is measured before its update, and so was fine
    with pytest.raises(DivergedError, match="term distill is not finite at step 32"):
        check_saveable(run)


def test_a_predictor_that_is_broken_is_not_saved():
    run = make_run(settings(**RND))
    train(run)
    assert run.rnd is not None
    with torch.no_grad():
        next(run.rnd.predictor.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="term rnd is not finite"):
        check_saveable(run)


def test_a_critic_that_is_broken_is_not_saved():
    """Of states in the ring no loss asks it: its weights alone tell."""
    run = make_run(settings(c_ext=ONE))
    train(run)
    assert run.student.value_net is not None
    with torch.no_grad():
        next(run.student.value_net.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="weights are not finite at step"):
        check_saveable(run)


@EACH_KIND
def test_a_healthy_run_is_saveable_and_none_the_different_for_it(what):
    run = make_run(settings(**what))
    check_saveable(run)  # with nothing in its ring
    train(run)
    before = deepcopy(run.state_dict())
    check_saveable(run)
    assert_same_state(before, run.state_dict())


# Corners


@pytest.mark.parametrize(
    "what",
    [
        {"w_distill": LinearSchedule(1.0, 0.0, 0.5)},
        {"w_distill": ZERO, "c_ext": LinearSchedule(1.0, 0.0, 0.5)},
        FROM_SCRATCH | {"epsilon": ONE},
        {"n_steps": 1, "learning_starts": 0, "steps_per_update": 4},
    ],
    ids=["no weight left", "no reward left", "no own action", "no pair yet"],
)
def test_a_rollout_with_nothing_to_learn_from_is_played_and_changes_nothing(what):
    run = make_run(settings(**what))
    train(run)
    assert run.n_steps_done == SMALL.total_steps
    assert all(weight.isfinite().all() for weight in weights_of(run).values())


def test_layers_are_standardized_once_however_late_the_first_pair_comes(monkeypatch):
    fitted = []
    monkeypatch.setattr(training, "standardize", lambda encoder, obs: fitted.append(len(obs)))
    train(make_run(settings(n_steps=1, learning_starts=0, steps_per_update=4)))
    assert len(fitted) == 1


def test_nothing_is_learned_before_the_layers_are_standardized(monkeypatch):
    """The first rollouts, of one row, have no pair; PPO alone could learn from them."""
    cfg = settings(**FROM_SCRATCH, n_steps=1, learning_starts=0, steps_per_update=4)
    run, found = make_run(cfg), []
    drawn = deepcopy(run.student.encoder.state_dict())
    monkeypatch.setattr(
        training, "standardize", lambda encoder, obs: found.append(deepcopy(encoder.state_dict()))
    )
    train(run)
    (before,) = found
    assert all(torch.equal(before[name], weight) for name, weight in drawn.items())


def test_a_run_resumed_before_its_layers_were_standardized_standardizes_them():
    cfg = settings(n_steps=1, learning_starts=0, steps_per_update=4)
    first, resumed = interrupted(cfg, after=1)
    assert first.n_updates > 0
    assert not first.is_fitted
    assert not resumed.is_fitted
    train(resumed)
    assert resumed.is_fitted


def test_entropy_alone_is_trained_on_too():
    only_entropy = {"c_ext": ONE, "w_policy": ZERO, "w_value": ZERO, "w_entropy": ONE}
    tracker = train(make_run(settings(**only_entropy)))
    assert any("loss/entropy" in row for _, row in tracker.rows)


def test_a_teacher_is_asked_no_more_once_its_doubts_weight_nothing():
    fading = {"c_int": LinearSchedule(1.0, 0.0, 0.5), "uncertainty_target": "bonus"}
    tracker = train(make_run(settings(**BONUS, use_uncertainty=True, **fading, ring_size=40)))
    doubted = [step for step, row in tracker.rows if "uncertainty/mean" in row]
    assert doubted
    assert max(doubted) < 160  # by then the ring has forgotten the last doubts, of step 80
    assert max(doubted) <= 80  # and until then it has zeros among them, which would pass for trust


def test_a_ring_that_could_hold_no_whole_pair_is_refused_with_the_smallest_size():
    with pytest.raises(ValueError, match=r"--ring_size must be at least .* = 20, got 16"):
        make_run(settings(n_steps=2, ring_size=16))
    run = make_run(settings(n_steps=2, ring_size=20))
    train(run)
    assert run.n_updates == 18


# Averaged weights


def test_averages_keep_their_share_at_each_update_and_leave_training_as_it_is():
    plain, averaged = make_run(), make_run(settings(**AVERAGED))
    seen = []
    plain.learner.step = noting(plain.learner.step, lambda: seen.append(weights_of(plain)))
    for run in (plain, averaged):
        train(run)
    assert same_weights(plain, averaged)
    expected = seen[0]
    for weights in seen[1:]:
        expected = {k: 0.75 * mean + 0.25 * weights[k] for k, mean in expected.items()}
    assert len(seen) == averaged.n_updates > 5
    found = {k: v for k, v in averaged.scored_student.state_dict().items() if k in expected}
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert plain.scored_student is plain.student


# Resuming


def assert_same_state(left, right, path=""):
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_same_state(left[key], right[key], f"{path}/{key}")
    elif isinstance(left, list):
        assert_same_state(dict(enumerate(left)), dict(enumerate(right)), path)
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), path
    else:
        assert left == right, path


def interrupted(cfg, *, after, **games):
    """Train some rollouts, save, and continue in a new run built from the same settings."""
    first = make_run(cfg)
    train(first, envs=FakeEnvs(cfg.n_envs, **games), hooks=fake_hooks(stop_after=after))
    torch.manual_seed(99)
    resumed = make_run(cfg)
    resumed.load_state_dict(through_a_file(first.state_dict()))
    return first, resumed


@EACH_KIND
def test_a_saved_state_is_put_back_whole(what):
    first, resumed = interrupted(settings(**what), after=5)
    assert first.n_updates > 0
    first.ring.restart_games()
    assert_same_state(first.state_dict(), resumed.state_dict())


@EACH_KIND
def test_a_run_resumed_between_games_ends_as_one_that_never_stopped(what):
    games = {"lengths": (4,), "alike": True}  # every game ends with its rollout
    cfg = settings(**what)
    straight = make_run(cfg)
    train(straight, envs=FakeEnvs(**games))
    _, resumed = interrupted(cfg, after=5, **games)
    train(resumed, envs=FakeEnvs(**games))
    left, right = straight.state_dict(), resumed.state_dict()
    assert left.pop("train_seconds") > 0
    assert right.pop("train_seconds") > 0
    assert_same_state(left, right)


def test_a_resumed_run_keeps_counting_schedules_and_periods():
    cfg = settings(total_steps=320, log_steps=64, learning_rate=LinearSchedule(1e-3, 0.0))
    _, resumed = interrupted(cfg, after=9)
    tape, tracker = [], FakeTracker()
    train(resumed, tracker=tracker, hooks=fake_hooks(tape))
    assert of(tape, "evaluate") == of(tape, "checkpoint") == [192, 256, 320]
    assert [step for step, _ in tracker.rows] == [192, 256, 320]
    begun = np.array([176, 240, 304]) / 320  # when the rollouts of those rows began
    np.testing.assert_allclose(tracker.column("train/learning_rate"), 1e-3 * (1 - begun), rtol=1e-6)
    assert tracker.column("train/n_updates") == [22, 30, 38]


def test_no_pair_spans_the_break_of_a_resumed_run():
    cfg = settings(**ONE_UPDATE)
    _, resumed = interrupted(cfg, after=1, lengths=(1000,))
    train(resumed, envs=FakeEnvs(lengths=(1000,)))
    drawn = resumed.ring.sample(np.random.default_rng(0), 200, pairs=False).place
    assert set(drawn // cfg.n_envs) == {0, 1, 2, 4, 5, 6}  # rows 3 and 7 are the newest of each


# --- what a run is made of ---


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ({}, {"optimizer": "adam"}),
        ({}, {"max_grad_norm": 0.05}),
        ({"c_ext": constant(1.0)}, {"clip_range": 1e-3}),
    ],
    ids=["optimizer", "max_grad_norm", "clip_range"],
)
def test_what_a_step_is_like_is_as_the_settings_say(what, change):
    assert not same_weights(trained(**what), trained(**what, **change))


def test_a_run_computes_in_the_type_and_starts_from_the_seed_asked_for():
    def student(seed: int) -> ActorCritic:
        cfg, teacher = settings(seed=seed), FixedTeacher()
        how = {"n_stack": 4, "device": CPU, "dtype": torch.bfloat16}
        return make_distillation(cfg, teacher, **how).student

    first, again, other = (student(seed).state_dict() for seed in (0, 0, 1))
    assert student(0).encoder.dtype == torch.bfloat16
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["action_net.weight"], other["action_net.weight"])
