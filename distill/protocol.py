"""The protocol by which teachers, students and floors are all scored.

With sticky actions luck is partly the games', the same for players that do the same; so all meet
the same games.
"""

from collections.abc import Mapping
from typing import Any

PROTOCOL = (
    "whole games, raw score, equal quota per environment, in rounds of one game each, "
    "frame skip 4, up to 30 no-ops at the start, sticky actions as the id says"
)
EVAL_GAMES, EVAL_ENVS, EVAL_SEED = 100, 20, 10_000  # games in all, at a time, and their first seed
STUDENT_GAMES = {"protocol": PROTOCOL, "n_envs": EVAL_ENVS, "seed": EVAL_SEED}


def is_of_student_games(evaluation: Mapping[str, Any]) -> bool:
    """Tell whether what was scored are the games that students are scored over, or some of them."""
    return all(evaluation.get(name) == value for name, value in STUDENT_GAMES.items())
