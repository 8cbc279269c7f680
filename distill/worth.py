"""What a score is worth, in words: against the floors and, if known, a very good game."""

import math

from distill.envs import FRAME_SKIP, NOOP_MAX
from distill.evaluation import Score
from distill.floors import Floors
from distill.game_names import title_of


def worth(score: Score, floors: Floors, env_id: str) -> str:
    """Say in words what a score is worth: against the floors and, if known, a very good game."""
    (name, higher), (other_name, lower) = floors.ranked()
    parts = [_compare(score, name, higher)]
    if not parts[0].startswith("above"):
        parts.append(_compare(score, other_name, lower))
    game = title_of(env_id)
    if game == "Freeway":
        parts.append(f"{100 * score.mean / 30:.0f} % of a 30-point Freeway")
    elif game == "Pong":
        parts.append(f"{score.mean:+.1f} of Pong's 21 points")
    if few := _few_returns(score) or _few_games(score):
        again = "nearly the same game again, the interval is too narrow"
        parts.append(f"{few} in {score.n_games} games: {again}")
    return "; ".join(parts)


def _few_games(score: Score) -> str | None:
    """Say how many games differ in return or length, if at most one in three does.

    Without sticky actions a greedy policy plays one game for each opening of up to NOOP_MAX frames:
    of 100 games of each teacher of Pong or Breakout that ships 26 differ, of 100 sampled ones 43 or
    more. Where a clock ends the games (Freeway), their lengths differ by the opening alone and tell
    nothing.
    """
    lengths = score.lengths_steps
    n_games = len(set(zip(score.scores, lengths, strict=True)))
    by_clock = max(lengths) - min(lengths) <= math.ceil(NOOP_MAX / FRAME_SKIP)
    return (
        None if by_clock or 3 * n_games > score.n_games else f"{n_games} pairs of return and length"
    )


def _few_returns(score: Score) -> str | None:
    """Say how many returns there are, if so few that the same games must have come again and again.

    At most one in ten is few. But 100 different games of Freeway end with one of seven scores, as
    they lie close together (standard deviation 1.4). So the few also have to leave out three in
    four of the scores between them, where there are more than one.
    """
    if 10 * score.n_unique > score.n_games:
        return None
    unit = math.gcd(*(round(value) for value in score.scores)) or 1  # the points of one event
    n_between = (max(score.scores) - min(score.scores)) / unit + 1
    if score.n_unique == 1:
        return "1 distinct return"
    return f"{score.n_unique} distinct returns" if 4 * score.n_unique <= n_between else None


def is_told_from(score: Score, floor: Score) -> bool:
    """Whether two means can be told apart: their 95 % intervals do not overlap."""
    if score.ci95 is None or floor.ci95 is None:
        return False
    return score.ci95[0] > floor.ci95[1] or floor.ci95[0] > score.ci95[1]


def _compare(score: Score, name: str, floor: Score) -> str:
    floor_text = f"the {name} ({floor.mean:.1f})"
    if score.ci95 is None or floor.ci95 is None:
        return f"one game is too few to tell it from {floor_text}"
    if not is_told_from(score, floor):
        return f"not distinguishable from {floor_text}: the 95 % intervals overlap"
    difference = score.mean - floor.mean
    side = "above" if difference > 0 else "below"
    pooled_sd = math.hypot(score.sd or 0, floor.sd or 0) / math.sqrt(2)
    in_sd = f" ({abs(difference) / pooled_sd:.1f} sd)" if pooled_sd else ""
    return f"{side} {floor_text} by {abs(difference):.1f}{in_sd}"
