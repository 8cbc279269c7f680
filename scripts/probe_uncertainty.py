"""Does a teacher's uncertainty find its mistakes? `python scripts/probe_uncertainty.py`.

The medium teacher of each game plays; its uncertainty under every augmentation is held against how
far the good teacher answers otherwise. Writes scripts/results/uncertainty.csv, from which
`make_figures.py` makes the README's table, and scripts/figures/uncertainty.png: each augmentation
on a real frame, with the teacher's answers before and after. With `--out FOLDER` both go there.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _bootstrap  # noqa: F401 (puts the root on sys.path)

import matplotlib as mpl
import numpy as np
import torch
from torch import Tensor

from distill import cli
from distill.augmentations import AUGMENTATIONS, augment
from distill.device import prepare_process
from distill.envs import make_atari
from distill.errors import run_command
from distill.files import check_folder, write_atomically
from distill.provenance import ROOT, TEACHERS, commit_of, provenance
from distill.rows import write_rows
from distill.settings import non_defaults
from distill.study.augmented_figure import Augmented, draw_augmented
from distill.study.axes import GAMES
from distill.study.probe import Probe, judge, signals_and_errors, visit
from distill.study.rungs import teachers_by_grade
from distill.study.study_config import ProbeConfig
from distill.teacher import load_teacher
from distill.types import ByteArray, FloatArray, Teacher

TABLE = ROOT / "scripts" / "results" / "uncertainty.csv"
FIGURE = ROOT / "scripts" / "figures" / "uncertainty.png"


def find_pairs(graded: dict[tuple[str, str], Path]) -> dict[str, tuple[Path, Path]]:
    """Return medium and good teacher of each game that has both, by the game's name.

    Raises:
        FileNotFoundError: if no game has.
    """
    pairs = {
        game: (graded[env_id, "medium"], graded[env_id, "good"])
        for game, env_id in GAMES.items()
        if (env_id, "medium") in graded and (env_id, "good") in graded
    }
    if not pairs:
        raise FileNotFoundError(f"{TEACHERS} has no game with a good and a medium teacher")
    return pairs


def probe_game(
    env_id: str, paths: tuple[Path, Path], cfg: ProbeConfig, origin: Mapping[str, Any]
) -> tuple[list[Probe], list[Augmented]]:
    """Measure one game; returns a row a signal, and a state from the middle with its changes."""
    teacher, better = map(load_teacher, paths)
    games = make_atari(env_id, cfg.n_games, seed=cfg.seed, training=False, n_threads=cfg.n_threads)
    rng = np.random.default_rng(cfg.seed)
    states = visit(teacher, games, cfg.n_states, every=cfg.every_steps, rng=rng)
    found = judge(*signals_and_errors(teacher, better, states, seed=cfg.seed))
    rows = [
        Probe(
            env_id, paths[0].stem, paths[1].stem, signal, *map(_rounded, numbers),
            n_games=cfg.n_games, n_states=cfg.n_states, seed=cfg.seed,
            commit=commit_of(origin), machine=origin["machine"],
        )
        for signal, numbers in found.items()
    ]  # fmt: skip
    return rows, changes(teacher, states[cfg.n_states // 2, 0], games.action_names)


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


@torch.no_grad()  # only looked at
def changes(teacher: Teacher, state: ByteArray, actions: Sequence[str]) -> list[Augmented]:
    """Change a state (S, 84, 84) by each augmentation and ask the teacher before and after."""

    def answer(obs: Tensor) -> FloatArray:
        return teacher.logits(obs).softmax(1)[0].numpy()

    obs = torch.from_numpy(state)[None]
    before = answer(obs)
    changed = {name: augment(name, obs) for name in AUGMENTATIONS}
    return [
        Augmented(name, state[-1], after[0, -1].numpy(), before, answer(after), actions)
        for name, after in changed.items()
    ]


def find_places(cfg: ProbeConfig) -> tuple[Path, Path]:
    """Return where the table and the figure go.

    Raises:
        ValueError: if a trial would take the place of what README shows, or `--out` is no folder.
    """
    if cfg.out is not None:
        check_folder(cfg.out, flag="--out")
        return cfg.out / TABLE.name, cfg.out / FIGURE.name
    if changed := non_defaults(cfg).keys() - {"n_threads"}:
        asked = ", ".join(cli.flags(cfg, changed))
        raise ValueError(f"--out is missing: with {asked} it is not what README shows")
    return TABLE, FIGURE


def main() -> None:
    """Measure every game, write the table, draw the figure."""
    cfg = cli.parse_settings(ProbeConfig, __doc__ or "")
    table, figure = find_places(cfg)
    prepare_process(cfg.n_threads)
    origin = provenance()
    rows: list[Probe] = []
    shown: dict[str, list[Augmented]] = {}
    for game, paths in find_pairs(teachers_by_grade(TEACHERS)).items():
        found, shown[game] = probe_game(GAMES[game], paths, cfg, origin)
        rows += found
        width = max(len(row.signal) for row in found)
        for row in found:
            interval = f"({row.low:.3f} to {row.high:.3f})"
            print(f"{game:<8} {row.signal:<{width}} {row.correlation:6.3f} {interval}")
    write_rows(table, Probe._fields, rows)
    mpl.use("agg")
    write_atomically(figure, functools.partial(draw_augmented(shown).savefig, dpi=80))
    print(f"wrote {table} and {figure}")


if __name__ == "__main__":
    run_command(main)
