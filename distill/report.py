"""What is reported of a finished distillation: one record, and a table for people."""

from typing import Any

import torch

from distill.evaluation import Score
from distill.fidelity import Fidelity, compare
from distill.floors import Floors
from distill.networks import n_actor_parameters
from distill.run_state import Distillation
from distill.scoring import Reference, score_table
from distill.settings import to_yaml
from distill.teacher import NetworkTeacher

FIDELITY_STATES = 2_048


@torch.no_grad()  # only measured
def fidelity_in_training(run: Distillation) -> Fidelity:
    """Compare the student with its teacher on states that it was trained on."""
    batch = run.ring.sample(run.ring_rng, FIDELITY_STATES, pairs=False)
    return compare(batch.teacher_logits, run.scored_student.logits(batch.obs))


def report(
    teacher: NetworkTeacher,
    teacher_name: str,
    run: Distillation,
    reference: Reference,
    student: dict[str, Score],
    fresh: Fidelity,
) -> dict[str, Any]:
    """Collect everything that is known of a finished run, as plain values.

    Args:
        teacher: whose student was trained.
        teacher_name: its file's.
        run: that ended.
        reference: the teacher's scores and the floors.
        student: the student's scores, by mode of play.
        fresh: the student beside its teacher on states of the games that those are of.
    """
    known = fidelity_in_training(run)
    n_student = n_actor_parameters(run.student)
    n_teacher = n_actor_parameters(teacher.network)
    return {
        "env_id": run.cfg.env,
        "teacher_chkpt": teacher_name,
        "student": str(run.cfg.student),
        "score_share": reference.share(student["sampled"]),
        "student_score": {mode: score.to_json() for mode, score in student.items()},
        "teacher_score": {mode: score.to_json() for mode, score in reference.teacher.items()},
        "floors": reference.floors.to_json(),
        "student_parameters": n_student,
        "teacher_parameters": n_teacher,
        "compression": n_teacher / n_student,
        "kl": known.kl,
        "agreement": known.agreement,
        "fresh_kl": fresh.kl,
        "fresh_agreement": fresh.agreement,
        "fresh_states": fresh.n_states,
        "steps": run.n_steps_done,
        "updates": run.n_updates,
        "settings": to_yaml(run.cfg),
    }


def describe(record: dict[str, Any]) -> str:
    """Lay a record out as the table that a run ends with."""
    scores = {
        f"{who}, {mode}": Score.from_json(score)
        for who in ("teacher", "student")
        for mode, score in record[f"{who}_score"].items()
    }
    title = f"{record['teacher_chkpt']} -> {record['student']} on {record['env_id']}"
    table = score_table(scores, Floors.from_json(record["floors"]))
    share, counts = record["score_share"], f"{record['updates']:,} updates"
    lines = {
        "score share": "none: the teacher is no better than the floor"
        if share is None
        else f"{share:.1%} of the teacher's, above the floor, sampled actions",
        "parameters": f"{record['student_parameters']:,} of {record['teacher_parameters']:,},"
        f" {record['compression']:.1f} times fewer",
        "KL, agreement": f"{record['kl']:.4f} nats, {record['agreement']:.1%} of"
        f" {FIDELITY_STATES:,} states of its training",
        "on new states": f"{record['fresh_kl']:.4f} nats, {record['fresh_agreement']:.1%} of"
        f" {record['fresh_states']:,} of its final games",
        "speed": f"{record['steps_per_second']:,.0f} steps/s in training, {counts}",
        "wall-clock": f"{record['train_seconds']:,.0f} s training,"
        f" {record['wall_seconds']:,.0f} s with all scoring",
        "curves": f"tensorboard --logdir {record['run_dir']}",
    }
    return "\n".join([title, table, *(f"{name:<16}{text}" for name, text in lines.items())])
