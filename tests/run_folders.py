"""Run folders for several test files."""

from pathlib import Path

from distill.config import DistillConfig
from distill.run_folder import create_run
from distill.teacher_config import TeacherConfig
from distill.tracking import Tracker


def make_run(folder: Path, name: str, kind: str, scores: dict[int, float]) -> Path:
    run_dir = folder / name
    if kind == "teacher":
        create_run(run_dir, TeacherConfig(total_steps=100, seed=7))
    else:
        create_run(run_dir, DistillConfig(env="G", use_curiosity=kind == "curious", seed=7))
    tag = "rollout/ep_rew_mean" if kind == "teacher" else "eval/mean_reward"
    with Tracker(run_dir) as tracker:
        for step, score in scores.items():
            tracker.log({tag: score, "time/fps": 1.0}, step)
    return run_dir
