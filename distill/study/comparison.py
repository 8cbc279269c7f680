"""Is one arm better than another? Differences paired by seed, their interval, and a verdict.

What decides is no bootstrap, as in Agarwal et al. 2021 (`distill/statistics.py`), but Student's t.
Of normal differences in one game, the 95 % percentile bootstrap of the mean holds the truth in 74 %
of studies at 3 seeds and in 83 % at 5 (80 % and 88 % in two games), t in 95 % (96 %).
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from distill.statistics import Floats, Interval, Scores, columns_of, t_quantile

Verdict = Literal["helps", "hurts", "no effect within 2 %", "inconclusive"]

MARGIN = 0.02  # of the teacher's range: an effect smaller than that is taken for none
Z_975 = 1.959963984540054


class Comparison(NamedTuple):
    """What paired differences, arm minus baseline, say about the arm."""

    mean: float  # of the games' means, in shares of the teacher's range
    low: float  # 95 % interval, infinite where a game has a single pair
    high: float
    n_pairs: int  # over all games
    verdict: Verdict
    n_needed: int | None  # seeds a game, for `inconclusive`; None where the spread is unknown

    @property
    def interval(self) -> Interval:
        """The mean with its interval."""
        return Interval(self.mean, self.low, self.high)


def paired_differences(
    arm: Mapping[str, Mapping[int, float]], baseline: Mapping[str, Mapping[int, float]]
) -> dict[str, Floats]:
    """Subtract scores, by game and seed, of the same game and seed; the others are left out."""
    shared = {game: sorted(arm[game].keys() & baseline.get(game, {}).keys()) for game in arm}
    return {
        game: np.array([arm[game][seed] - baseline[game][seed] for seed in seeds])
        for game, seeds in shared.items()
        if seeds
    }


def compare(differences: Scores) -> Comparison:
    """Decide from paired differences whether an arm helps.

    The mean is that of the m games' means. Games are given and only seeds are drawn, so that its
    variance is sum of s_g^2 / n_g, over m^2; that games differ is no noise. The 95 % interval is
    Student's t, with the degrees of freedom of Welch and Satterthwaite (1946).

    - `no effect within 2 %`: the interval lies inside +-MARGIN, even if it leaves out 0: two
      one-sided tests (Schuirmann 1987) at 2.5 % each, so that one interval tells all.
    - `helps`, `hurts`: otherwise, it lies above or below 0.
    - `inconclusive`: it does neither.

    Raises:
        ValueError: if a game has no pair or a difference is not finite.
    """
    columns = columns_of(differences)
    counts = np.array([len(x) for x in columns])
    mean = float(np.mean([x.mean() for x in columns]))
    variances = np.array([x.var(ddof=1) for x in columns]) if counts.min() > 1 else None
    half = math.inf if variances is None else _half_width(variances, counts)
    verdict, n_needed = _verdict(mean - half, mean + half), None
    if verdict == "inconclusive" and variances is not None:
        n_needed = _n_needed(mean, variances)
    return Comparison(mean, mean - half, mean + half, int(counts.sum()), verdict, n_needed)


def describe(found: Comparison) -> str:
    """Write the verdict, and what would settle it where it is open."""
    if found.n_needed is not None:
        return f"inconclusive (n would have to be about {found.n_needed:,})"
    return "inconclusive (n unknown)" if found.verdict == "inconclusive" else found.verdict


def _half_width(variances: Floats, counts: npt.NDArray[np.int64]) -> float:
    parts = variances / counts
    if not parts.any():
        return 0.0
    df = parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()
    return t_quantile(df) * math.sqrt(parts.sum()) / len(parts)


def _verdict(low: float, high: float) -> Verdict:
    if low > -MARGIN and high < MARGIN:
        return "no effect within 2 %"
    if low > 0:
        return "helps"
    return "hurts" if high < 0 else "inconclusive"


def _n_needed(mean: float, variances: Floats) -> int:
    """Return the fewest seeds a game that would decide, were mean and variances what they are.

    An interval decides once its half width, t(df) sqrt(sum of s_g^2 / n) / m, is below |mean| or
    below MARGIN - |mean|: for a mean near 0, MARGIN itself. That is the least: were these the true
    ones, half of the studies of that size would decide (for a mean near 0 a sixth to a third), of
    those of twice that size more than two thirds.
    """
    m, enough = len(variances), max(abs(mean), MARGIN - abs(mean))
    # The normal distribution's n is too small by a few.
    n = max(2, math.floor((Z_975 / (m * enough)) ** 2 * variances.sum()))
    while _half_width(variances, np.full(m, n)) >= enough:
        n += 1
    return n
