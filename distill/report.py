"""What is reported of a finished distillation: one record, and a table for people."""

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from distill.cli import to_argv
from distill.config import DistillConfig
from distill.evaluation import Score
from distill.fidelity import Fidelity, compare
from distill.floors import NO_SHARE, Floors
from distill.idle import JUST_BEFORE_THE_END
from distill.networks import n_actor_parameters
from distill.options import PLACES
from distill.run_state import Distillation
from distill.scoring import Reference, score_table
from distill.settings import from_mapping, to_mapping
from distill.teacher import FrozenPolicy
from distill.worth import is_told_from

IN_TITLE = ("teacher_chkpt", "student", "env")  # of the table, as its first line says
N_STATES = 2_048  # of a student's training, on which it is measured


@torch.no_grad()  # only measured
def fidelity_in_training(run: Distillation) -> Fidelity:
    """Compare the student with its teacher on states that it was trained on."""
    batch = run.ring.sample(run.ring_rng, N_STATES, pairs=False)
    return compare(batch.teacher_logits, run.scored_student.logits(batch.obs))


@torch.no_grad()  # only measured
def understanding_in_training(run: Distillation) -> dict[str, float]:
    """Measure what the ICM makes of states that it was trained on.

    Empty without an ICM, or with one whose training ended earlier (with the bonus that it was for):
    the features that it knows are no longer the student's.
    """
    if run.icm is None or "icm" not in run.cfg.weights(JUST_BEFORE_THE_END):
        return {}
    batch = run.ring.sample(run.ring_rng, N_STATES, pairs=True)
    assert batch.next_obs is not None
    phi, next_phi = map(run.student.encoder, (batch.obs, batch.next_obs))
    found = run.icm(phi, next_phi, batch.action, "none")
    return {
        "inverse_accuracy": float(found.inverse_accuracy),
        # Of the same samples, unlike the ring's: one constant answer must not beat it by luck.
        "majority_share": float(batch.action.bincount().max()) / len(batch.action),
        "forward_skill": float(found.forward_skill),
    }


def report(
    teacher: FrozenPolicy,
    run: Distillation,
    *,
    teacher_name: str,
    reference: Reference,
    student: dict[str, Score],
    fresh: Fidelity,
) -> dict[str, Any]:
    """Collect what a finished run says of itself, as plain values; the command adds the rest.

    Args:
        teacher: whose student was trained.
        run: the finished run.
        teacher_name: its file's.
        reference: the teacher's scores and the floors.
        student: the student's scores, by mode of play.
        fresh: how near the student is to its teacher on states of its final games.
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
        **understanding_in_training(run),
        "steps": run.n_steps_done,
        "updates": run.n_updates,
        "settings": to_mapping(run.cfg),
    }


def describe(record: dict[str, Any]) -> str:
    """Lay out what result.json holds as the table that a run ends with."""
    scores = {
        f"{who}, {mode}": Score.from_json(score)
        for who in ("teacher", "student")
        for mode, score in record[f"{who}_score"].items()
    }
    title = f"{record['teacher_chkpt']} -> {record['student']} on {record['env_id']}"
    floors = Floors.from_json(record["floors"])
    table = score_table(scores, floors)
    share, counts = record["score_share"], f"{record['updates']:,} updates"
    doubt = {}
    if share is not None and not is_told_from(scores["teacher, sampled"], floors.ranked()[0][1]):
        doubt = {"in doubt as": "the teacher cannot be told from the floor (95 %)"}
    lines = {
        "score share": NO_SHARE
        if share is None
        else f"{share:.1%} of the teacher's, above the floor, sampled actions",
        **doubt,
        "parameters": f"{record['student_parameters']:,} of {record['teacher_parameters']:,},"
        f" {record['compression']:.1f} times fewer",
        "KL, agreement": f"{record['kl']:.4f} nats, {record['agreement']:.1%} of"
        f" {N_STATES:,} states of its training",
        "on new states": f"{record['fresh_kl']:.4f} nats, {record['fresh_agreement']:.1%} of"
        f" {record['fresh_states']:,} of its final games",
        **(describe_understanding(record) if "forward_skill" in record else {}),
        "settings": describe_settings(record["settings"]),
        "speed": f"{record['steps_per_second']:,.0f} steps/s in training, {counts}",
        "wall-clock": f"{record['train_seconds']:,.0f} s training,"
        f" {record['wall_seconds']:,.0f} s with all scoring",
        "curves": f"tensorboard --logdir {shlex.quote(record['run_dir'])}",
    }
    return "\n".join([title, table, *(f"{name:<16}{text}" for name, text in lines.items())])


def describe_finished(run_dir: Path, record: dict[str, Any]) -> str:
    """Lay out the record that a run's folder holds.

    Raises:
        ValueError: if something is not there, as in those of earlier versions.
    """
    try:
        return describe(record)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"--resume {run_dir} is finished, and its result.json damaged or another version's:"
            f" {error!r}; without it, it is made anew"
        ) from None


def describe_settings(settings: Mapping[str, Any]) -> str:
    """Spell the settings that are not at their defaults, but for what the title says, as flags.

    Raises:
        ValueError: if they are another version's.
    """
    cfg = from_mapping(DistillConfig, dict(settings), origin="the result")
    elsewhere = {f.name: f.default for f in fields(cfg) if f.name in (*PLACES, *IN_TITLE)}
    return shlex.join(to_argv(replace(cfg, **elsewhere))) or "all at their defaults"


def describe_understanding(record: dict[str, Any]) -> dict[str, str]:
    """Say what an ICM made of the game, and where it made nothing of it."""
    named, commonest = record["inverse_accuracy"], record["majority_share"]
    error = 1 - record["forward_skill"]
    return {
        "inverse model": f"names {named:.1%} of actions; the commonest is {commonest:.1%} of them"
        + ("" if named > commonest else ": no better than naming that one always"),
        "forward model": f'errs {error:.2f} times as much as "nothing changes"'
        + ("" if error < 1 else ": no better"),
    }
