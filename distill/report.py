"""What is reported of a finished distillation: one record, and a table for people."""

from typing import Any

import torch

from distill import losses
from distill.evaluation import Score
from distill.floors import Floors
from distill.networks import Student, n_actor_parameters
from distill.run_state import Distillation
from distill.scoring import Reference, score_table
from distill.settings import to_yaml
from distill.teacher import NetworkTeacher
from distill.types import Batch

FIDELITY_STATES = 2_048


@torch.no_grad()  # only measured
def measure_fidelity(student: Student, batch: Batch) -> dict[str, float]:
    """Compare both policies on states."""
    logits = student.logits(batch.obs)
    same = batch.teacher_logits.argmax(1) == logits.argmax(1)
    return {
        "kl": float(losses.divergence("kl", batch.teacher_logits, logits).mean()),
        "agreement": float(same.float().mean()),
    }


def report(
    teacher: NetworkTeacher,
    teacher_name: str,
    run: Distillation,
    reference: Reference,
    student: dict[str, Score],
) -> dict[str, Any]:
    """Collect everything that is known of a finished run, as plain values."""
    batch = run.ring.sample(run.ring_rng, FIDELITY_STATES, pairs=False)
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
        **measure_fidelity(run.scored_student, batch),
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
        "speed": f"{record['steps_per_second']:,.0f} steps/s in training, {counts}",
        "wall-clock": f"{record['train_seconds']:,.0f} s training,"
        f" {record['wall_seconds']:,.0f} s with all scoring",
        "curves": f"tensorboard --logdir {record['run_dir']}",
    }
    return "\n".join([title, table, *(f"{name:<16}{text}" for name, text in lines.items())])
