"""Going on from a student or a teacher: weights, critic, steps, a teacher kept near."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import make_teacher
from policies import N_ACTIONS, a_policy, log_probabilities, random_obs
from stable_baselines3 import PPO
from torch import Tensor
from zips import tiny_state, write_zip

from distill.networks import ActorCritic, pack
from distill.ppo import algorithm, predecessors, warm_start
from distill.ppo.fast_policy import FastCnnPolicy
from distill.ppo.kickstart import Kickstart
from distill.ppo.sb3 import export_zip
from distill.schedules import LinearSchedule
from distill.student_files import load_student, save_student
from distill.teacher import load_actor_critic, load_teacher
from distill.teacher_config import TeacherConfig
from distill.types import WIDTHS

ENV = "PongNoFrameskip-v4"
SMALL = {"n_envs": 2, "n_steps": 16, "batch_size": 16, "precision": "float32"}


class FixedTeacher:
    """Answers every observation alike."""

    n_actions, n_stack = 3, 4

    def __init__(self, logits: list[float]) -> None:
        self._logits = torch.tensor(logits)

    def logits(self, obs: Tensor) -> Tensor:
        return self._logits.expand(len(obs), -1)


def kickstart(w_kl: float, w_entropy: float) -> Kickstart:
    made = Kickstart(FixedTeacher([2.0, 0.0, -1.0]))
    made.w_kl, made.w_entropy = w_kl, w_entropy
    return made


def answers() -> tuple[Tensor, Tensor, Tensor]:
    """Return logits that want gradients, their log-softmax and its entropies, of four states."""
    logits = torch.tensor([[0.0, 1, 2], [1, 1, 1], [3, 0, 0], [2, 0, -1]], requires_grad=True)
    log_probs = logits.log_softmax(1)
    return logits, log_probs, -(log_probs.exp() * log_probs).sum(1)


def test_the_regularizer_is_entropy_less_kl_each_with_its_weight():
    _, log_probs, entropy = answers()
    teacher = torch.tensor([2.0, 0.0, -1.0]).log_softmax(0)
    kl = (teacher.exp() * (teacher - log_probs)).sum(1)
    result = kickstart(0.5, 0.1).regularizer(entropy, torch.zeros(4), log_probs)
    torch.testing.assert_close(result, 0.1 * entropy - 0.5 * kl, rtol=1e-6, atol=1e-7)
    assert abs(float(kl[3].detach())) < 1e-6  # the state in which both agree


def test_its_gradient_is_that_of_distillation():
    logits, log_probs, entropy = answers()
    loss = -kickstart(0.5, 0.0).regularizer(entropy, torch.zeros(4), log_probs).mean()
    (gradient,) = torch.autograd.grad(loss, logits)
    teacher = torch.tensor([2.0, 0.0, -1.0]).softmax(0)
    expected = 0.5 * (logits.softmax(1) - teacher) / 4
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-5, atol=1e-7)


def test_means_are_of_the_minibatches_since_the_last_call():
    _, log_probs, entropy = answers()
    made = kickstart(1.0, 0.0)
    assert made.pop_means() == (None, None)
    for rows in (slice(0, 2), slice(2, 4)):
        made.regularizer(entropy[rows], torch.zeros(2), log_probs[rows])
    kl, mean_entropy = made.pop_means()
    assert kl is not None
    assert mean_entropy == pytest.approx(float(entropy.detach().mean()), rel=1e-6)
    assert made.pop_means() == (None, None)


def test_a_teacher_whose_kl_has_no_weight_is_not_asked():
    _, log_probs, entropy = answers()
    nobody = Kickstart(FixedTeacher([]))  # to be asked would be an error
    nobody.w_kl, nobody.w_entropy = 0.0, 0.1
    result = nobody.regularizer(entropy, torch.zeros(4), log_probs)
    torch.testing.assert_close(result, 0.1 * entropy, rtol=0, atol=0)
    assert nobody.pop_means() == (None, pytest.approx(float(entropy.detach().mean()), rel=1e-6))


# --- from files ---


@pytest.fixture
def student_path(tmp_path) -> Path:
    torch.manual_seed(5)
    save_student(tmp_path / "student.safetensors", ActorCritic(WIDTHS["0.3pct"], N_ACTIONS), {})
    return tmp_path / "student.safetensors"


@pytest.fixture
def teacher_path(tmp_path) -> Path:
    export_zip(a_policy(WIDTHS["0.1pct"]), N_ACTIONS, tmp_path / "teacher.zip")
    return tmp_path / "teacher.zip"


def config(**settings) -> TeacherConfig:
    return TeacherConfig(total_steps=64, env=ENV, device="cpu", **SMALL, **settings)


def built(cfg: TeacherConfig, *, fresh: bool = True) -> tuple[PPO, FastCnnPolicy]:
    cfg = predecessors.check_networks(cfg)
    model = algorithm.build(cfg)
    warm_start.begin_with(model, cfg, is_new=fresh)
    assert isinstance(model.policy, FastCnnPolicy)
    return model, model.policy


@pytest.mark.atari
def test_a_policy_begins_with_the_students_answers_at_its_size(student_path):
    student, _ = load_student(student_path, device=torch.device("cpu"))
    _, policy = built(config(init_from=student_path))
    assert policy.features_extractor.widths == WIDTHS["0.3pct"]
    ours = log_probabilities(policy, random_obs())
    expected = student.logits(random_obs()).log_softmax(1)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.atari
def test_a_policy_that_begins_as_a_student_values_every_state_at_zero(student_path):
    """Random weights on a student's large features would be advantages before any reward."""
    _, policy = built(config(init_from=student_path))
    with torch.no_grad():
        assert policy.predict_values(random_obs()).abs().max() == 0


@pytest.mark.atari
def test_a_policy_begins_with_a_teachers_answers_and_values(teacher_path):
    teacher = a_policy(WIDTHS["0.1pct"])
    _, policy = built(config(init_from=teacher_path))
    obs = random_obs()
    for answer in (log_probabilities, lambda policy, obs: policy.predict_values(obs)):
        # float16 weights in the zip
        torch.testing.assert_close(answer(policy, obs), answer(teacher, obs), rtol=0.01, atol=1e-3)
    assert policy.value_net.weight.abs().min() > 0


@pytest.mark.parametrize(("steps", "first"), [(40, 40), (None, 0), ("40", 0), (-1, 0)])
def test_a_teachers_steps_count_where_its_record_says_them(teacher_path, steps, first):
    teacher_path.with_suffix(".json").write_text(json.dumps({"steps": steps}))
    cfg = config(init_from=teacher_path)
    predecessors.check_steps(cfg)
    assert predecessors.first_step(cfg) == first


def test_without_a_record_a_teachers_name_says_its_steps(teacher_path):
    path = teacher_path.rename(teacher_path.with_name("envPong_20260102-000000_n_iters40.zip"))
    cfg = config(init_from=path)
    predecessors.check_steps(cfg)
    assert predecessors.first_step(cfg) == 40


@pytest.mark.parametrize("name", ["learning_rate", "clip_range"])
def test_a_rate_that_is_over_after_a_new_runs_first_rollout_is_refused(teacher_path, name):
    """All rollouts but one would teach nothing; a run of a single rollout has no other."""
    kept = {"kickstart": teacher_path, "w_kickstart": LinearSchedule(1.0, 0.0, 0.01)}
    said = f"--{name} must be above 0 at some time after the 32 steps of the first rollout, got"
    with pytest.raises(ValueError, match=said):
        predecessors.check_steps(config(**kept | {name: LinearSchedule(1e-3, 0.0, 0.5)}))
    cfg = config(**kept | {name: LinearSchedule(1e-3, 0.0, 0.51)})
    predecessors.check_steps(cfg)
    predecessors.check_steps(replace(cfg, total_steps=32))


@pytest.mark.parametrize("name", ["w_kickstart", "learning_rate", "clip_range"])
def test_a_schedule_that_is_over_when_training_goes_on_is_refused(teacher_path, name):
    teacher_path.with_suffix(".json").write_text(json.dumps({"steps": 32}))
    late = {name: LinearSchedule(1e-3, 0.0, 0.5)}
    with pytest.raises(ValueError, match=f"--{name} must be above 0 at some time after the 32 ste"):
        predecessors.check_steps(config(init_from=teacher_path, kickstart=teacher_path, **late))
    rates = {"w_kickstart": LinearSchedule(1.0, 0.0)} | {name: LinearSchedule(1e-3, 0.0, 0.51)}
    cfg = config(init_from=teacher_path, kickstart=teacher_path, **rates)
    predecessors.check_steps(cfg)
    assert predecessors.first_step(cfg) == 32


@pytest.mark.parametrize("name", ["w_kickstart", "learning_rate", "clip_range"])
def test_a_schedule_that_is_over_when_the_policy_begins_to_learn_is_refused(
    student_path, teacher_path, name
):
    both = {"init_from": student_path, "kickstart": teacher_path, "warm_up_steps": 32}
    rates = {"w_kickstart": LinearSchedule(1.0, 0.0)} | {name: LinearSchedule(1e-3, 0.0, 0.5)}
    said = f"--{name} must be above 0 at some time after the 32 steps of --warm_up_steps, got"
    with pytest.raises(ValueError, match=said):
        predecessors.check_steps(config(**both, **rates))
    predecessors.check_steps(config(**both, **rates | {name: LinearSchedule(1e-3, 0.0, 0.51)}))


def test_a_students_steps_do_not_count(student_path):
    student_path.with_suffix(".json").write_text(json.dumps({"steps": 40}))
    cfg = config(init_from=student_path, warm_up_steps=32)
    predecessors.check_steps(cfg)
    assert predecessors.first_step(cfg) == 0


def test_a_warm_up_longer_than_the_run_is_refused(student_path):
    message = "at most 32, where the last rollout of total_steps 64 begins, got 33: "
    with pytest.raises(ValueError, match=f"--warm_up_steps must be {message}"):
        predecessors.check_steps(config(init_from=student_path, warm_up_steps=33))


def test_a_total_that_leaves_no_step_after_the_teachers_is_refused(teacher_path):
    teacher_path.with_suffix(".json").write_text(json.dumps({"steps": 64}))
    with pytest.raises(ValueError, match=r"total_steps counts those of .* more than 64, got 64"):
        predecessors.check_steps(config(init_from=teacher_path))


def test_a_teacher_whose_critic_has_an_encoder_of_its_own_is_refused(tmp_path):
    state = tiny_state()
    name = "vf_features_extractor.cnn.0.bias"
    state[name] = state[name] + 1
    path = write_zip(tmp_path / "apart.zip", state)
    assert load_teacher(path).n_actions == 3  # its actor is fine
    with pytest.raises(ValueError, match=r"apart\.zip has a critic with an encoder of its own"):
        load_actor_critic(path)


def test_a_copy_that_would_unpack_to_more_than_memory_is_refused(tmp_path):
    state = tiny_state()
    name = "vf_features_extractor.cnn.0.bias"
    state[name] = torch.zeros(1, dtype=torch.float16).expand(2**45)
    with pytest.raises(ValueError, match=rf"has 35,184,372,088,832 numbers in {name}"):
        load_actor_critic(write_zip(tmp_path / "t.zip", state))


@pytest.mark.parametrize("copies", [True, False])
def test_values_are_read_from_old_zips_and_new_ones(tmp_path, copies):
    state = tiny_state(copies=copies)
    network = load_actor_critic(write_zip(tmp_path / "t.zip", state))
    assert network.value_net is not None
    torch.testing.assert_close(network.value_net.weight.data, state["value_net.weight"])


@pytest.mark.atari
def test_a_resumed_run_keeps_the_weights_it_has(student_path):
    cfg = config(init_from=student_path)
    begun, resumed = (built(cfg, fresh=fresh)[1] for fresh in (True, False))
    assert not torch.equal(
        begun.state_dict()["action_net.weight"], resumed.state_dict()["action_net.weight"]
    )


def test_only_the_value_head_learns_while_the_critic_warms_up():
    policy = a_policy(WIDTHS["0.1pct"])
    for only_values in (True, False):
        warm_start.learn_only_values(policy, only_values)
        policy.zero_grad()
        values, log_prob, entropy = policy.evaluate_actions(random_obs(), torch.zeros(5).long())
        (values.sum() + log_prob.sum() + entropy.sum()).backward()
        moved = {name for name, p in policy.named_parameters() if p.grad is not None}
        everything = {name for name, _ in policy.named_parameters()}
        heads = {"value_net.weight", "value_net.bias"}
        assert moved == (heads if only_values else everything)


@pytest.mark.atari
def test_ppo_with_a_teacher_comes_nearer_to_it():
    model, policy = built(config(learning_rate=LinearSchedule(3e-3, 3e-3)))
    policy.kickstart = Kickstart(FixedTeacher([0.0, 0, 0, 4, 0, 0]))
    policy.kickstart.w_kl, model.ent_coef = 10.0, 1.0
    obs, actions = pack(random_obs()), torch.zeros(5).long()
    distances = []
    for _ in range(2):
        policy.kickstart.pop_means()
        policy.evaluate_actions(obs, actions)
        kl, _ = policy.kickstart.pop_means()
        assert kl is not None
        distances.append(kl)
        model.learn(512)
    assert distances[1] < 0.5 * distances[0]


@pytest.mark.atari
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "BreakoutNoFrameskip-v4"}, r"--init_from .* choose from the 4 actions .* got 6"),
        ({"network": WIDTHS["net1"]}, "--network must be that of --init_from, 0.3pct, got net1"),
        ({"network": WIDTHS["nature"]}, "--network must be that of --init_from, 0.3pct, got nat"),
    ],
)
def test_a_student_of_other_actions_or_size_is_refused(student_path, settings, message):
    cfg = replace(config(init_from=student_path), **settings)
    with pytest.raises(ValueError, match=message):
        predecessors.check_networks(cfg, size_is_asked_for="network" in settings)


@pytest.mark.atari
def test_a_teacher_of_other_actions_is_refused(teacher_path):
    cfg = config(kickstart=teacher_path)
    with pytest.raises(ValueError, match=r"--kickstart .* choose from the 3 actions .* got 6"):
        predecessors.check_networks(replace(cfg, env="FreewayNoFrameskip-v0"))


def test_the_game_is_that_of_the_network_to_go_on_from_then_of_the_teacher_to_stay_near(tmp_path):
    student, teacher = tmp_path / "student.safetensors", tmp_path / "teacher.zip"
    network = ActorCritic(WIDTHS["0.1pct"], 3)
    save_student(student, network, {"env_id": "SkiingNoFrameskip-v4"})
    make_teacher(teacher)
    teacher.with_suffix(".json").write_text('{"env_id": "ALE/Boxing-v5"}')
    cfg = TeacherConfig(total_steps=64)
    both = replace(cfg, init_from=student, kickstart=teacher)
    assert predecessors.with_own_game(both).env == "SkiingNoFrameskip-v4"
    assert predecessors.with_own_game(replace(cfg, kickstart=teacher)).env == "ALE/Boxing-v5"
    save_student(student, network, {})  # as an unnamed teacher's, it does not say
    assert predecessors.with_own_game(both).env == "ALE/Boxing-v5"
    assert predecessors.with_own_game(cfg) == cfg
    teacher.with_suffix(".json").unlink()
    for silent, flag in (
        (both, "--init_from .*safetensors"),
        (replace(both, init_from=None), "--k"),
    ):
        with pytest.raises(ValueError, match=f"--env is missing: {flag}.* does not say which game"):
            predecessors.with_own_game(silent)


def test_a_file_that_is_no_network_is_told_as_such_not_as_one_that_names_no_game(tmp_path):
    (tmp_path / "no.zip").write_text("no zip")
    for name in "init_from", "kickstart":
        cfg = replace(TeacherConfig(total_steps=64), **{name: tmp_path / "no.zip"})
        with pytest.raises(ValueError, match=rf"^--{name}: .*no\.zip"):
            predecessors.with_own_game(cfg)
        with pytest.raises(FileNotFoundError, match=rf"^--{name}: .*none\.zip"):
            predecessors.with_own_game(replace(cfg, **{name: tmp_path / "none.zip"}))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for name in "init_from", "kickstart":
        with pytest.raises(FileNotFoundError):
            predecessors.check_networks(config(**{name: tmp_path / "none.zip"}))
