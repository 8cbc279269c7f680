"""The studies: which settings of `run_distillation.py` answer which question.

A grid is a list of blocks and what they share; a block is every combination of some values of some
axes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill.config import DistillConfig
from distill.parsing import MAX_STEPS
from distill.study.axes import AXES, BEST, GRADES

Block = Mapping[str, Sequence[str]]  # names of values, by axis

# A study scores its students once, at the end, by the policy that is compared: sampled actions.
BASE: Mapping[str, Any] = {"eval_steps": MAX_STEPS, "eval_greedy": False}
# Where arms compete, students are scored over half as many games as a teacher: on one core 100
# games of Freeway last twice as long as training on a quarter of the budget, and a standard error
# of 1.5 % of the teacher's range (Freeway; Pong 0.7 %) is made up for by more seeds. Breakout's, of
# 7 %, would not be.
ARM_GAMES = DistillConfig.n_eval_episodes // 2
# Studies were made by the KL at temperature 1, the default until they had found a better one; some
# were made, or made again, by today's defaults.
AT_ONE: Mapping[str, Any] = {"temperature": 1.0}
TODAYS: Mapping[str, Any] = {}


class Grid(NamedTuple):
    """A study: its blocks, the most wanted first, and what all its runs share."""

    blocks: Sequence[Block]
    n_games: int = DistillConfig.n_eval_episodes  # that a student is scored over
    settings: Mapping[str, Any] = AT_ONE


BOTH_GAMES = ("Freeway", "Pong")
FIVE, THREE = ("0", "1", "2", "3", "4"), ("0", "1", "2")
PLAIN, FIRST_ARMS = ("plain",), ("plain", "aux", "bonus", "both")
WITHOUT_TEACHER = ("bonus alone", "both alone")
UNCERTAIN_ARMS = ("both + uncertainty", "bonus + uncertainty", "uncertainty")
SMALL = ("net3", "1pct")
CLOSE_LOSSES = ("kl", "mse", "kl, both / 3")  # of good teachers these made the nearest students
USUAL_UPDATES, HALF_UPDATES, *FEWER_UPDATES = AXES["updates"]
ON_BREAKOUT: Block = {
    "game": ("Breakout",),
    "seed": THREE,
    "loss": ("kl",),
    "setting": ("defaults",),
}
# The budget at which plain students train as long, by the clock, as an arm at a budget. On one
# thread (bfloat16) a quarter of the budget took aux and bonus 1.5 to 1.6 times as long as plain,
# both and rnd 1.7 to 1.8, side by side; uncertainty added a fifth of plain's time. `both` of the
# whole budget stands beside twice the steps. README's table tells how equal the times were.
AS_LONG = {
    ("quarter", "uncertainty"): "1.2 quarters",
    ("quarter", "aux"): "1.6 quarters",
    ("quarter", "bonus"): "1.6 quarters",
    ("quarter", "rnd"): "1.8 quarters",
    ("quarter", "both"): "1.8 quarters",
    ("quarter", "bonus + uncertainty"): "1.8 quarters",
    ("quarter", "both + uncertainty"): "half",
    ("whole", "aux"): "1.6 wholes",
    ("whole", "bonus"): "1.6 wholes",
    ("whole", "both"): "double",
}


def _as_long_as(budget: str) -> tuple[str, ...]:
    """Name the budgets at which plain students train as long as the arms at this one."""
    return tuple(sorted({longer for (b, _), longer in AS_LONG.items() if b == budget}))


def _values_of(axis: str, budget: str) -> Block:
    """Ask of an axis what each of its values does to both games' students, by three seeds."""
    return {axis: tuple(AXES[axis]), "game": BOTH_GAMES, "seed": THREE, "budget": (budget,)}


def _arms(
    names: tuple[str, ...],
    *budgets: str,
    seeds: tuple[str, ...] = FIVE,
    games: tuple[str, ...] = BOTH_GAMES,
) -> Block:
    """Let these arms compete on these games, at each of these budgets."""
    return {"arm": names, "game": games, "seed": seeds, "budget": budgets}


SIZES: Sequence[Block] = (
    {"student": ("net3", "net2", "net1"), "game": BOTH_GAMES, "seed": FIVE},
    {"student": ("1pct", "0.3pct", "0.1pct"), "game": BOTH_GAMES, "seed": THREE},
    {"student": ("nature",), "game": BOTH_GAMES, "seed": ("0",)},
    {"student": ("1pct",), "game": BOTH_GAMES, "seed": THREE, "budget": ("fourfold",)},
)
GRIDS: Mapping[str, Grid] = {
    "best": Grid(
        tuple(  # what users distill, how soon it is there, and what more steps are worth
            {**block, "teacher": (BEST,)}
            for block in (
                *SIZES,
                {"game": BOTH_GAMES, "seed": THREE, "budget": ("half", "double")},
                {"student": ("net1",), "game": BOTH_GAMES, "seed": THREE, "budget": ("double",)},
            )
        ),
        settings=TODAYS,
    ),
    "students": Grid(SIZES),
    "updates": Grid(
        (  # of networks as large as the teacher's, of a quarter and of 4 %
            {
                **_values_of("updates", "whole"),
                "student": ("net3", "net1"),
                "updates": (USUAL_UPDATES, *FEWER_UPDATES),
            },
            {
                "student": ("nature",),
                "updates": (USUAL_UPDATES,),
                "game": BOTH_GAMES,
                "seed": ("0",),
            },
            {
                "student": ("nature",),
                "updates": tuple(FEWER_UPDATES),
                "game": BOTH_GAMES,
                "seed": THREE,
            },
        )
    ),
    "states": Grid(
        tuple(  # as many updates in once, twice and four times the steps
            {**on_game, "updates": (updates,), "seed": THREE, "budget": (budget,)}
            for on_game in ({"game": BOTH_GAMES, "teacher": (BEST,)}, {"game": ("Breakout",)})
            for budget, updates in (
                ("whole", USUAL_UPDATES),
                ("double", HALF_UPDATES),
                ("fourfold", FEWER_UPDATES[0]),
            )
        )
    ),
    # At the size, a quarter of the teacher's, at which students were seen to collapse.
    "methods": Grid(({**_values_of("method", "whole"), "student": ("net1",)},)),
    "budgets": Grid(
        (
            {
                "budget": ("eighth", "quarter", "half", "whole", "double"),
                "game": BOTH_GAMES,
                "seed": THREE,
            },
        )
    ),
    "teachers": Grid(
        (  # those that no default was chosen on
            {"teacher": (BEST,), "seed": FIVE},
            {"teacher": (BEST,), "game": ("Pong",), "seed": THREE},
            {"game": ("Breakout",), "seed": THREE},
            {"teacher": GRADES, "game": BOTH_GAMES, "seed": THREE},
        ),
        settings=TODAYS,
    ),
    "breakout": Grid(
        (  # what students lacked there: training, weights, updates, or a better loss
            {**ON_BREAKOUT, "budget": ("whole", "fourfold")},
            {**ON_BREAKOUT, "student": ("net1",)},
            {**ON_BREAKOUT, "setting": ("twice as many updates",)},
            {**ON_BREAKOUT, "loss": CLOSE_LOSSES},
        )
    ),
    "initialization": Grid((_values_of("initial weights", "quarter"),), n_games=ARM_GAMES),
    "temperatures": Grid(
        tuple(  # of the teacher's answers: how sure a player its student should be
            {**_values_of("temperature", "whole"), "teacher": (BEST,), **of_students}
            for of_students in (
                {"student": ("net1",)},
                {"student": ("net3",)},
                {"student": ("nature",), "seed": ("0",), "temperature": ("1", "0.5")},
            )
        )
    ),
    "best_losses": Grid(
        tuple(  # whether any brings students nearer to the best teachers
            {**_values_of("loss", "whole"), "teacher": (BEST,), "loss": CLOSE_LOSSES, **of_students}
            for of_students in (
                {"student": ("net3", "net1")},
                {"student": ("nature",), "seed": ("0",)},
                {"teacher": ("medium",)},  # or to others
            )
        )
    ),
    "losses": Grid(
        tuple({**_values_of("loss", "half"), "game": (game,)} for game in BOTH_GAMES),
        n_games=ARM_GAMES,
    ),
    "actors": Grid(({**_values_of("actor", "half"), "student": SMALL},), n_games=ARM_GAMES),
    "sampling": Grid((_values_of("sampling", "quarter"),), n_games=ARM_GAMES),
    "settings": Grid((_values_of("setting", "quarter"),), n_games=ARM_GAMES),
    "encoder": Grid(
        (
            _values_of("encoder", "quarter"),
            {**_values_of("encoder", AS_LONG["quarter", "aux"]), "encoder": ("plain",)},
        ),
        n_games=ARM_GAMES,
    ),
    "bonus": Grid(
        tuple(
            {**_values_of("bonus", "quarter"), "teacher": (teacher,)}
            for teacher in ("good", "medium")
        ),
        n_games=ARM_GAMES,
    ),
    "curiosity": Grid(
        (
            _arms(FIRST_ARMS, "quarter"),
            _arms(PLAIN, *_as_long_as("quarter")),
            _arms(FIRST_ARMS, "whole", seeds=THREE),
            _arms(PLAIN, *_as_long_as("whole"), seeds=THREE),
            _arms(("rnd", *UNCERTAIN_ARMS), "quarter"),
            _arms(WITHOUT_TEACHER, "whole", seeds=THREE),
            {**_arms((*FIRST_ARMS, *UNCERTAIN_ARMS), "quarter"), "teacher": ("medium", "bad")},
            {**_arms(PLAIN, *_as_long_as("quarter")), "teacher": ("medium", "bad")},
        ),
        n_games=ARM_GAMES,
    ),
    "curiosity_defaults": Grid(
        (  # whether the answer is another at today's temperature
            _arms(("plain", "both"), "quarter"),
            _arms(PLAIN, AS_LONG["quarter", "both"]),
            _arms(("aux",), "quarter", seeds=THREE),
            # Of the bonus three seeds a game left it undecided, a percent ahead.
            _arms(("bonus",), "quarter"),
            _arms(PLAIN, AS_LONG["quarter", "bonus"]),
            # Of medium teachers curiosity cost most at temperature 1.
            {**_arms(("plain", "both", "bonus"), "quarter", seeds=THREE), "teacher": ("medium",)},
            {
                **_arms(
                    PLAIN, AS_LONG["quarter", "both"], AS_LONG["quarter", "bonus"], seeds=THREE
                ),
                "teacher": ("medium",),
            },
        ),
        n_games=ARM_GAMES,
        settings=TODAYS,
    ),
    "curiosity_breakout": Grid(
        tuple(  # or on a game whose students are further from their teacher
            _arms(names, budget, games=("Breakout",))
            for names, budget in (
                (("plain", "both", "bonus"), "quarter"),
                (PLAIN, AS_LONG["quarter", "both"]),
                (PLAIN, AS_LONG["quarter", "bonus"]),
            )
        ),
        settings=TODAYS,
    ),
    "weighting": Grid(
        tuple(  # whether it helps to trust a teacher less where it is unsure
            {**_arms(names, budget), "teacher": (teacher,)}
            for names, budget in (
                (("plain", "uncertainty"), "quarter"),
                (PLAIN, AS_LONG["quarter", "uncertainty"]),
            )
            for teacher in ("medium", "good")  # the former has mistakes to be kept from
        ),
        n_games=ARM_GAMES,
        settings=TODAYS,
    ),
}
