"""What a finished run says of its ICM: one whose answers are known, and in words."""

from typing import Any

import numpy as np
import pytest
import torch
from fakes import collapse, trained
from scripted import score_of

from distill import report
from distill.config import DistillConfig
from distill.evaluation import Score
from distill.fidelity import Fidelity
from distill.floors import Floors
from distill.icm import ICM
from distill.networks import ActorCritic
from distill.run_state import Distillation
from distill.schedules import LinearSchedule
from distill.scoring import Reference
from distill.settings import to_mapping
from distill.teacher import FrozenPolicy
from distill.types import WIDTHS

CURIOUS = {"use_curiosity": True}
AUX = CURIOUS | {"curiosity": "aux"}


def ignorant(action: int, run: Distillation) -> ICM:
    """Return an ICM that names one action whatever it sees, and foresees that nothing changes."""
    icm = ICM(run.student.encoder.features_dim, run.student.n_actions)
    last = icm.inverse_model[2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.eye(run.student.n_actions)[action]
    return icm


def understanding(run: Distillation) -> dict[str, float]:
    """Measure it on the same states each time."""
    run.ring_rng = np.random.default_rng(7)
    return report.understanding_in_training(run)


def test_an_icm_that_knows_nothing_is_as_good_as_its_one_answer_is_common():
    run, found = trained(**AUX), []
    for action in range(run.student.n_actions):
        run.icm = ignorant(action, run)
        found.append(understanding(run))
    shares = [each["inverse_accuracy"] for each in found]
    assert sum(shares) == pytest.approx(1)
    assert [each["majority_share"] for each in found] == [max(shares)] * len(found)
    assert {each["forward_skill"] for each in found} == {0.0}


def test_what_an_icm_learned_of_a_game_is_measured_on_the_students_own_features():
    run = trained(total_steps=1600, **AUX)
    found = understanding(run)
    assert found["forward_skill"] > 0.2
    collapse(run.student)
    assert understanding(run)["forward_skill"] == 0  # there is nothing to foresee


@pytest.mark.parametrize(
    "what",
    [
        {},
        CURIOUS | {"curiosity": "bonus"},
        CURIOUS | {"curiosity_source": "rnd"},
        AUX | {"w_icm": LinearSchedule(1.0, 0.0, 0.5)},
    ],
    ids=["plain", "bonus", "rnd", "faded"],
)
def test_no_icm_is_measured_that_is_not_trained_to_the_end(what):
    assert understanding(trained(**what)) == {}


def test_an_icm_whose_weight_falls_to_nothing_only_at_the_end_is_measured():
    assert understanding(trained(**AUX, w_icm=LinearSchedule(1.0, 0.0)))


@pytest.mark.parametrize(
    ("named", "skill", "ends"),
    [
        (0.91, 0.6, ("the commonest is 78.0% of them", '0.40 times as much as "nothing changes"')),
        (0.78, -0.5, ("no better than naming that one always", "1.50 times as much as")),
    ],
)
def test_what_it_learned_is_told_in_words(named, skill, ends):
    record = {"inverse_accuracy": named, "majority_share": 0.78, "forward_skill": skill}
    lines = report.describe_understanding(record)
    assert f"names {named:.1%} of actions" in lines["inverse model"]
    assert ends[0] in lines["inverse model"]
    assert ends[1] in lines["forward model"]
    assert ("no better" in lines["inverse model"]) == (named <= 0.78)
    assert lines["forward model"].endswith(": no better") == (skill <= 0)


def test_the_kl_in_training_is_from_the_teacher_to_the_student_that_is_scored():
    run = trained(ema_decay=0.9)
    run.ring_rng = np.random.default_rng(7)
    found = report.fidelity_in_training(run)
    batch = run.ring.sample(np.random.default_rng(7), report.N_STATES, pairs=False)
    with torch.no_grad():
        p, q = (x.softmax(1) for x in (batch.teacher_logits, run.scored_student.logits(batch.obs)))
    assert found.kl == pytest.approx(float((p * (p / q).log()).sum(1).mean()), rel=1e-4)


def test_a_record_tells_training_from_new_states_and_the_teacher_from_the_student():
    run, fresh = trained(), Fidelity(0.5, 0.25, 9)
    floors = Floors(score_of(0.0), score_of(1.0), best_action=0, n_envs=1, seed=0)
    reference = Reference({"sampled": score_of(5.0)}, floors)
    run.ring_rng = np.random.default_rng(7)
    known = report.fidelity_in_training(run)
    run.ring_rng = np.random.default_rng(7)
    teacher = FrozenPolicy(ActorCritic(WIDTHS["0.3pct"], 3))
    student = {"sampled": score_of(3.0)}
    record = report.report(
        teacher, run, teacher_name="t.zip", reference=reference, student=student, fresh=fresh
    )
    assert tuple(record[k] for k in ("fresh_kl", "fresh_agreement", "fresh_states")) == fresh
    assert (record["kl"], record["agreement"]) == known[:2]
    assert record["student_score"]["sampled"]["mean"] == 3
    assert record["teacher_score"]["sampled"]["mean"] == 5
    assert record["score_share"] == 0.5


def a_record(teacher: Score) -> dict[str, Any]:
    """Report a small run whose teacher has this score and whose floor's games score 1, 1, 2, 1."""
    floors = Floors(score_of(0.0), score_of(1.0, 1.0, 2.0, 1.0), 0, 1, 0)
    reference = Reference({"sampled": teacher}, floors)
    network = FrozenPolicy(ActorCritic(WIDTHS["0.3pct"], 3))
    student, fresh = {"sampled": score_of(3.0)}, Fidelity(0.5, 0.25, 9)
    record = report.report(
        network,
        trained(),
        teacher_name="t.zip",
        reference=reference,
        student=student,
        fresh=fresh,
    )
    return record | {"steps_per_second": 1, "train_seconds": 1, "wall_seconds": 1, "run_dir": "r"}


@pytest.mark.parametrize(
    ("teacher", "doubt"),
    [
        ((5.0, 5.0, 6.0, 6.0), False),
        ((0.0, 9.0, 1.0, 4.0), True),
        ((5.0,), True),
        ((0.5, 1.5), False),
    ],
)
def test_a_share_of_a_teacher_that_may_be_no_better_than_the_floor_is_in_doubt(teacher, doubt):
    record = a_record(score_of(*teacher))
    line = "\nin doubt as     the teacher cannot be told from the floor (95 %)\n"
    assert (line in report.describe(record)) == doubt


def test_the_command_for_the_curves_can_be_pasted_whatever_the_folder_is_called():
    record = a_record(score_of(5.0)) | {"run_dir": "my runs/1"}
    assert report.describe(record).endswith("\ncurves          tensorboard --logdir 'my runs/1'")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "all at their defaults"),
        ({"device": "cpu", "student": "net1", "checkpoint_steps": "9"}, "all at their defaults"),
        (
            {"loss": "mse", "use_uncertainty": True, "eval_greedy": False, "c_int": "0.2:0"},
            "--use_uncertainty --c_int 0.2:0 --loss mse --no-eval_greedy",
        ),
    ],
)
def test_the_table_says_which_settings_were_not_at_their_defaults(changes, line):
    record = a_record(score_of(5.0)) | {"settings": to_mapping(DistillConfig()) | changes}
    (told,) = [x for x in report.describe(record).splitlines() if x.startswith("settings ")]
    assert sorted(told.split()[1:]) == sorted(line.split())
    assert told.startswith("settings        ")
