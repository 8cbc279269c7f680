"""Draw the figures and write the tables of the pages from scripts/results.

    python scripts/make_figures.py                          # figures, tables
    python scripts/make_figures.py --collect runs/study/*/  # first add these runs' results

What is drawn and written depends alone on the CSV files and on the .json files beside the teachers.
`zoo_ppo_curves.csv` has the learning curves of the agents that rl-baselines3-zoo published (MIT),
from their monitor files: score of the games that ended within 50,000 steps before `steps`;
`sb3_ppo_curves.csv` that of stock stable-baselines3, run here at the same settings.
"""

import argparse
import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import _bootstrap  # noqa: F401 (puts the root on sys.path)

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from distill import cli
from distill.config import DistillConfig
from distill.errors import run_command
from distill.files import write_atomically, write_text
from distill.origins import small_network_of
from distill.provenance import ROOT, TEACHERS
from distill.rows import read_rows
from distill.run_folder import name_of, read_run
from distill.statistics import Interval
from distill.study import figures
from distill.study.arms import coverage_by_arm, differences_by_arm, shares_by_arm
from distill.study.axes import DEFAULTS
from distill.study.cell_figures import draw_shares
from distill.study.cells import Cell, by_identity, cells_of
from distill.study.comparison import MARGIN
from distill.study.curves import Point, collect, read_zoo
from distill.study.estimates_figure import draw_estimates
from distill.study.grids import GRIDS
from distill.study.ladder_figure import draw_ladder
from distill.study.markdown import with_sections, with_table
from distill.study.outcomes import Outcome, beside_teachers, collect_outcomes
from distill.study.plan import plan
from distill.study.probe import Probe
from distill.study.published import comparable, draw_published
from distill.study.rungs import read_rungs, teachers_by_grade
from distill.study.small_ppo import SmallScore, collect_small_scores
from distill.study.tables import (
    grid_section,
    grid_table,
    probe_section,
    small_ppo_table,
    teachers_table,
)
from distill.study.verdicts import curiosity_section

RESULTS_DIR, FIGURES = ROOT / "scripts" / "results", ROOT / "scripts" / "figures"
CURVES, OUTCOMES = RESULTS_DIR / "curves.csv", RESULTS_DIR / "distillation.csv"
PROBES, SMALL_PPO = RESULTS_DIR / "uncertainty.csv", RESULTS_DIR / "small_ppo.csv"
PAGES = (ROOT / "README.md", RESULTS_DIR / "README.md")  # each section has its place on one
ZOO, STOCK = RESULTS_DIR / "zoo_ppo_curves.csv", RESULTS_DIR / "sb3_ppo_curves.csv"


def read_grids() -> dict[str, list[Cell]]:
    """Lay out all grids, with what is known of their cells."""
    outcomes = beside_teachers(read_rows(OUTCOMES, Outcome), read_rungs(TEACHERS))
    teachers, done = teachers_by_grade(TEACHERS), by_identity(outcomes)
    return {grid: cells_of(plan(grid, teachers), done) for grid in GRIDS}


def draw_learning(students: Sequence[Cell]) -> Iterator[tuple[str, Figure]]:
    """Draw the figures of learning curves, with their files' names; `students`: of that grid."""
    points, zoo, rungs = read_rows(CURVES, Point), read_zoo(ZOO), read_rungs(TEACHERS)
    if any(point.kind in figures.STUDENTS for point in points):
        yield "curves", figures.draw_curves(points)
    if networks := {name for point in points if (name := small_network_of(point.kind))}:
        yield "small", figures.draw_small(points, figures.levels_of(rungs, students, networks))
    if rungs:
        yield "ladder", draw_ladder(points, rungs, zoo)
    if names := comparable(points, zoo):
        yield "published", draw_published(points, names, zoo, read_zoo(STOCK))


def draw_studies(grids: dict[str, list[Cell]]) -> Iterator[tuple[str, Figure]]:
    """Draw the figures of students' shares against something, with their files' names."""
    sizes = [*grids["best"], *grids["students"]]
    whole = [cell for cell in sizes if cell.labels["budget"] == DEFAULTS["budget"]]
    updates = f"updates in {DistillConfig.total_steps:,} steps"
    of_sizes = {"name_axis": "teacher", "tick_axis": "student"}
    seconds = operator.attrgetter("median_seconds")
    shares = {
        "students": (whole, parameters_of, "student and its parameters", of_sizes),
        "updates": (grids["updates"], updates_of, updates, {"name_axis": "student"}),
        "budgets": (grids["budgets"], seconds, "training, seconds", {"name_axis": "budget"}),
    }
    for name, (cells, x_of, x_label, axes) in shares.items():
        if any(cell.shares for cell in cells):
            yield name, draw_shares(cells, x_of, x_label=x_label, **axes)


def draw_arms(grids: dict[str, list[Cell]]) -> Iterator[tuple[str, Figure]]:
    """Draw the figures of what curiosity does, with their files' names."""
    cells, usual = grids["curiosity"], f"temperature {DistillConfig.temperature:g}"
    differences = {
        f"{title},\n{where}": found
        for where, arms in (
            (usual, grids["curiosity_defaults"]),
            (f"{usual}, Breakout", grids["curiosity_breakout"]),
            ("temperature 1", cells),
        )
        for title, found in differences_by_arm(arms).items()
    }
    shown = {
        "curiosity": (shares_by_arm(cells), "IQM of the share, 95 % bootstrap", None),
        "differences": (differences, "share minus plain students', 95 %", MARGIN),
        "coverage": (coverage_by_arm(cells), "distinct frames, mean and 95 %", None),
    }
    for name, (groups, x_label, margin) in shown.items():
        if compared := {title: found for title, found in groups.items() if is_telling(found)}:
            percent = name != "coverage"
            yield name, draw_estimates(compared, x_label=x_label, margin=margin, percent=percent)


def is_telling(arms: Mapping[str, Interval]) -> bool:
    """Whether there are several arms, and how far apart they are by chance is known of one."""
    return len(arms) > 1 and any(np.isfinite(found.low) for found in arms.values())


def parameters_of(cell: Cell) -> float:
    """Return how many parameters a cell's students have."""
    return cell.outcomes[0].parameters


def updates_of(cell: Cell) -> float:
    """Return how many updates a cell's students were given."""
    return cell.outcomes[0].updates


def section_of(grid: str, cells: Sequence[Cell]) -> str:
    """Write the section on a grid; where arms compete, with verdicts."""
    lay_out = curiosity_section if any("arm" in cell.labels for cell in cells) else grid_table
    return grid_section(grid, cells, lay_out)


def write_pages(grids: dict[str, list[Cell]]) -> None:
    """Write the generated parts of all pages, each where it has its place."""
    page = TEACHERS / "README.md"
    write_text(page, with_table(page.read_text(), teachers_table(TEACHERS)))
    sections = {grid: section_of(grid, cells) for grid, cells in grids.items()}
    sections["uncertainty"] = probe_section(read_rows(PROBES, Probe))
    small_scores = read_rows(SMALL_PPO, SmallScore)
    sections["small_ppo"] = small_ppo_table(small_scores, read_rungs(TEACHERS))
    for page in PAGES:
        write_text(page, with_sections(page.read_text(), sections))


def parse_command() -> argparse.Namespace:
    """Read the command line; refuses run folders that are none, or of one name."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = cli.Parser(description=__doc__, allow_abbrev=False, formatter_class=raw)
    parser.add_argument(
        "--collect", nargs="*", type=Path, default=[], metavar="RUN", help="run folders to add"
    )
    parser.add_argument("--curves", action="store_true", help="collect the runs' curves, too")
    asked = parser.parse_args()
    if asked.curves and not asked.collect:
        parser.error("--curves needs --collect")
    names = [name_of(run_dir) for run_dir in asked.collect]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        parser.error(f"--collect needs runs of different names, got {twice[0]} twice")
    for run_dir in asked.collect:
        read_run(run_dir, flag="--collect")
    return asked


def main() -> None:
    """Collect what was asked for, then draw and write."""
    asked = parse_command()  # which refuses before anything is written
    # Tables would be written empty of one that is missing.
    for path in (OUTCOMES, CURVES, PROBES, SMALL_PPO, ZOO, STOCK):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing")
    if asked.collect:
        n = collect_outcomes(asked.collect, OUTCOMES)
        n += collect_small_scores(asked.collect, SMALL_PPO)
        others = len(asked.collect) - n
        print(f"{n} results collected; {others} runs have none: unfinished, not scored or teachers")
    if asked.curves:
        collect(asked.collect, CURVES)
        print(f"the curves of {len(asked.collect)} runs collected")
    mpl.use("agg")
    grids = read_grids()
    drawn = [*draw_learning(grids["students"]), *draw_studies(grids), *draw_arms(grids)]
    for name, figure in drawn:
        path = FIGURES / f"{name}.png"
        write_atomically(path, functools.partial(figure.savefig, dpi=110))
        print(f"wrote {path}")
    write_pages(grids)


if __name__ == "__main__":
    run_command(main)
