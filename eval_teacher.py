"""Score a teacher, or a student, over whole games: `python eval_teacher.py`.

Prints mean, standard deviation, 95 % interval, distinct returns and length of the games, greedy and
sampled, beside the floors: random play and the best constant action. In a file or a pipe the last
line is all of it as JSON.
"""

import sys
from pathlib import Path
from typing import Any

import distill  # noqa: F401 (before torch: it says there why)

# isort: split
import torch

from distill import cli
from distill.device import prepare_process, resolve_device, resolve_precision
from distill.envs import check_env_id
from distill.errors import of_setting, run_command
from distill.evaluation import Score
from distill.files import check_folder, digest_of, print_for_programs, read_json, write_json
from distill.floor_caches import OWN_FLOORS, floors_of
from distill.floors import Floors
from distill.player import Player, find_game, games_for, load_player
from distill.protocol import EVAL_ENVS, EVAL_SEED, PROTOCOL, is_of_student_games
from distill.provenance import provenance
from distill.scoring import evaluate_modes, score_table
from distill.teacher_config import EvalConfig
from distill.teacher_files import is_of_file, latest_teacher
from distill.worth import worth


def check_is_kept(cfg: EvalConfig, player: Player, env_id: str) -> None:
    """Check that a score may be kept with the checkpoint.

    Raises:
        ValueError: if it is of another game, or of a single one.
    """
    if cfg.n_eval_episodes < 2:
        raise ValueError("--write_score needs --n_eval_episodes of at least 2, got 1")
    if env_id != (player.env_id or env_id):
        raise ValueError(
            f"--write_score needs the --env that {player.path} is of, {player.env_id}, got {env_id}"
        )


def record_to_extend(checkpoint: Path, cfg: EvalConfig, n_envs: int) -> dict[str, Any]:
    """Read the .json beside a checkpoint, to which scores of games, `n_envs` at once, are added.

    Returns:
        What it holds; empty if there is none, or it is of a checkpoint that was replaced since.

    Raises:
        ValueError: if it is not a JSON object, or holds the scores of more games, or of those that
            students are scored over where these would be of others.
    """
    path, n_games = checkpoint.with_suffix(".json"), cfg.n_eval_episodes
    try:
        record = read_json(path) if path.exists() else {}
    except ValueError:
        raise ValueError(f"--write_score cannot add to {path}: it is not a JSON object") from None
    evaluation = record.get("evaluation")
    if not isinstance(evaluation, dict):
        return record
    if not is_of_file(evaluation, checkpoint):
        return {}  # nothing in it, not its steps either, is this one's
    n_known = evaluation.get("n_games")
    if isinstance(n_known, int) and n_known > n_games:
        raise ValueError(
            f"--n_eval_episodes must be at least {n_known} with --write_score, got {n_games}: as"
            f" many games' scores are in {path}, which these would replace"
        )
    these = {"protocol": PROTOCOL, "n_envs": n_envs, "seed": cfg.seed}
    if is_of_student_games(evaluation) and not is_of_student_games(these):
        raise ValueError(
            f"--n_envs and --seed must be {EVAL_ENVS} and {EVAL_SEED} with --write_score, got"
            f" {n_envs} and {cfg.seed}: of those games, which students are scored over, are the"
            f" scores in {path}, which these would replace"
        )
    return record


def keep_score(checkpoint: Path, cfg: EvalConfig, env_id: str, evaluation: dict[str, Any]) -> None:
    """Write scores to the .json beside a checkpoint, as it is now: games take minutes.

    Raises:
        ValueError: as `record_to_extend`, and if the checkpoint itself has been replaced.
    """
    record = record_to_extend(checkpoint, cfg, evaluation["n_envs"])
    if not is_of_file(evaluation, checkpoint):
        raise ValueError(f"--write_score keeps nothing: {checkpoint} was replaced while it played")
    kept = {**record, "env_id": env_id, "evaluation": evaluation}
    write_json(checkpoint.with_suffix(".json"), kept)


def evaluation_record(
    cfg: EvalConfig,
    dtype: torch.dtype,
    n_envs: int,
    scores: dict[str, Score],
    *,
    floors: Floors,
    digest: str,
    origin: dict[str, Any],
) -> dict[str, Any]:
    """Return all that was measured and how, as plain values.

    `digest` is of the file that was scored, `origin` of the code that did it.
    """
    return {
        **{mode: score.to_json() for mode, score in scores.items()},
        "floors": floors.to_json(),
        "sha256": digest,
        "protocol": PROTOCOL,
        "n_games": cfg.n_eval_episodes,
        "seed": cfg.seed,
        "n_envs": n_envs,
        "precision": str(dtype).removeprefix("torch."),
        "commit": origin["commit"],
        "dirty": origin["dirty"],
    }


def show(
    player: Player,
    env_id: str,
    scores: dict[str, Score],
    floors: Floors,
    evaluation: dict[str, Any],
) -> None:
    """Print scores and floors as a table, what they are worth, and all of it for programs."""
    print(score_table(scores, floors))
    verdicts = {mode: worth(score, floors, env_id) for mode, score in scores.items()}
    print(*(f"{mode}: {text}" for mode, text in verdicts.items()), sep="\n")
    about = {"checkpoint": str(player.path), "env_id": env_id}
    print_for_programs({**about, **evaluation, "verdict": verdicts})


def find_player(cfg: EvalConfig, device: torch.device, dtype: torch.dtype) -> tuple[Player, str]:
    """Load what is to be scored.

    Returns:
        The player, and the game that it is to play.

    Raises:
        FileNotFoundError, ValueError: naming the setting, if there is no such player or game.
    """
    if cfg.env is not None:
        check_env_id(cfg.env)
    path = cfg.teacher_chkpt or latest_teacher(cfg.teachers_dir, cfg.env)
    with of_setting("--teacher_chkpt"):
        player = load_player(path, device=device, dtype=dtype)
    return player, find_game(cfg.env, {str(path): player.env_id})


def main() -> None:
    """Load, play, compare with the floors, print."""
    cfg = cli.parse_settings(EvalConfig, __doc__ or "")
    origin = provenance(cfg.device, cfg.precision)  # of the code that runs, whatever comes after it
    prepare_process(cfg.n_threads)
    device = resolve_device(cfg.device)
    dtype = resolve_precision(cfg.precision, device)
    player, env_id = find_player(cfg, device, dtype)
    path, policy = player.path, player.policy
    n_envs = min(cfg.n_envs, cfg.n_eval_episodes)
    if cfg.write_score:  # now, too, so that a damaged file costs nobody a hundred games
        check_is_kept(cfg, player, env_id)
        check_folder(path.parent, flag="with --write_score the checkpoint's folder")
        record_to_extend(path, cfg, n_envs)
    digest = digest_of(path)
    envs = games_for(policy, env_id, n_envs, seed=cfg.seed, training=False, n_threads=cfg.n_threads)
    print(f"{path} on {env_id}")
    scores = evaluate_modes(policy, envs, cfg.n_eval_episodes, seed=cfg.seed, device=device)
    caches = (cfg.teachers_dir / "floors.json", OWN_FLOORS)
    floors, warnings = floors_of(env_id, envs, cfg.n_eval_episodes, seed=cfg.seed, caches=caches)
    sys.stderr.writelines(f"{warning}\n" for warning in warnings)
    evaluation = evaluation_record(
        cfg, dtype, n_envs, scores, floors=floors, digest=digest, origin=origin
    )
    try:
        if cfg.write_score:  # first: whoever reads what is printed may be gone by now
            keep_score(path, cfg, env_id, evaluation)
    finally:  # shown, even if they cannot be kept
        show(player, env_id, scores, floors, evaluation)
    if cfg.write_score:
        sys.stderr.write(f"the scores are kept in {path.with_suffix('.json')}\n")


if __name__ == "__main__":
    run_command(main)
