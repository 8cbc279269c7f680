"""Settings that several commands share, each declared once."""

from pathlib import Path
from typing import Any

from distill.device import DEVICES, PRECISIONS
from distill.parsing import Parse, flag, one_of, seed, threads
from distill.schedules import LinearSchedule
from distill.settings import option
from distill.types import WIDTHS

OPTIMIZERS = ("muon", "adam")  # the first is a distillation's default
FOLDERS = ("run_dir", "resume", "teachers_dir")
OF_THE_MACHINE = ("device", "n_threads", "teachers_dir")  # may differ when a run is resumed
# All that say where and how fast something is done: they change nothing of what is learned.
PLACES = {*FOLDERS, *OF_THE_MACHINE, "checkpoint_steps"}
DEFAULT_ENV = "FreewayNoFrameskip-v0"
SCHEDULE = "START[:END[:FRACTION]]"  # how one is written
NETWORKS = f"one of {', '.join(WIDTHS)}, or C1,C2,C3,FC"


def env_option(more: str = "") -> Any:
    """Declare the game; `more` ends its help text."""
    names = "{Game}NoFrameskip-v0 (sticky actions), {Game}NoFrameskip-v4 or ALE/{Game}-v5"
    return option(DEFAULT_ENV, f"game: {names}{more}", str)


def seed_option(default: int) -> Any:
    """Declare the seed."""
    return option(default, "seed of networks, sampling and games", seed)


def data_init_option() -> Any:
    """Declare whether initial weights are fitted to the first states."""
    return option(True, "standardize the fresh network's layers on the first states", flag)


def device_option(more: str = "") -> Any:
    """Declare where tensors live; `more` is added to what its help says."""
    text = f"one of {', '.join(DEVICES)}; auto takes CUDA if there is one{more}"
    return option("auto", text, one_of(*DEVICES))


def precision_option() -> Any:
    """Declare the compute type."""
    words = f"compute type of the encoder, one of {', '.join(PRECISIONS)}"
    text = f"{words}; auto takes bfloat16 where the device has it natively"
    return option("auto", text, one_of(*PRECISIONS))


def threads_option() -> Any:
    """Declare how many threads there are."""
    return option(None, "threads for torch and for the emulator (default: one a core)", threads)


def optimizer_option(default: str | None = OPTIMIZERS[0], more: str = "") -> Any:
    """Declare what takes the encoder's steps; `more` ends its help text."""
    text = f"of the encoder's weights, one of {', '.join(OPTIMIZERS)}; all else has Adam{more}"
    return option(default, text, one_of(*OPTIMIZERS))


def resume_option(may_differ: str = "--device and --n_threads") -> Any:
    """Declare the run to go on with; `may_differ` names what need not be as it was."""
    return option(
        None,
        "run folder to continue from its last checkpoint, with the settings it was started with;"
        f" {may_differ} may differ",
        Path,
    )


def run_dir_option() -> Any:
    """Declare the folder of a new run."""
    return option(None, "folder to create for this run (default: a new one under runs/)", Path)


def schedule(
    start: float,
    end: float,
    help: str,  # noqa: A002 (argparse's own word for it)
    fraction_of_run: float = 1.0,
    parse: Parse = LinearSchedule.parse,
) -> Any:
    """Declare a number that may change from `start` to `end` over a fraction of the run."""
    return option(LinearSchedule(start, end, fraction_of_run), f"{help}, {SCHEDULE}", parse)


def learning_rate_option(default: LinearSchedule | None, more: str = "") -> Any:
    """Declare a step size; `more` ends its help text."""
    text = f"step size of Adam and Muon, {SCHEDULE}{more}"
    return option(default, text, LinearSchedule.parse_rate)


def probability(start: float, help: str, fraction_of_run: float = 1.0) -> Any:  # noqa: A002
    """Declare a probability that may fall from `start` to 0."""
    return schedule(start, 0.0, help, fraction_of_run, LinearSchedule.parse_probability)
