"""Labels: the teacher is asked once, about what the student saw, and its answer is a constant."""

import numpy as np
import pytest
import torch
from torch import Tensor

from distill import losses
from distill.labels import label
from distill.networks import ActorCritic
from distill.types import WIDTHS, Rollout
from distill.uncertainty import Uncertainty

T, N, A = 3, 2, 4
CPU = torch.device("cpu")


def make_rollout(n_stack: int = 4) -> Rollout:
    rng = np.random.default_rng(0)
    flags = np.zeros((T, N), bool)
    return Rollout(
        obs=rng.integers(256, size=(T, N, n_stack, 84, 84), dtype=np.uint8),
        age=np.arange(T)[:, None] + np.zeros((1, N), np.int64),
        action=rng.integers(A, size=(T, N)),
        reward=np.zeros((T, N), np.float32),
        done=flags,
        game_over=flags,
        student_logits=rng.normal(size=(T, N, A)).astype(np.float32),
        on_policy=~flags,
        last_obs=rng.integers(256, size=(N, n_stack, 84, 84), dtype=np.uint8),
    )


class RecordingTeacher:
    """Answers with sums of pixels; keeps what it was shown, and whether a graph was wanted."""

    n_actions = A

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.graph_wanted: list[bool] = []

    def logits(self, obs: Tensor) -> Tensor:
        self.seen.append(obs)
        self.graph_wanted.append(torch.is_grad_enabled())
        corners = [obs[:, 0, 0, 0], obs[:, -1, 0, 0], obs[:, -1, 41, 83], obs[:, 0, 83, 83]]
        return torch.stack(corners, 1).float() / 64


class RecordingUncertainty(Uncertainty):
    """Says that sample i is uncertain by i; keeps what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, obs: Tensor, logits: Tensor) -> Tensor:
        self.seen.append((obs, logits))
        return torch.arange(len(obs)).float()


def test_the_teacher_is_asked_once_about_all_states_without_a_graph():
    teacher = RecordingTeacher()
    label(make_rollout(), teacher, None, CPU)
    assert [obs.shape for obs in teacher.seen] == [(T * N, 4, 84, 84)]
    assert teacher.graph_wanted == [False]


@pytest.mark.parametrize("n_stack", [1, 4])
def test_the_teacher_sees_the_bytes_that_the_student_saw(n_stack):
    teacher, rollout = RecordingTeacher(), make_rollout(n_stack)
    label(rollout, teacher, None, CPU)
    assert teacher.seen[0].dtype == torch.uint8
    assert np.array_equal(teacher.seen[0].numpy().reshape(rollout.obs.shape), rollout.obs)


def test_each_states_label_is_the_answer_to_that_state():
    rollout = make_rollout()
    labels = label(rollout, RecordingTeacher(), None, CPU)
    assert labels.teacher_logits.shape == (T, N, A)
    for t, n in np.ndindex(T, N):
        alone = RecordingTeacher().logits(torch.from_numpy(rollout.obs[t, n][None]))
        np.testing.assert_allclose(labels.teacher_logits[t, n], alone[0].numpy(), rtol=1e-6)


def test_the_divergence_is_the_forward_kl_of_the_student_that_acted():
    rollout = make_rollout()
    labels = label(rollout, RecordingTeacher(), None, CPU)
    p, q = (
        torch.distributions.Categorical(logits=torch.from_numpy(x).double())
        for x in (labels.teacher_logits, rollout.student_logits)
    )
    expected = torch.distributions.kl_divergence(p, q).numpy()
    np.testing.assert_allclose(labels.divergence, expected, rtol=1e-4, atol=1e-6)


def test_without_uncertainty_nothing_is_uncertain():
    labels = label(make_rollout(), RecordingTeacher(), None, CPU)
    assert labels.uncertainty.shape == (T, N)
    assert not labels.uncertainty.any()


def test_uncertainty_is_asked_once_with_the_teachers_answers_and_kept_in_order():
    uncertainty, teacher = RecordingUncertainty(), RecordingTeacher()
    labels = label(make_rollout(), teacher, uncertainty, CPU)
    assert labels.uncertainty.tolist() == [[0, 1], [2, 3], [4, 5]]
    ((obs, logits),) = uncertainty.seen
    assert torch.equal(obs, teacher.seen[0])
    assert np.array_equal(logits.numpy(), labels.teacher_logits.reshape(T * N, A))


def test_labels_are_arrays_that_the_ring_stores():
    labels = label(make_rollout(), RecordingTeacher(), RecordingUncertainty(), CPU)
    assert [array.dtype for array in labels] == [np.float32] * 3


def test_a_teacher_gets_no_gradient_from_what_its_labels_teach():
    torch.manual_seed(3)
    teacher, student = (ActorCritic(WIDTHS["0.3pct"], A) for _ in range(2))
    rollout = make_rollout()
    labels = label(rollout, teacher, None, CPU)
    answers = student.logits(torch.from_numpy(rollout.obs).flatten(0, 1))
    taught = torch.from_numpy(labels.teacher_logits).flatten(0, 1)
    losses.divergence("kl", taught, answers).mean().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None and p.grad.any() for p in student.action_net.parameters())
