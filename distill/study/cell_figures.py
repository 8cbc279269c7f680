"""Figures of studies: shares against sizes, updates or time, each point a cell of a grid."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, Transform
from numpy.typing import ArrayLike, NDArray

from distill.statistics import t_interval
from distill.study.cells import Cell, cells_with
from distill.study.figures import panels

SHIFT = 5.0  # points from one line to the next, where several have marks at one place
RESOLUTION = 0.02  # of the share: about so much is seen of what is near the teacher
Y_LABEL = "share of the teacher's score\n(stretched near 100 %)"
SHARE_TICKS = (-2, -1, 0, 0.5, 0.8, 0.9, 0.95, 0.98, 1, 1.02, 1.05, 1.1, 1.2)


def spread(share: ArrayLike) -> NDArray[np.float64]:
    """Map shares to where they are drawn, by how far from the teacher's they are.

    Linear near it and logarithmic beyond, so that 98 and 100 % are told apart beside a student
    that is below the floor: sign(s - 1) log(1 + |s - 1| / RESOLUTION).
    """
    gain = np.asarray(share, np.float64) - 1
    return np.sign(gain) * np.log1p(np.abs(gain) / RESOLUTION)


def gather(place: ArrayLike) -> NDArray[np.float64]:
    """Map places back to shares, the inverse of `spread`."""
    at = np.asarray(place, np.float64)
    return 1 + np.sign(at) * RESOLUTION * np.expm1(np.abs(at))


def draw_shares(
    cells: Sequence[Cell],
    x_of: Callable[[Cell], float],
    *,
    x_label: str,
    name_axis: str,
    tick_axis: str = "",
) -> Figure:
    """Draw the share of the teacher's score against something, a panel a game, a point a cell.

    A point is a mean with its interval, hollow of a single run; crosses, of a line's color, are the
    runs themselves, which say how far up and down is shown: an interval may reach beyond. Shares
    are drawn where `spread` has them.

    Args:
        cells: of one grid; those without a result are left out.
        x_of: what a cell is drawn at, on a logarithmic axis.
        x_label: its name.
        name_axis: the axis of the grid whose values name the points; where several of a game
            have one name they are joined, and the line is named instead.
        tick_axis: the axis whose values are written before what cells are drawn at, if any.
    """
    done = [cell for cell in cells if cell.shares]
    figure, games = panels(list(dict.fromkeys(cell.labels["game"] for cell in done)), height=3.6)
    for axes, game in games:
        mine = sorted((cell for cell in done if cell.labels["game"] == game), key=x_of)
        x = [x_of(cell) for cell in mine]
        draw_named(axes, mine, x_of, name_axis)
        show_runs(axes, mine)
        axes.axhline(1.0, linestyle="--", color="gray", label="teacher")
        axes.axhline(0.0, linestyle=":", color="gray", label="floor")
        axes.set(xlabel=x_label, ylabel=Y_LABEL, title=game)
        show_places(axes, x)
        ticks = {
            at: f"{cell.labels.get(tick_axis, '')} {at:,.0f}".strip()
            for at, cell in zip(x, mine, strict=True)
        }
        axes.set_xticks(
            list(ticks), ticks.values(), rotation=30, ha="right", rotation_mode="anchor"
        )
        axes.legend(fontsize="small", loc="lower right")
    return figure


def draw_named(
    axes: Axes, cells: Sequence[Cell], x_of: Callable[[Cell], float], name_axis: str
) -> None:
    """Draw means: those of one name joined and named as a line, else each with its name."""
    names = sorted({cell.labels[name_axis] for cell in cells})
    if len(names) == len(cells):
        x, place = [x_of(cell) for cell in cells], axes.transData
        draw_means(axes, cells, x, place=place)
        draw_runs(axes, cells, x, place=place, color="black", label="a student")
        write_names(axes, cells, x, name_axis)
        return
    for i, name in enumerate(names):
        line, label = cells_with(cells, **{name_axis: name}), f"{name} {name_axis}"
        x, color = [x_of(cell) for cell in line], f"C{i}"
        place = shifted(axes, (i - (len(names) - 1) / 2) * SHIFT)  # else bars lie on each other
        draw_means(axes, line, x, place=place, color=color, style="o-", label=label)
        draw_runs(axes, line, x, place=place, color=color)


def shifted(axes: Axes, points: float) -> Transform:
    """Return where data are drawn if they are moved so far to the right, whatever the scale."""
    assert axes.figure is not None
    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)


def draw_means(
    axes: Axes,
    cells: Sequence[Cell],
    x: Sequence[float],
    *,
    place: Transform,
    color: str = "C0",
    style: str = "o",
    label: str = "",
) -> None:
    """Draw each cell's mean share with its interval, hollow of a single run."""
    y = [cell.mean_share for cell in cells]
    bounds = [t_interval(cell.shares) or (mean, mean) for cell, mean in zip(cells, y, strict=True)]
    reach = np.array([[m - low, high - m] for m, (low, high) in zip(y, bounds, strict=True)])
    bars = {"capsize": 3, "markersize": 5, "transform": place}
    axes.errorbar(x, y, yerr=reach.T, fmt=style, color=color, label=label, **bars)
    single = [i for i, cell in enumerate(cells) if len(cell.shares) == 1]
    # Above the error bars' marks.
    hollow = {"color": "white", "markersize": 3, "zorder": 3, "transform": place}
    axes.plot([x[i] for i in single], [y[i] for i in single], "o", **hollow)


def write_names(axes: Axes, cells: Sequence[Cell], x: Sequence[float], name_axis: str) -> None:
    """Write each cell's value of an axis beside its mean."""
    for cell, at_x in zip(cells, x, strict=True):
        name, below = cell.labels[name_axis], {"xytext": (4, -12), "fontsize": "small"}
        axes.annotate(name, (at_x, cell.mean_share), textcoords="offset points", **below)


def draw_runs(
    axes: Axes,
    cells: Sequence[Cell],
    x: Sequence[float],
    *,
    place: Transform,
    color: str,
    label: str = "",
) -> None:
    """Draw each run's share."""
    runs = [(at, share) for at, cell in zip(x, cells, strict=True) for share in cell.shares]
    axes.plot(
        *zip(*runs, strict=True), "x", color=color, markersize=4, label=label, transform=place
    )


def show_places(axes: Axes, x: Sequence[float]) -> None:
    """Show all that cells are drawn at, on a logarithmic axis."""
    low, high = np.log([min(x), max(x)])
    room = 0.14 * (high - low) or 1.0  # for the last name
    axes.set_xscale("log")
    axes.set_xlim(*np.exp([low - room, high + room]))  # scaling by itself minds no shift
    axes.minorticks_off()


def show_runs(axes: Axes, cells: Sequence[Cell]) -> None:
    """Show as much as the runs, the teacher and the floor need."""
    shown = [0.0, 1.0, *(share for cell in cells for share in cell.shares)]
    low, high = spread([min(shown), max(shown)])
    room = 0.12 * (high - low)
    axes.set_yscale("function", functions=(spread, gather))
    axes.set_yticks(SHARE_TICKS, [f"{100 * tick:.0f} %" for tick in SHARE_TICKS])
    axes.set_ylim(*gather([low - room, high + room]))
