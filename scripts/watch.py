"""Film teachers and students at play, side by side: `python scripts/watch.py [CHECKPOINT ...]`.

    python scripts/watch.py                                          # -> runs/watch.gif
    python scripts/watch.py a.zip b.safetensors --out runs/ab.mp4    # needs the package av

Each player has a game of its own, from the same start and with the same luck. A picture shows the
screen, the probability of every action, the action taken and the score so far; a finished game is
followed by the next. Where the emulator repeats an action (sticky actions), the one that it was
given is shown. Last line: the file and its size.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import _bootstrap  # noqa: F401 (puts the root on sys.path)

import numpy as np
from PIL import Image

from distill import cli
from distill.acting import logits_of, sample_actions
from distill.device import prepare_process
from distill.envs import check_env_id, make_atari
from distill.errors import run_command
from distill.files import check_folder, write_atomically
from distill.film import Moment, Panel, draw, writer_of
from distill.networks import n_actor_parameters
from distill.options import DEFAULT_ENV
from distill.player import Player, find_game, games_for, load_player
from distill.progress import Progress
from distill.provenance import TEACHERS
from distill.scoring import BEST, LAST
from distill.teacher import CPU
from distill.teacher_files import best_teacher, is_teacher
from distill.tool_config import WatchConfig
from distill.types import Envs, FloatArray

RUNS = Path("runs")


class Table(NamedTuple):
    """Where one player plays: the same game twice, as the network sees it and as people do."""

    games: Envs
    screens: Envs
    action_names: tuple[str, ...]


def newest_student(env_id: str) -> list[Player]:
    """Return the newest student of a game in runs/, or nobody."""
    found = [path for name in (LAST, BEST) for path in RUNS.glob(f"*/{name}")]
    for path in sorted(found, key=lambda path: (path.stat().st_mtime, path), reverse=True):
        with contextlib.suppress(ValueError):  # what cannot be read was not asked for
            player = load_player(path)
            if player.env_id == env_id:
                return [player]
    return []


def find_players(cfg: WatchConfig) -> list[Player]:
    """Load the checkpoints asked for, else the best teacher and the newest student of the game.

    Raises:
        FileNotFoundError, ValueError: if one is not there or cannot be read.
    """
    if cfg.checkpoints:
        return [load_player(path) for path in cfg.checkpoints]
    env_id = check_env_id(cfg.env or DEFAULT_ENV)
    teacher, students = load_player(best_teacher(TEACHERS, env_id)), newest_student(env_id)
    if not students:
        sys.stderr.write(f"no student of {env_id} in {RUNS}/: the teacher plays alone\n")
    return [teacher, *students]


def find_one_game(cfg: WatchConfig, players: Sequence[Player]) -> str:
    """Return the game asked for, else the one that the players were trained on.

    Raises:
        ValueError: if there is no such game, they do not say, or not the same.
    """
    known = {player.env_id: player.path for player in players if player.env_id is not None}
    if cfg.env is None and len(known) > 1:
        games = ", ".join(f"{env_id} ({path})" for env_id, path in known.items())
        raise ValueError(f"--env must name one game: the checkpoints were trained on {games}")
    return find_game(cfg.env, {str(player.path): player.env_id for player in players})


def set_table(player: Player, env_id: str, seed: int) -> Table:
    """Build a player's games, which are in lockstep: one seed, and the same actions.

    Raises:
        ValueError: if the player chooses from another number of actions.
    """
    games = games_for(player.policy, env_id, 1, seed=seed, training=False, n_threads=1)
    screens = make_atari(env_id, 1, seed=seed, training=False, n_threads=1, n_stack=1, color=True)
    return Table(games, screens, games.action_names)


def describe(player: Player, table: Table) -> Panel:
    """Return what is written above and beside a player's pictures."""
    path, policy = player.path, player.policy
    name = path.stem if is_teacher(path) else f"{path.resolve().parent.name}/{path.stem}"
    size = f"{policy.widths}: {n_actor_parameters(policy.network):,} parameters"
    return Panel(name, size, table.action_names)


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities (A,) from logits (A,)."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def play(player: Player, table: Table, *, greedy: bool, seed: int) -> Iterator[Moment]:
    """Play on and on, one game after another."""
    rng = np.random.default_rng(seed)
    obs, screen = table.games.reset(), table.screens.reset()
    score, game = 0.0, 1
    while True:
        logits = logits_of(player.policy, obs, CPU)  # (1, A)
        chosen = logits.argmax(1) if greedy else sample_actions(logits, rng)
        step = table.games.step(chosen)
        yield Moment(screen[0, -1], softmax(logits[0]), int(step.action[0]), score, game)
        obs, screen = step.obs, table.screens.step(chosen).obs
        over = bool(step.game_over[0])
        score, game = (0.0, game + 1) if over else (score + float(step.reward[0]), game)


def film(
    players: Sequence[Player], tables: Sequence[Table], cfg: WatchConfig
) -> Iterator[Image.Image]:
    """Draw the steps asked for, one picture each."""
    panels = [describe(*pair) for pair in zip(players, tables, strict=True)]
    games = [
        play(player, table, greedy=cfg.greedy, seed=cfg.seed)
        for player, table in zip(players, tables, strict=True)
    ]
    n_played = cfg.skip_steps + cfg.n_steps
    progress = Progress(n_played, title="film")
    for step, moments in enumerate(islice(zip(*games, strict=True), n_played)):
        progress.update(1)
        if step >= cfg.skip_steps:
            yield draw(panels, moments, step)
    progress.close()


def main() -> None:
    """Load, play, draw, write."""
    cfg = cli.parse_settings(WatchConfig, __doc__ or "")
    prepare_process(1)  # one observation at a time is no work for two threads
    write = writer_of(cfg.out)
    if cfg.out.is_dir():
        raise ValueError(f"--out must be a file, got {cfg.out}, a folder")
    check_folder(cfg.out.parent, flag="the folder of --out")
    players = find_players(cfg)
    env_id = find_one_game(cfg, players)
    tables = [set_table(player, env_id, cfg.seed) for player in players]
    print(f"{', '.join(str(player.path) for player in players)} on {env_id}")
    write_atomically(cfg.out, lambda path: write(path, film(players, tables, cfg), cfg.fps))
    print(f"{cfg.out}: {cfg.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_command(main)
