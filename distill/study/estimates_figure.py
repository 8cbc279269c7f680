"""The figure of estimates: arms in lines, each with its interval."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from distill.statistics import Interval
from distill.study.figures import panels

ROW_HEIGHT = 0.3  # inches, of an estimate


def draw_estimates(
    groups: Mapping[str, Mapping[str, Interval]],
    *,
    x_label: str,
    margin: float | None = None,
    percent: bool = False,
) -> Figure:
    """Draw estimates and their intervals, a panel a group, a line each; hollow without interval.

    Args:
        groups: estimates by title and name.
        x_label: what they are of.
        margin: for differences: those within it of 0 count for none, and a band shows it.
        percent: whether they are shares, to be told in percent.
    """
    most = max(map(len, groups.values()))
    figure, titled = panels(list(groups), height=1 + ROW_HEIGHT * most, n_columns=2)
    for axes, title in titled:
        values, low, high = map(list, zip(*groups[title].values(), strict=True))
        lines = range(len(values))
        axes.hlines(lines, *np.where(np.isfinite((low, high)), (low, high), values))
        axes.plot(values, lines, "o")
        single = [line for line in lines if not np.isfinite(low[line])]
        axes.plot([values[line] for line in single], single, "o", color="white", markersize=4)
        axes.set_yticks(lines, list(groups[title]))
        axes.locator_params(axis="x", nbins=5)
        axes.invert_yaxis()
        axes.set(xlabel=x_label, title=title)
        if percent:
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        if margin is not None:
            axes.axvspan(-margin, margin, color="C2", alpha=0.15)
            axes.axvline(0, linestyle=":", color="gray")
    return figure
