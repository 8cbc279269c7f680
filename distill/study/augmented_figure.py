"""The figure of augmentations: frames before and after, with a teacher's answers to both."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.types import ByteArray, FloatArray


class Augmented(NamedTuple):
    """A frame before and after an augmentation, with a teacher's answers to it."""

    augmentation: str
    before: ByteArray  # (84, 84), the newest frame
    after: ByteArray
    answer_before: FloatArray  # (A,) probabilities
    answer_after: FloatArray
    actions: Sequence[str]  # their names


def draw_change(row: Sequence[Axes], shown: Augmented) -> None:
    """Draw one augmentation in three panels: the frame before, after, and the answers to both."""
    for axes, frame in zip(row[:2], (shown.before, shown.after), strict=True):
        axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(shown.augmentation)
    places = np.arange(len(shown.actions))
    row[2].barh(places - 0.2, shown.answer_before, 0.4, color="gray")
    row[2].barh(places + 0.2, shown.answer_after, 0.4, color="C1")
    row[2].set(xlim=(0, 1), xticks=[0, 1])
    row[2].set_yticks(places, shown.actions, fontsize="xx-small")
    row[2].invert_yaxis()


def draw_augmented(games: Mapping[str, Sequence[Augmented]]) -> Figure:
    """Draw augmentations, a row each, with three panels for every game, by its name."""
    n_rows = len(next(iter(games.values())))
    figure = Figure(figsize=(4.5 * len(games), 1.5 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, 3 * len(games), squeeze=False)
    for i, (game, changes) in enumerate(games.items()):
        panel = grid[:, 3 * i : 3 * i + 3]
        for row, shown in zip(panel, changes, strict=True):
            draw_change(row, shown)
        titles = game, "augmented", "gray: before\norange: after"
        for axes, text in zip(panel[0], titles, strict=True):
            axes.set_title(text, fontsize="small")
    return figure
