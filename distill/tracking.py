"""What a run logs: from one call TensorBoard events and metrics.csv."""

import contextlib
import csv
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from torch import Tensor
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from distill.files import lock_folder, remove_leftovers
from distill.rows import read_rows, write_rows
from distill.tags import TAGS

METRICS = "metrics.csv"


class Metric(NamedTuple):
    """A row of metrics.csv."""

    step: int
    wall_seconds: float
    tag: str
    value: float

    def written(self) -> tuple[int, str, str, str]:
        """Return it as it is written."""
        return self.step, f"{self.wall_seconds:.2f}", self.tag, f"{self.value:.8g}"


CHARTS = {
    "distillation": {
        "student against teacher and floor": [
            "Multiline",
            ["eval/mean_reward$", "eval/teacher$", "eval/floor$"],
        ]
    }
}


def read_metrics(run_dir: Path) -> list[Metric]:
    """Read what a run has logged so far; nothing before its first row.

    Raises:
        ValueError: if the file is damaged.
    """
    return read_rows(run_dir / METRICS, Metric, is_being_written=True)


def last_step(run_dir: Path) -> int:
    """Return the step of the last row that a run has logged so far; 0 before its first.

    Raises:
        ValueError: if the file is damaged.
    """
    rows = read_metrics(run_dir)
    return rows[-1].step if rows else 0


def wait_for_a_later_name(run_dir: Path) -> None:
    """Wait until an event file made now comes after those that are there.

    TensorBoard reads a run's files in the order of their names, which begin with the second that
    they were made in; of one second, by process. A run that died and goes on in the same second
    would be read backwards.
    """
    now = time.time()
    seconds = {path.name.split(".")[3] for path in run_dir.glob("events.out.tfevents.*")}
    if str(int(now)) in seconds:
        time.sleep(1 - now % 1)


class Tracker:
    """Writes scalars to TensorBoard and metrics.csv; use it as a `with` block.

    Args:
        run_dir: folder of the run.
        resume_step: step of the checkpoint that the run continues from; what was logged after it is
            dropped, and what was logged at it is not logged again, so that nothing of a curve is
            there twice.

    Raises:
        ValueError: if another process is at this run.
    """

    def __init__(self, run_dir: Path, *, resume_step: int | None = None) -> None:
        self._lock = lock_folder(run_dir)
        remove_leftovers(run_dir)
        self._csv_path = run_dir / METRICS
        self._wall_seconds = 0.0
        self._logged_already: set[tuple[int, str]] = set()
        if resume_step is not None:
            self._drop_rows_after(resume_step)
        self._file = self._csv_path.open("a", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        if self._csv_path.stat().st_size == 0:
            self._csv.writerow(Metric._fields)
        wait_for_a_later_name(run_dir)
        self.writer = SummaryWriter(
            str(run_dir), purge_step=None if resume_step is None else resume_step + 1
        )
        self.writer.add_custom_scalars(CHARTS)
        self._started = time.monotonic()

    def _drop_rows_after(self, step: int) -> None:
        try:
            rows = read_metrics(self._csv_path.parent)
        except ValueError as error:
            raise ValueError(f"{error}; mend it, or remove the file and its rows") from None
        kept = [row for row in rows if row.step <= step]
        self._wall_seconds = kept[-1].wall_seconds if kept else 0.0
        self._logged_already = {(row.step, row.tag) for row in kept if row.step == step}
        write_rows(self._csv_path, Metric._fields, [row.written() for row in kept])

    @property
    def wall_seconds(self) -> float:
        """Seconds this run has taken so far, those before a resume included."""
        return self._wall_seconds + time.monotonic() - self._started

    def log(self, scalars: Mapping[str, float | Tensor], step: int) -> None:
        """Write scalars at an agent step.

        Raises:
            KeyError: for a tag that TAGS does not document.
            OSError: if it cannot be written.
        """
        try:
            self._write(scalars, step)
        except OSError as error:
            folder = self._csv_path.parent
            raise OSError(f"cannot write curves to {folder}: {error.strerror}") from error

    def _write(self, scalars: Mapping[str, float | Tensor], step: int) -> None:
        seconds = self.wall_seconds
        for tag, value in scalars.items():
            if tag not in TAGS:
                raise KeyError(f"TAGS does not document {tag}")
            if (step, tag) in self._logged_already:
                continue
            number = float(value)
            self.writer.add_scalar(tag, number, step)
            self._csv.writerow(Metric(step, seconds, tag, number).written())
        # Now, not every two minutes: a kill must cost nothing that precedes the last checkpoint.
        self._file.flush()
        self.writer.flush()

    def finish(self, settings: Mapping[str, Any], tags: Iterable[str]) -> None:
        """Write settings, and which curves' ends to show beside them, to the HPARAMS tab.

        Distillations alone: the tab shows the settings of one kind of runs, found first.
        """
        plain = {k: "" if v is None else v for k, v in settings.items()}
        # Not add_hparams: it writes values once more, as points at step 0 of their curves.
        for summary in hparams(plain, dict.fromkeys(tags, 0.0)):  # of these only the names are read
            assert self.writer.file_writer is not None
            self.writer.file_writer.add_summary(summary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        hidden = () if error is None else (OSError,)  # of the same reason: the first says more
        with contextlib.suppress(*hidden):
            self.writer.close()
        with contextlib.suppress(*hidden):
            self._file.close()
        os.close(self._lock)
