"""The objective on small real networks: which term trains what, and which terms count when."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.config import DistillConfig
from distill.icm import ICM
from distill.idle import refuse_idle
from distill.networks import ActorCritic, pack
from distill.objective import Losses, compute_losses
from distill.rnd import RND
from distill.schedules import LinearSchedule
from distill.settings import from_mapping, read_yaml, to_mapping
from distill.teacher_config import EvalConfig, TeacherConfig
from distill.types import WIDTHS, Batch, PolicyBatch

N, N_ACTIONS = 6, 3
ALL = frozenset({"distill", "icm", "policy", "value", "entropy"})
POLICY_TERMS = frozenset({"policy", "value", "entropy"})
ENCODER = {"conv", "linear"}
OFF = LinearSchedule(0.0, 0.0)
ON = LinearSchedule(1.0, 1.0)


def constant(value: float) -> LinearSchedule:
    return LinearSchedule(value, value)


def make_networks() -> tuple[ActorCritic, ICM]:
    torch.manual_seed(3)  # with which no unit is dead
    student = ActorCritic(WIDTHS["0.3pct"], N_ACTIONS, with_value=True)
    icm = ICM(student.encoder.features_dim, N_ACTIONS, n_hidden=16)
    assert student.value_net is not None
    for from_zero in (student.value_net, icm.forward_model[2]):
        for parameter in from_zero.parameters():
            nn.init.normal_(parameter, std=0.3)
    return student, icm


def make_indifferent(student: ActorCritic) -> None:
    """Let a student give all actions the same probability."""
    nn.init.zeros_(student.action_net.weight)
    nn.init.zeros_(student.action_net.bias)


def random_frames(n: int, rng: torch.Generator) -> Tensor:
    """Draw packed stacks (n, 21, 21, 64) that differ in more than their noise."""
    obs = torch.randint(0, 256, (n, 4, 84, 84), generator=rng)
    shade = torch.rand(n, 4, 3, 3, generator=rng).repeat_interleave(28, 2).repeat_interleave(28, 3)
    return pack((obs * shade).to(torch.uint8))


def make_batches() -> tuple[Batch, PolicyBatch]:
    rng = torch.Generator().manual_seed(0)
    batch = Batch(
        place=np.arange(N),
        obs=random_frames(N, rng),
        next_obs=random_frames(N, rng),
        action=torch.arange(N) % N_ACTIONS,
        teacher_logits=2 * torch.randn(N, N_ACTIONS, generator=rng),
        uncertainty=torch.rand(N, generator=rng),
        inclusion=torch.linspace(0.1, 1, N),
    )
    policy_batch = PolicyBatch(
        obs=random_frames(N, rng),
        action=torch.arange(N) % N_ACTIONS,
        old_log_prob=torch.full((N,), 1 / N_ACTIONS).log(),
        advantage=torch.randn(N, generator=rng),
        target_value=torch.randn(N, generator=rng),
    )
    return batch, policy_batch


def twice(batch: Any) -> Any:
    """Put every sample of a batch into it once more."""
    return type(batch)(
        *(torch.cat((x, x)) if isinstance(x, Tensor) else np.tile(x, 2) for x in batch)
    )


def compute(
    student: ActorCritic,
    icm: ICM,
    cfg: DistillConfig | None = None,
    *,
    names: frozenset[str] = ALL,
    batches: tuple[Batch, PolicyBatch] | None = None,
) -> Losses:
    cfg = cfg or DistillConfig(use_curiosity=True, clip_range=10.0)
    batch, policy_batch = batches or make_batches()
    return compute_losses(
        student,
        icm,
        batch,
        policy_batch,
        cfg=cfg,
        names=names,
        icm_gradient=cfg.encoder_gradient(0.0),
    )


def groups(student: ActorCritic, icm: ICM) -> dict[str, list[nn.Parameter]]:
    assert student.value_net is not None
    modules = {
        "conv": student.encoder.cnn,
        "linear": student.encoder.linear,
        "action": student.action_net,
        "value": student.value_net,
        "inverse": icm.inverse_model,
        "forward": icm.forward_model,
    }
    return {name: list(module.parameters()) for name, module in modules.items()}


def gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True))


def trained_by(loss: Tensor, student: ActorCritic, icm: ICM) -> set[str]:
    """Name the groups that a loss's gradient reaches; each of their tensors, or none."""
    reached = {
        name: [bool(g.any()) for g in gradients(loss, parameters)]
        for name, parameters in groups(student, icm).items()
    }
    assert all(all(flags) or not any(flags) for flags in reached.values()), reached
    return {name for name, flags in reached.items() if any(flags)}


# What a term trains


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("distill", {*ENCODER, "action"}),
        ("policy", {*ENCODER, "action"}),
        ("entropy", {*ENCODER, "action"}),
        ("value", {"value"}),
        ("icm", {*ENCODER, "inverse", "forward"}),
    ],
)
def test_a_term_trains_what_it_claims_to_train_and_nothing_else(name, expected):
    networks = make_networks()
    assert trained_by(compute(*networks).terms[name], *networks) == expected


def test_the_critic_of_the_games_reward_shapes_the_encoder_and_that_of_a_bonus_does_not():
    networks = make_networks()
    rewarded = DistillConfig(c_ext=constant(1.0))
    assert trained_by(compute(*networks, rewarded).terms["value"], *networks) == {*ENCODER, "value"}


def rnd_term(student: ActorCritic, icm: ICM | None, rnd: RND, *, names: frozenset[str]) -> Losses:
    cfg = DistillConfig(use_curiosity=True, curiosity_source="rnd")
    return compute_losses(
        student, icm, make_batches()[0], None, cfg=cfg, names=names, icm_gradient="none", rnd=rnd
    )


def test_the_rnd_term_trains_its_predictor_and_nothing_of_the_student():
    student, icm = make_networks()
    rnd = RND()
    term = rnd_term(student, icm, rnd, names=frozenset({"distill", "rnd"})).terms["rnd"]
    assert trained_by(term, student, icm) == set()
    assert all(g.any() for g in gradients(term, list(rnd.predictor.parameters())))


def test_an_rnd_changes_no_other_term():
    student, icm = make_networks()
    out = rnd_term(student, icm, RND(), names=frozenset({"distill", "rnd"}))
    plain = compute(student, icm, names=frozenset({"distill"})).terms
    assert torch.equal(out.terms["distill"], plain["distill"])


@pytest.mark.parametrize("loss", ["kl", "reverse_kl", "js", "nll", "mse"])
def test_every_divergence_trains_encoder_and_action_head(loss):
    networks = make_networks()
    out = compute(*networks, DistillConfig(loss=loss), names=frozenset({"distill"}))
    assert trained_by(out.terms["distill"], *networks) == {*ENCODER, "action"}


@pytest.mark.parametrize(
    ("curiosity", "icm_gradient", "beta", "expected"),
    [
        ("both", "inverse", 0.0, {*ENCODER, "inverse"}),  # the inverse loss alone
        ("both", "inverse", 1.0, {"forward"}),  # the forward loss alone
        ("both", "both", 1.0, {*ENCODER, "forward"}),
        ("aux", "both", 0.2, {*ENCODER, "inverse", "forward"}),
        ("both", "none", 0.2, {"inverse", "forward"}),
        ("aux", "none", 0.2, {"inverse", "forward"}),
        ("bonus", "inverse", 0.2, {"inverse", "forward"}),  # a bonus leaves the encoder alone
        ("bonus", "both", 0.2, {"inverse", "forward"}),
    ],
)
def test_the_icms_losses_reach_the_encoder_as_wired(curiosity, icm_gradient, beta, expected):
    networks = make_networks()
    cfg = DistillConfig(
        use_curiosity=True, curiosity=curiosity, icm_gradient=icm_gradient, icm_beta=beta
    )
    assert trained_by(compute(*networks, cfg).terms["icm"], *networks) == expected


def test_the_icm_of_a_bonus_leaves_the_encoder_alone_where_its_losses_have_no_weight():
    """Without a weight of its own the ICM is trained all the same, at weight 1, for its bonus."""
    networks = make_networks()
    cfg = DistillConfig(use_curiosity=True, curiosity="both", w_icm=OFF)
    assert trained_by(compute(*networks, cfg).terms["icm"], *networks) == {"inverse", "forward"}


# Values


def own_icm_loss(student: ActorCritic, icm: ICM, batch: Batch, wiring: str, beta: float) -> Tensor:
    """Compute the ICM's loss anew: sample by sample, states and successors apart, cuts by hand."""
    assert batch.next_obs is not None
    total = torch.zeros(())
    pairs = zip(student.encoder(batch.obs), student.encoder(batch.next_obs), strict=True)
    for (phi, next_phi), action in zip(pairs, batch.action.tolist(), strict=True):
        answer = icm.inverse_model(torch.cat((phi, next_phi)))
        inverse = answer.exp().sum().log() - answer[action]
        now, then = (phi, next_phi) if wiring == "both" else (phi.detach(), next_phi.detach())
        one_hot = torch.tensor([float(a == action) for a in range(N_ACTIONS)])
        error = now + icm.forward_model(torch.cat((now, one_hot))) - then
        total = total + (1 - beta) * inverse + beta * (error @ error) / 2
    return total / len(batch.action)


@pytest.mark.parametrize("wiring", ["inverse", "both"])
def test_an_auxiliary_icm_adds_its_weight_times_its_own_gradient_to_the_encoders(wiring):
    student, icm = make_networks()
    cfg = DistillConfig(
        use_curiosity=True, curiosity="aux", icm_gradient=wiring, icm_beta=0.3, w_icm=constant(0.7)
    )
    weights = cfg.weights(0.0)
    encoder = list(student.encoder.parameters())
    terms = compute(student, icm, cfg, names=frozenset(weights)).terms
    curious = gradients(torch.stack([weights[k] * terms[k] for k in terms]).sum(), encoder)
    plain = gradients(
        compute(student, icm, DistillConfig(), names=frozenset({"distill"})).terms["distill"],
        encoder,
    )
    own = gradients(own_icm_loss(student, icm, make_batches()[0], wiring, 0.3), encoder)
    for total, base, added in zip(curious, plain, own, strict=True):
        assert (0.7 * added).norm() > 1e-3 * base.norm()
        torch.testing.assert_close(total, base + 0.7 * added, rtol=1e-3, atol=1e-5)


def test_the_value_term_is_the_mean_squared_error_to_the_returns():
    student, icm = make_networks()
    policy_batch = make_batches()[1]
    estimates = student.value(student.encoder(policy_batch.obs)).tolist()
    errors = [v - r for v, r in zip(estimates, policy_batch.target_value.tolist(), strict=True)]
    expected = sum(e * e for e in errors) / N
    assert compute(student, icm).terms["value"].item() == pytest.approx(expected, rel=1e-5)


def test_the_entropy_term_falls_as_entropy_rises():
    """Its weight is positive, so that descending it keeps the policy from settling too early."""
    student, icm = make_networks()
    make_indifferent(student)
    assert compute(student, icm).terms["entropy"].item() == pytest.approx(-np.log(3), rel=1e-6)


def test_the_policy_term_of_a_policy_that_has_not_moved_is_minus_the_mean_advantage():
    student, icm = make_networks()
    make_indifferent(student)
    expected = -make_batches()[1].advantage.mean().item()
    assert compute(student, icm).terms["policy"].item() == pytest.approx(expected, rel=1e-5)


def test_batches_twice_have_the_same_terms_and_gradients():
    student, icm = make_networks()
    batch, policy_batch = make_batches()
    cfg = DistillConfig(use_curiosity=True, use_uncertainty=True, icm_gradient="both")
    once = compute(student, icm, cfg)
    doubled = compute(student, icm, cfg, batches=(twice(batch), twice(policy_batch)))
    parameters = [p for group in groups(student, icm).values() for p in group]
    for name in ALL:
        torch.testing.assert_close(doubled.terms[name], once.terms[name], rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(
            gradients(doubled.terms[name], parameters),
            gradients(once.terms[name], parameters),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", ["kl", "reverse_kl"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_answers_and_the_kl_are_those_of_the_rings_samples_whatever_is_trained(
    loss, temperature
):
    student, icm = make_networks()
    batch = make_batches()[0]
    cfg = DistillConfig(loss=loss, temperature=temperature, match_temperature=False)
    out = compute(student, icm, cfg)
    logits = student.logits(batch.obs)
    torch.testing.assert_close(out.logits, logits, rtol=1e-4, atol=1e-5)
    p, q = batch.teacher_logits.softmax(1), logits.softmax(1)
    assert out.kl is not None
    torch.testing.assert_close(out.kl, (p * (p / q).log()).sum(1), rtol=1e-3, atol=1e-5)
    assert not out.kl.requires_grad
    tau = (batch.teacher_logits / temperature).softmax(1)
    a, b = (tau, q) if loss == "kl" else (q, tau)
    trained = (a * (a / b).log()).sum(1).mean()
    torch.testing.assert_close(out.terms["distill"], trained, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("hinton", [False, True], ids=["rusu", "hinton"])
def test_the_temperature_convention_reaches_the_loss(hinton):
    """At s = t Hinton's loss vanishes; Rusu's asks for a softer answer than the teacher's."""
    student, icm = make_networks()
    batch, policy_batch = make_batches()
    batch = batch._replace(teacher_logits=student.logits(batch.obs).detach())
    cfg = DistillConfig(temperature=2.0, match_temperature=hinton)
    term = compute(student, icm, cfg, batches=(batch, policy_batch)).terms["distill"].item()
    assert (abs(term) < 1e-6) == hinton


# Uncertainty


@pytest.mark.parametrize("target", ["distill", "both"])
def test_uncertainty_weighs_each_samples_divergence_with_mean_1(target):
    student, icm = make_networks()
    batch, policy_batch = make_batches()
    doubt = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])  # of mean 1, so trust is 1, 1/2, 1/3
    cfg = DistillConfig(use_uncertainty=True, uncertainty_target=target, temperature=1.0)
    batches = (batch._replace(uncertainty=doubt), policy_batch)
    out = compute(student, icm, cfg, names=frozenset({"distill"}), batches=batches)
    assert out.kl is not None
    share = torch.tensor([6.0, 3.0, 2.0, 6.0, 3.0, 2.0]) / 22  # sums to 1
    expected = (share * out.kl).sum()
    torch.testing.assert_close(out.terms["distill"], expected, rtol=1e-5, atol=0)


def terms_with(cfg: DistillConfig, uncertainty: Tensor) -> dict[str, Tensor]:
    batch, policy_batch = make_batches()
    batches = (batch._replace(uncertainty=uncertainty), policy_batch)
    return compute(*make_networks(), cfg, batches=batches).terms


def test_uncertainty_has_no_part_in_any_other_term():
    plain = terms_with(DistillConfig(use_curiosity=True), torch.rand(N))
    cfg = DistillConfig(use_curiosity=True, use_uncertainty=True, uncertainty_target="both")
    weighted = terms_with(cfg, torch.linspace(0, 5, N))
    assert weighted["distill"] != plain["distill"]
    for name in ALL - {"distill"}:
        assert torch.equal(weighted[name], plain[name])


def test_uncertainty_for_the_bonus_alone_leaves_distillation_as_it_is():
    bonus = {"use_uncertainty": True, "uncertainty_target": "bonus"}
    cfg = DistillConfig(**bonus, use_curiosity=True, curiosity="bonus")
    plain = terms_with(DistillConfig(), torch.zeros(N))
    assert torch.equal(terms_with(cfg, torch.linspace(0, 5, N))["distill"], plain["distill"])


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_equal_uncertainty_weighs_nothing(level):
    plain = terms_with(DistillConfig(), torch.zeros(N))["distill"]
    weighted = terms_with(DistillConfig(use_uncertainty=True), torch.full((N,), level))["distill"]
    torch.testing.assert_close(weighted, plain, rtol=1e-6, atol=0)


def test_importance_weights_are_in_proportion_to_one_over_the_probability_of_being_kept():
    batches = make_batches()
    cfg = DistillConfig(importance_weights=True, use_curiosity=True, temperature=1.0)
    out = compute(*make_networks(), cfg, batches=batches)
    rarity = 1 / batches[0].inclusion
    assert out.kl is not None
    expected = (rarity * out.kl).sum() / rarity.sum()
    torch.testing.assert_close(out.terms["distill"], expected, rtol=1e-5, atol=0)
    plain = compute(*make_networks(), DistillConfig(use_curiosity=True), batches=batches)
    for name in ALL - {"distill"}:
        assert torch.equal(out.terms[name], plain.terms[name])


# Which terms are computed


class Untouchable(ICM):
    """An ICM that must not be asked."""

    def forward(self, phi: Tensor, next_phi: Tensor, action: Tensor, gradient: str) -> Any:
        raise AssertionError("a term that was not asked for was computed")


@pytest.mark.parametrize(
    "names", [frozenset({name}) for name in sorted(ALL)] + [ALL, frozenset({"distill", "value"})]
)
def test_the_terms_are_those_asked_for_and_no_others(names):
    student, icm = make_networks()
    if "icm" not in names:
        icm = Untouchable(16, N_ACTIONS)
    if "value" not in names:
        student.value_net = None  # using it would fail
    assert compute(student, icm, names=names).terms.keys() == names


def test_an_rnd_that_is_not_asked_for_is_not_computed(monkeypatch):
    rnd = RND()
    monkeypatch.setattr(rnd, "forward", Untouchable.forward)  # fails however it is called
    assert rnd_term(*make_networks(), rnd, names=frozenset({"distill"})).terms.keys() == {"distill"}


def test_a_term_that_happens_to_be_0_is_still_a_term():
    student, icm = make_networks()
    batch, policy_batch = make_batches()
    batch = batch._replace(teacher_logits=student.logits(batch.obs).detach())
    policy_batch = policy_batch._replace(advantage=torch.zeros(N))
    terms = compute(student, icm, batches=(batch, policy_batch)).terms
    assert terms.keys() == ALL
    assert terms["policy"] == 0


def test_no_policy_minibatch_means_no_policy_terms():
    student, icm = make_networks()
    cfg = DistillConfig(use_curiosity=True)
    out = compute_losses(
        student,
        icm,
        make_batches()[0],
        None,
        cfg=cfg,
        names=ALL,
        icm_gradient=cfg.encoder_gradient(0.0),
    )
    assert out.terms.keys() == {"distill", "icm"}


@pytest.mark.parametrize("names", [ALL, POLICY_TERMS, frozenset({"distill"})], ids=len)
def test_all_that_is_encoded_goes_through_the_encoder_at_once(names):
    student, icm = make_networks()
    sizes = []
    student.encoder.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    batch, policy_batch = make_batches()
    assert batch.next_obs is not None
    compute(student, icm, DistillConfig(use_curiosity=True), names=names)
    assert sizes == [len(batch.obs) + len(batch.next_obs) + len(policy_batch.obs)]


def test_no_ring_minibatch_means_policy_terms_alone():
    """PPO from scratch never draws from the ring."""
    student, _ = make_networks()
    cfg = DistillConfig(w_distill=OFF, c_ext=ON)
    out = compute_losses(
        student,
        None,
        None,
        make_batches()[1],
        cfg=cfg,
        names=POLICY_TERMS,
        icm_gradient=cfg.encoder_gradient(0.0),
    )
    assert out.terms.keys() == POLICY_TERMS
    assert out.kl is None


def test_a_minibatch_without_successors_gives_the_same_distillation_term():
    student, icm = make_networks()
    batch, policy_batch = make_batches()
    cfg, names = DistillConfig(), frozenset({"distill"})
    alone = (batch._replace(next_obs=None), policy_batch)
    torch.testing.assert_close(
        compute(student, icm, cfg, names=names, batches=alone).terms["distill"],
        compute(student, icm, cfg, names=names).terms["distill"],
        rtol=1e-5,
        atol=1e-6,
    )


# Settings: which terms count when


def test_a_plain_run_has_one_term():
    assert DistillConfig().weights(0.0) == {"distill": 1.0}


def test_weights_that_are_zero_are_left_out():
    cfg = DistillConfig(c_ext=ON, w_distill=OFF, w_value=OFF, w_entropy=constant(0.01))
    assert cfg.weights(0.5) == {"policy": 1.0, "entropy": 0.01}


def test_weights_follow_their_schedules_until_they_reach_zero():
    cfg = DistillConfig(w_distill=LinearSchedule(1.0, 0.0, 0.5), c_ext=ON)
    assert cfg.weights(0.25)["distill"] == pytest.approx(0.5, rel=1e-12)
    assert "distill" not in cfg.weights(0.5)


def test_policy_terms_count_with_the_games_reward():
    assert DistillConfig(c_ext=ON).weights(0.0).keys() == {"distill", "policy", "value"}


def test_policy_terms_stop_when_the_games_reward_stops():
    cfg = DistillConfig(c_ext=LinearSchedule(1.0, 0.0, 0.5))
    assert "policy" in cfg.weights(0.4)
    assert cfg.weights(0.5).keys() == {"distill"}


def test_policy_terms_start_when_the_games_reward_starts():
    cfg = DistillConfig(c_ext=LinearSchedule(0.0, 1.0))
    assert cfg.weights(0.0).keys() == {"distill"}
    assert "policy" in cfg.weights(0.1)


@pytest.mark.parametrize(("source", "left"), [("icm", {"distill", "icm"}), ("rnd", {"distill"})])
def test_by_default_the_bonus_has_faded_and_its_terms_stop_before_a_run_ends(source, left):
    cfg = DistillConfig(use_curiosity=True, curiosity_source=source)
    assert {"policy", "value", source} <= cfg.weights(0.79).keys()
    for progress in (0.8, 0.9, 1.0):
        assert cfg.c_int(progress) == 0
        assert cfg.weights(progress).keys() == left


def test_an_icm_that_was_there_for_the_bonus_alone_stops_with_it():
    bonus = DistillConfig(use_curiosity=True, curiosity="bonus")
    assert "icm" in bonus.weights(0.79)
    assert bonus.weights(0.8) == {"distill": 1.0}
    to_come = replace(bonus, c_int=LinearSchedule(0.0, 1.0))
    assert "icm" in to_come.weights(0.0)  # it learns first what a surprise is
    both = DistillConfig(use_curiosity=True, curiosity="both", w_icm=LinearSchedule(0.3, 0.0, 0.5))
    assert (both.weights(0.7)["icm"], both.weights(0.8)) == (1.0, {"distill": 1.0})


def test_a_teacher_is_doubted_for_as_long_as_that_weights_something():
    for target, doubted in (("bonus", (True, False)), ("both", (True, True))):
        cfg = DistillConfig(use_curiosity=True, use_uncertainty=True, uncertainty_target=target)
        assert (cfg.needs_uncertainty(0.79), cfg.needs_uncertainty(0.8)) == doubted
    assert not DistillConfig(use_curiosity=True).needs_uncertainty(0.0)


@pytest.mark.parametrize("curiosity", ["bonus", "both"])
def test_rnd_is_a_bonus_whether_or_not_more_was_asked_for(curiosity):
    cfg = DistillConfig(use_curiosity=True, curiosity=curiosity, curiosity_source="rnd")
    assert cfg.use_rnd
    assert cfg.weights(0.0) == {"distill": 1.0, "rnd": 1.0, "policy": 1.0, "value": 0.5}


@pytest.mark.parametrize("more", [{}, {"use_curiosity": True, "curiosity": "aux"}])
def test_uncertainty_cannot_weight_a_bonus_that_is_not_there(more):
    with pytest.raises(ValueError, match=r"--uncertainty_target bonus needs --use_curiosity with"):
        DistillConfig(use_uncertainty=True, uncertainty_target="bonus", **more)


def test_a_run_that_would_learn_nothing_is_refused():
    with pytest.raises(ValueError, match=r"--w_distill 0 leaves nothing to learn from without"):
        DistillConfig(w_distill=OFF)
    assert DistillConfig(w_distill=OFF, c_ext=ON).weights(0.0)
    assert DistillConfig(w_distill=OFF, use_curiosity=True).weights(0.0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"curiosity": "bonus", "c_int": OFF}, "--curiosity bonus and --c_int 0"),
        ({"curiosity": "aux", "w_icm": OFF}, "--curiosity aux and --w_icm 0"),
        ({"w_icm": OFF, "c_int": OFF}, "--curiosity both and --c_int 0, --w_icm 0"),
        ({"curiosity": "bonus", "curiosity_source": "rnd", "w_rnd": OFF}, "bonus and --w_rnd 0"),
        ({"curiosity_source": "rnd", "w_rnd": OFF}, "both and --w_rnd 0"),
        ({"curiosity_source": "rnd", "c_int": OFF}, "both and --c_int 0"),
    ],
)
def test_curiosity_that_would_change_nothing_is_refused(settings, named):
    with pytest.raises(ValueError, match=f"--use_curiosity changes nothing with .*{named}"):
        refuse_idle(DistillConfig(use_curiosity=True, **settings))


EARLY = LinearSchedule(1.0, 0.0, 0.01)  # over after 1,000 steps; the first update is after 2,048


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("c_int", {"use_curiosity": True, "curiosity": "bonus", "total_steps": 2048}),
        ("c_int", {"use_curiosity": True, "c_int": EARLY}),
        ("w_icm", {"use_curiosity": True, "curiosity": "aux", "w_icm": EARLY}),
        ("w_distill", {"w_distill": EARLY, "c_ext": ON}),
        ("c_ext", {"c_ext": EARLY}),
        ("w_policy", {"c_ext": ON, "w_policy": EARLY}),
        ("w_rnd", {"use_curiosity": True, "curiosity_source": "rnd", "w_rnd": EARLY}),
        ("learning_rate", {"learning_rate": EARLY}),
    ],
)
def test_what_is_over_before_the_first_update_is_refused(name, settings):
    said = f"--{name} must be above 0 at some time from step 1,792 on, when the first update is"
    with pytest.raises(ValueError, match=said):
        refuse_idle(DistillConfig(**settings))
    refuse_idle(DistillConfig(**settings | {"learning_starts": 0}))


def test_uncertainty_weights_no_divergence_that_never_counts():
    cfg = DistillConfig(w_distill=OFF, c_ext=ON, use_uncertainty=True)
    assert not cfg.needs_uncertainty(0.5)
    with pytest.raises(ValueError, match="--use_uncertainty changes nothing with"):
        refuse_idle(cfg)
    faded = replace(cfg, w_distill=LinearSchedule(1.0, 0.0, 0.5))
    assert [faded.needs_uncertainty(progress) for progress in (0.4, 0.6)] == [True, False]
    rising = replace(cfg, w_distill=LinearSchedule(0.0, 1.0))
    assert rising.needs_uncertainty(0.0)  # labels are kept
    refuse_idle(faded)


@pytest.mark.parametrize("more", [{}, {"use_curiosity": True, "curiosity": "aux"}])
def test_uncertainty_of_a_bonus_that_is_not_there_is_neither_measured_nor_accepted(more):
    cfg = DistillConfig(
        use_uncertainty=True,
        uncertainty_target="both",
        w_distill=LinearSchedule(1.0, 0.0, 0.1),
        c_ext=ON,
        **more,
    )
    assert [cfg.needs_uncertainty(progress) for progress in (0.05, 0.5)] == [True, False]
    with pytest.raises(ValueError, match="--uncertainty_target both needs a bonus of"):
        refuse_idle(cfg)
    both = DistillConfig(use_curiosity=True, use_uncertainty=True, uncertainty_target="both")
    refuse_idle(both)
    refuse_idle(replace(both, batch_size=1))  # a bonus is weighted among those of a rollout


@pytest.mark.parametrize(
    "settings",
    [
        {"use_curiosity": True, "curiosity": "bonus"},
        {"use_curiosity": True, "curiosity": "both"},
        {"c_ext": ON},
        {"c_ext": ON, "w_distill": OFF},
    ],
)
def test_a_reward_that_no_policy_is_taught_is_refused(settings):
    with pytest.raises(ValueError, match=r"a reward .* changes nothing with --w_policy 0"):
        refuse_idle(DistillConfig(w_policy=OFF, **settings))
    refuse_idle(DistillConfig(**settings))


def test_a_run_in_which_no_state_is_followed_by_another_is_refused():
    cfg = DistillConfig(total_steps=16, n_steps=1, learning_starts=0)
    with pytest.raises(
        ValueError, match="--total_steps must be above --n_envs, 16, with --n_steps 1, got 16"
    ):
        refuse_idle(cfg)
    refuse_idle(replace(cfg, total_steps=17))


def test_a_run_that_would_end_before_its_first_update_is_refused():
    with pytest.raises(
        ValueError, match=r"--learning_starts must be below --total_steps, 500, got"
    ):
        refuse_idle(DistillConfig(total_steps=500, learning_starts=500))
    refuse_idle(DistillConfig(total_steps=501, learning_starts=500))
    rollouts = DistillConfig(total_steps=1000, learning_starts=0, n_envs=4, n_steps=8)  # 32 steps
    refuse_idle(replace(rollouts, steps_per_update=1024))
    with pytest.raises(
        ValueError, match=r"--steps_per_update must be at most the 1,024 steps .*, got 1,025"
    ):
        refuse_idle(replace(rollouts, steps_per_update=1025))


def test_a_run_that_would_learn_nothing_at_its_end_is_refused():
    falling = LinearSchedule(1.0, 0.0, 0.5)
    with pytest.raises(
        ValueError, match=r"--w_distill 1:0:0.5 leaves nothing to learn from at the"
    ):
        refuse_idle(DistillConfig(w_distill=falling))
    refuse_idle(DistillConfig(w_distill=falling, c_ext=ON))
    refuse_idle(DistillConfig(w_distill=LinearSchedule(1.0, 0.0)))


def test_a_bonus_without_discount_has_no_scale():
    with pytest.raises(ValueError, match="--gamma must be below 1 with a bonus, got 1"):
        DistillConfig(use_curiosity=True, gamma=1.0)
    assert DistillConfig(c_ext=ON, gamma=1.0).gamma == 1


def test_rnd_cannot_shape_the_encoder():
    with pytest.raises(ValueError, match=r"--curiosity aux needs --curiosity_source icm: rnd is"):
        DistillConfig(use_curiosity=True, curiosity="aux", curiosity_source="rnd")


def test_an_rnd_learns_by_its_weight_for_as_long_as_its_bonus_counts():
    rnd = {"use_curiosity": True, "curiosity_source": "rnd"}
    cfg = DistillConfig(**rnd, w_rnd=LinearSchedule(2.0, 0.0, 0.5))
    assert cfg.weights(0.25)["rnd"] == pytest.approx(1.0, rel=1e-12)
    assert "rnd" not in cfg.weights(0.5)
    assert "rnd" not in DistillConfig(**rnd, c_ext=ON).weights(0.8)
    assert "rnd" in DistillConfig(**rnd, c_int=LinearSchedule(0.0, 1.0)).weights(0.1)


@pytest.mark.parametrize("curiosity", ["bonus", "both"])
def test_a_bonus_trains_its_icm_even_if_the_icms_losses_have_no_weight(curiosity):
    cfg = DistillConfig(use_curiosity=True, curiosity=curiosity, w_icm=OFF)
    assert cfg.use_icm
    assert cfg.weights(0.0)["icm"] == 1.0


def test_an_auxiliary_icm_brings_no_policy_terms():
    cfg = DistillConfig(use_curiosity=True, curiosity="aux")
    assert cfg.weights(0.0) == {"distill": 1.0, "icm": 0.3}


@pytest.mark.parametrize(
    ("settings", "use_icm", "use_bonus", "use_reward"),
    [
        ({}, False, False, False),
        ({"c_ext": ON}, False, False, True),
        ({"curiosity": "bonus", "c_int": ON}, False, False, False),  # curiosity is off
        ({"use_curiosity": True}, True, True, True),
        ({"use_curiosity": True, "c_int": OFF}, True, False, False),
        ({"use_curiosity": True, "w_icm": OFF}, True, True, True),
        ({"use_curiosity": True, "w_icm": OFF, "c_int": OFF}, False, False, False),
        ({"use_curiosity": True, "curiosity": "aux"}, True, False, False),
        ({"use_curiosity": True, "curiosity": "aux", "c_ext": ON}, True, False, True),
        ({"use_curiosity": True, "curiosity": "aux", "w_icm": OFF}, False, False, False),
        ({"use_curiosity": True, "curiosity": "bonus"}, True, True, True),
        ({"use_curiosity": True, "curiosity_source": "rnd"}, False, True, True),
        ({"use_curiosity": True, "curiosity_source": "rnd", "w_icm": OFF}, False, True, True),
        ({"use_curiosity": True, "curiosity_source": "rnd", "w_rnd": OFF}, False, False, False),
        ({"use_curiosity": True, "curiosity_source": "rnd", "c_int": OFF}, False, False, False),
        ({"use_curiosity": True, "w_rnd": OFF}, True, True, True),
        ({"curiosity_source": "rnd"}, False, False, False),
    ],
)
def test_what_a_run_uses_follows_from_its_settings(settings, use_icm, use_bonus, use_reward):
    cfg = DistillConfig(**settings)
    assert (cfg.use_icm, cfg.use_bonus, cfg.use_reward) == (use_icm, use_bonus, use_reward)
    assert ("icm" in cfg.weights(0.0)) == use_icm
    assert ("rnd" in cfg.weights(0.0)) == cfg.use_rnd == (use_bonus and not use_icm)
    assert ("value" in cfg.weights(0.0)) == use_reward


def test_a_ring_that_cannot_hold_two_rollouts_is_refused():
    with pytest.raises(ValueError, match=r"--ring_size must be at least .* = 1024, got 1023"):
        DistillConfig(n_envs=16, n_steps=32, ring_size=1023)
    DistillConfig(n_envs=16, n_steps=32, ring_size=1024)


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e4, 1e30])
def test_a_temperature_at_which_nothing_could_be_learned_is_refused(temperature):
    with pytest.raises(ValueError, match=r"--temperature must be from 0\.001 to 1000, got "):
        DistillConfig(temperature=temperature)
    for allowed in (0.001, 1000.0):
        DistillConfig(temperature=allowed)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.0},
        {"loss": "l2"},
        {"curiosity": "much"},
        {"curiosity_source": "ngu"},
        {"icm_beta": 1.1},
    ],
    ids=str,
)
def test_a_value_that_is_not_allowed_is_refused_by_name(settings):
    with pytest.raises(ValueError, match=f"--{next(iter(settings))} must be"):
        DistillConfig(**settings)


@pytest.mark.parametrize("cls", [DistillConfig, TeacherConfig, EvalConfig])
def test_every_default_reads_back_from_a_file_as_it_was(cls, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in to_mapping(cls()).items() if v is not None))
    assert from_mapping(cls, to_mapping(cls()), origin="memory") == cls()
    assert from_mapping(cls, read_yaml(path), origin="a file") == cls()


def test_trust_and_rarity_are_multiplied():
    batch, policy_batch = make_batches()
    cfg = DistillConfig(importance_weights=True, use_uncertainty=True, temperature=1.0)
    doubt = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    batches = (batch._replace(uncertainty=doubt), policy_batch)
    out = compute(*make_networks(), cfg, names=frozenset({"distill"}), batches=batches)
    rarity, trust = 1 / batch.inclusion, torch.tensor([6.0, 3.0, 2.0, 6.0, 3.0, 2.0]) * 6 / 22
    assert out.kl is not None
    expected = (trust * rarity / rarity.mean() * out.kl).mean()
    torch.testing.assert_close(out.terms["distill"], expected, rtol=1e-5, atol=0)
