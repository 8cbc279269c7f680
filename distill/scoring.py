"""Scoring networks, greedy and sampled, beside teacher and floors; and how the scores are shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from distill.evaluation import MODES, Score, evaluate
from distill.floors import Floors, share_of
from distill.networks import ActorCritic
from distill.progress import Progress
from distill.protocol import is_of_student_games
from distill.student_files import save_student, score_on_record
from distill.teacher_files import is_of_file, read_record
from distill.tracking import Tracker
from distill.types import Envs, Network

COLUMNS = ("mean", "sd", "95 % interval", "unique", "games", "length, steps")
LAST, BEST = "student.safetensors", "student_best.safetensors"  # of a run's students


def evaluate_modes(
    network: Network,
    envs: Envs,
    n_games: int,
    *,
    seed: int,
    device: torch.device,
    modes: Sequence[str] = MODES,
    title: str = "",
) -> dict[str, Score]:
    """Score each mode of play over `n_games` whole games, all from the same starts."""
    progress = Progress(len(modes) * n_games, unit="game", title=title)
    scores = {
        mode: evaluate(
            network, envs, n_games, mode=mode, seed=seed, device=device, progress=progress
        )
        for mode in modes
    }
    progress.close()
    return scores


def recorded_scores(path: Path, env_id: str, n_games: int) -> dict[str, Score] | None:
    """Read the scores of the teacher at `path` from the .json beside it.

    Returns:
        Scores by mode over the `n_games` that a student is scored over; None if there are none, in
        this game, by this protocol and over as many or more of those games, of the zip as it is.
    """
    try:
        record = read_record(path)
        evaluation = record["evaluation"]
        scores = {mode: Score.from_json(evaluation[mode]) for mode in MODES}
        known = record["env_id"] == env_id and is_of_student_games(evaluation)
        known = known and is_of_file(evaluation, path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not known or min(score.n_games for score in scores.values()) < n_games:
        return None
    return {mode: score.first(n_games) for mode, score in scores.items()}


def table_cells(score: Score) -> tuple[str, ...]:
    """Format the cells of one line of the table, as `COLUMNS` names them."""
    sd = "-" if score.sd is None else f"{score.sd:.2f}"
    interval = "-" if score.ci95 is None else "{:.2f} to {:.2f}".format(*score.ci95)
    counts = f"{score.n_unique}", f"{score.n_games}", f"{score.mean_length_steps:.0f}"
    return f"{score.mean:.2f}", sd, interval, *counts


def score_table(scores: dict[str, Score], floors: Floors) -> str:
    """Format scores by name, and the floors beneath them; for most games in 80 columns."""
    constant = f"floor: always action {floors.best_action}"
    shown = {**scores, "floor: random": floors.random, constant: floors.constant}
    rows = {"": COLUMNS, **{name: table_cells(score) for name, score in shown.items()}}
    widths = [max(map(len, column)) for column in zip(*rows.values(), strict=True)]
    first = max(map(len, rows)) + 1
    return "\n".join(
        f"{name:<{first}}" + "".join(f" {x:>{n}}" for x, n in zip(cells, widths, strict=True))
        for name, cells in rows.items()
    )


class Reference(NamedTuple):
    """What a student is held against, measured by the same protocol."""

    teacher: dict[str, Score]  # by mode: greedy, sampled
    floors: Floors

    def share(self, score: Score) -> float | None:
        """Return a score's share of the teacher's sampled play; None as in `share_of`."""
        teacher = self.teacher["sampled"].mean
        return share_of(score.mean, teacher=teacher, floor=self.floors.highest)


class Scorer:
    """Scores a student, logs it, and writes it with its score.

    Args:
        student: the network, while it is being trained.
        reference: teacher and floors.
        run_dir: where the students go.
        tracker: where the scores go.
        metadata: kept with the students: teacher, env_id.
        seed: of the sampled actions.
        device: where the student is.
        modes: of play: sampled actions always, greedy ones if wanted.
    """

    def __init__(
        self,
        student: ActorCritic,
        reference: Reference,
        *,
        run_dir: Path,
        tracker: Tracker,
        metadata: dict[str, str],
        seed: int,
        device: torch.device,
        modes: Sequence[str] = MODES,
    ) -> None:
        self._student, self.reference, self._run_dir = student, reference, run_dir
        self._tracker, self._metadata = tracker, metadata
        self._seed, self._device, self._modes = seed, device, modes
        self.best = score_on_record(run_dir / BEST)  # a resumed run's; its checkpoint may be older

    def interim(self, envs: Envs, n_games: int, step: int) -> str:
        """Score over a few games; keep the student as student_best.safetensors if the best.

        Returns:
            The score in words, beside the teacher's.
        """
        scores = self._score(envs, n_games, step, title="evaluation")
        if scores["sampled"].mean > self.best:
            self.best = scores["sampled"].mean
            self._save(BEST, scores, step)
        mean, teacher = scores["sampled"].mean, self.reference.teacher["sampled"].mean
        return f"step {step:,}: {mean:.1f} in {n_games} games, the teacher {teacher:.1f}"

    def final(self, envs: Envs, n_games: int, step: int) -> dict[str, Score]:
        """Score the finished student by the whole protocol; keep it as student.safetensors."""
        scores = self._score(envs, n_games, step, title="final score")
        self._save(LAST, scores, step)
        return scores

    def _score(self, envs: Envs, n_games: int, step: int, *, title: str) -> dict[str, Score]:
        scores = evaluate_modes(
            self._student,
            envs,
            n_games,
            seed=self._seed,
            device=self._device,
            modes=self._modes,
            title=title,
        )
        self._tracker.log(self._row(scores), step)
        return scores

    def _row(self, scores: dict[str, Score]) -> dict[str, float]:
        row = {
            "eval/mean_reward": scores["sampled"].mean,
            "eval/mean_ep_length": scores["sampled"].mean_length_steps,
            "eval/teacher": self.reference.teacher["sampled"].mean,
            "eval/floor": self.reference.floors.highest,
        }
        if "greedy" in scores:
            row["eval/mean_reward_greedy"] = scores["greedy"].mean
        share = self.reference.share(scores["sampled"])
        return row if share is None else row | {"eval/score_share": share}

    def _save(self, name: str, scores: dict[str, Score], step: int) -> None:
        found = {"steps": str(step), "score": f"{scores['sampled'].mean:g}"}
        save_student(self._run_dir / name, self._student, self._metadata | found)
