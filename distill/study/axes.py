"""The axes of the studies: what each of their values changes of a run's settings.

A value is a name for the settings that it changes from the defaults of `run_distillation.py`, or,
in most grids, from those at temperature 1 (`grids.AT_ONE`).
"""

from collections.abc import Mapping
from typing import Any

from distill.config import DistillConfig
from distill.types import WIDTHS

Values = Mapping[str, Mapping[str, Any]]

BUDGET = DistillConfig.total_steps
GRADES = ("good", "medium", "bad")
BEST = "best"  # a teacher that came after the studies had begun with their good one
GAMES = {
    "Freeway": "FreewayNoFrameskip-v0",
    "Pong": "PongNoFrameskip-v4",
    "Breakout": "BreakoutNoFrameskip-v4",
}
# Of every axis that a block says nothing of.
DEFAULTS = {"student": "net3", "game": "Freeway", "teacher": "good", "budget": "whole"}
# Student-driven distillation as sb3_distill's example has it (Spigler 2025, arXiv 2407.15134): one
# step of Adam on the newest rollout, which is then forgotten; a ring holds two at least.
ROLLOUT = 5 * DistillConfig.n_envs
PUBLISHED: Mapping[str, Any] = {
    "n_steps": 5,
    "ring_size": 2 * ROLLOUT,
    "batch_size": ROLLOUT,
    "steps_per_update": ROLLOUT,
    "n_candidates": 1,
    "optimizer": "adam",
    "data_init": False,
    "learning_rate": "3e-4",
    "max_grad_norm": 0.5,
    "epsilon": "0",
}
OUR_RATE = {"learning_rate": str(DistillConfig.learning_rate)}
FROM_A_RING = {**PUBLISHED, "ring_size": DistillConfig.ring_size}
ALONE = {"w_distill": "0", "c_int": "0.3", "w_entropy": "0.01"}


def _curious(curiosity: str, **more: Any) -> dict[str, Any]:
    return {"use_curiosity": True, "curiosity": curiosity, **more}


def _by_rusu(temperature: float) -> dict[str, Any]:
    """Divide the teacher's logits alone, as Rusu et al. do."""
    return {"temperature": temperature, "match_temperature": False}


AXES: Mapping[str, Values] = {
    "student": {name: {"student": widths} for name, widths in WIDTHS.items()},
    "budget": {
        "eighth": {"total_steps": BUDGET // 8},
        "quarter": {"total_steps": BUDGET // 4},
        "1.2 quarters": {"total_steps": 12 * BUDGET // 40},
        "1.6 quarters": {"total_steps": 16 * BUDGET // 40},
        "1.8 quarters": {"total_steps": 18 * BUDGET // 40},
        "half": {"total_steps": BUDGET // 2},
        "whole": {"total_steps": BUDGET},
        "1.6 wholes": {"total_steps": 16 * BUDGET // 10},
        "double": {"total_steps": 2 * BUDGET},
        "fourfold": {"total_steps": 4 * BUDGET},
    },
    "updates": {  # of one minibatch each, in as many steps
        f"one in {n} steps": {"steps_per_update": n}
        for n in (DistillConfig.steps_per_update * fewer for fewer in (1, 2, 4, 16, 64))
    },
    "arm": {
        "plain": {},
        "aux": _curious("aux"),
        "bonus": _curious("bonus"),
        "both": _curious("both"),
        "rnd": _curious("bonus", curiosity_source="rnd"),
        "both + uncertainty": _curious("both", use_uncertainty=True, uncertainty_target="both"),
        "bonus + uncertainty": _curious("bonus", use_uncertainty=True, uncertainty_target="bonus"),
        "uncertainty": {"use_uncertainty": True},
        # No teacher, no reward of the game's: what the bonus itself wants, by features that nothing
        # but its policy shapes, and by those of ICM's inverse model.
        "bonus alone": _curious("bonus", **ALONE),
        "both alone": _curious("both", **ALONE),
    },
    "loss": {
        "kl": {},
        **{name: {"loss": name} for name in ("reverse_kl", "js", "nll", "mse")},
        **{f"kl, teacher / {tau:g}": _by_rusu(tau) for tau in (0.01, 0.1, 3.0)},
        **{
            f"kl, both / {tau:g}": {"temperature": tau, "match_temperature": True}
            for tau in (0.01, 0.1, 3.0)
        },
    },
    "method": {
        "defaults": {},
        "as published": PUBLISHED,
        "as published, standardized layers": {**PUBLISHED, "data_init": True},
        "as published, our learning rate": {**PUBLISHED, **OUR_RATE},
        "as published, our learning rate, Muon": {**PUBLISHED, **OUR_RATE, "optimizer": "muon"},
        "as published, from a ring": FROM_A_RING,
        "as published, from a ring, 16 times the updates": {
            **FROM_A_RING,
            "steps_per_update": ROLLOUT // 16,
        },
    },
    "initial weights": {"standardized": {}, "random": {"data_init": False}},
    "actor": {
        "student": {},
        "mixture": {"teacher_mix": "0.5"},
        "teacher": {"teacher_mix": "1"},
    },
    "sampling": {
        "uniform": {"n_candidates": 1},
        "best 2 of": {"n_candidates": 2},
        "best 4 of": {"n_candidates": 4},
        "best 4 of, importance weights": {"n_candidates": 4, "importance_weights": True},
        "best 4 of, by action gap": {"n_candidates": 4, "prefer": "gap"},
    },
    "setting": {  # all but those of more or fewer updates train on as many samples a step
        "defaults": {},
        "Adam": {"optimizer": "adam"},
        "Adam, batch 16, twice as often": {
            "optimizer": "adam",
            "batch_size": 16,
            "steps_per_update": 2,
        },
        "batch 16, twice as often": {"batch_size": 16, "steps_per_update": 2},
        "batch 64, half as often": {"batch_size": 64, "steps_per_update": 8},
        "batch 128, a quarter as often": {"batch_size": 128, "steps_per_update": 16},
        "half as many updates": {"steps_per_update": 8},
        "twice as many updates": {"steps_per_update": 2},
        "half the learning rate": {"learning_rate": "1e-3:0"},
        "twice the learning rate": {"learning_rate": "4e-3:0"},
        "constant learning rate": {"learning_rate": "2e-3"},
        "averaged weights": {"ema_decay": 0.998},
        "averaged weights, constant learning rate": {"ema_decay": 0.998, "learning_rate": "2e-3"},
        "a quarter of the ring": {"ring_size": DistillConfig.ring_size // 4},
        "no random actions": {"epsilon": "0"},
    },
    "encoder": {
        "plain": {},
        **{
            f"{losses} loss, weight {weight:g}": _curious(
                "aux", icm_gradient=gradient, w_icm=str(weight)
            )
            for gradient, losses in (("inverse", "inverse"), ("both", "either"))
            for weight in (0.03, 0.1, 0.3, 1.0)
        },
    },
    "bonus": {
        "none": {},
        **{
            f"factor {factor:g}": _curious("bonus", c_int=f"{factor}:0:0.8")
            for factor in (0.1, 0.3, 1.0, 3.0)
        },
    },
    "temperature": {f"{tau:g}": _by_rusu(tau) for tau in (1.0, 0.7, 0.5, 0.3)},
    "seed": {str(seed): {"seed": seed} for seed in range(10)},
}
