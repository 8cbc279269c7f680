"""What a score is worth, in words: against the floors and, if known, a very good game."""

import math

from distill.evaluation import Score
from distill.floors import Floors


def worth(score: Score, floors: Floors, env_id: str) -> str:
    """Say in words what a score is worth: against the floors and, if known, a very good game."""
    (name, higher), (other_name, lower) = floors.ranked()
    parts = [_compare(score, name, higher)]
    if not parts[0].startswith("above"):
        parts.append(_compare(score, other_name, lower))
    game = env_id.removeprefix("ALE/").removesuffix("-v5").split("NoFrameskip")[0]
    if game == "Freeway":
        parts.append(f"{100 * score.mean / 30:.0f} % of a 30-point Freeway")
    elif game == "Pong":
        parts.append(f"{score.mean:+.1f} of Pong's 21 points")
    if _repeats(score):
        returns = (
            "1 distinct return" if score.n_unique == 1 else f"{score.n_unique} distinct returns"
        )
        parts.append(
            f"{returns} in {score.n_games} games: nearly the same game again, the interval is too"
            " narrow"
        )
    return "; ".join(parts)


def _repeats(score: Score) -> bool:
    """Tell whether the returns are so few that the same games must have come again and again.

    At most one in ten is few. But 100 different games of Freeway end with one of seven scores, as
    they lie close together (standard deviation 1.4). So the few also have to leave out three in
    four of the scores between them, where there are more than one.
    """
    if 10 * score.n_unique > score.n_games:
        return False
    unit = math.gcd(*(round(value) for value in score.scores)) or 1  # the points of one event
    n_between = (max(score.scores) - min(score.scores)) / unit + 1
    return score.n_unique == 1 or 4 * score.n_unique <= n_between


def _compare(score: Score, name: str, floor: Score) -> str:
    """Compare two means; distinguishable are those whose 95 % intervals do not overlap."""
    floor_text = f"the {name} ({floor.mean:.1f})"
    if score.ci95 is None or floor.ci95 is None:
        return f"one game is too few to tell it from {floor_text}"
    if score.ci95[0] <= floor.ci95[1] and floor.ci95[0] <= score.ci95[1]:
        return f"not distinguishable from {floor_text}: the 95 % intervals overlap"
    difference = score.mean - floor.mean
    side = "above" if difference > 0 else "below"
    pooled_sd = math.hypot(score.sd or 0, floor.sd or 0) / math.sqrt(2)
    in_sd = f" ({abs(difference) / pooled_sd:.1f} sd)" if pooled_sd else ""
    return f"{side} {floor_text} by {abs(difference):.1f}{in_sd}"
