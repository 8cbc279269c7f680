"""What a run logs: from one call TensorBoard events and metrics.csv."""

import contextlib
import csv
import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from distill.files import lock_folder, write_text
from distill.tags import TAGS

CSV_COLUMNS = ("step", "wall_seconds", "tag", "value")

CHARTS = {
    "distillation": {
        "student against teacher and floor": [
            "Multiline",
            ["eval/mean_reward$", "eval/teacher$", "eval/floor$"],
        ]
    }
}


def wait_for_a_later_name(run_dir: Path) -> None:
    """Wait until an event file made now comes after those that are there.

    TensorBoard reads a run's files in the order of their names, which begin with the second that
    they were made in; of one second, by process. A run that died and goes on in the same second
    would be read backwards.
    """
    now = time.time()
    seconds = {int(path.name.split(".")[3]) for path in run_dir.glob("events.out.tfevents.*")}
    if int(now) in seconds:
        time.sleep(1 - now % 1)


class Tracker:
    """Writes scalars to TensorBoard and metrics.csv; use it as a `with` block.

    Args:
        run_dir: folder of the run.
        resume_step: step of the checkpoint that the run continues from; what was logged after it is
            dropped, so that no stretch of a curve is there twice.

    Raises:
        ValueError: if another process is at this run.
    """

    def __init__(self, run_dir: Path, *, resume_step: int | None = None) -> None:
        self._lock = lock_folder(run_dir)
        self._csv_path = run_dir / "metrics.csv"
        self._wall_seconds = 0.0
        if resume_step is not None:
            self._drop_rows_after(resume_step)
        self._file = self._csv_path.open("a", newline="")
        self._csv = csv.writer(self._file)
        if self._csv_path.stat().st_size == 0:
            self._csv.writerow(CSV_COLUMNS)
        wait_for_a_later_name(run_dir)
        self.writer = SummaryWriter(
            str(run_dir), purge_step=None if resume_step is None else resume_step + 1
        )
        self.writer.add_custom_scalars(CHARTS)
        self._started = time.monotonic()

    def _drop_rows_after(self, step: int) -> None:
        if not self._csv_path.is_file():
            return
        rows = [
            row
            for row in csv.reader(self._csv_path.open(newline=""))
            if len(row) == len(CSV_COLUMNS)
        ]
        kept = [row for row in rows[1:] if int(row[0]) <= step]
        self._wall_seconds = float(kept[-1][1]) if kept else 0.0
        text = io.StringIO(newline="")
        csv.writer(text).writerows([CSV_COLUMNS, *kept])
        write_text(self._csv_path, text.getvalue())

    @property
    def wall_seconds(self) -> float:
        """Seconds this run has taken so far, those before a resume included."""
        return self._wall_seconds + time.monotonic() - self._started

    def log(self, scalars: Mapping[str, float | Tensor], step: int) -> None:
        """Write scalars at an agent step; here, and only here, tensors become numbers.

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
        seconds = f"{self.wall_seconds:.2f}"
        for tag, value in scalars.items():
            if tag not in TAGS:
                raise KeyError(f"TAGS does not document {tag}")
            number = float(value)
            self.writer.add_scalar(tag, number, step)
            self._csv.writerow((step, seconds, tag, f"{number:.8g}"))
        # Now, not every two minutes: a kill must cost nothing that precedes the last checkpoint.
        self._file.flush()
        self.writer.flush()

    def finish(self, settings: Mapping[str, Any], result: Mapping[str, float]) -> None:
        """Write settings and final scores to the HPARAMS tab, where runs are compared."""
        plain = {k: "" if v is None else v for k, v in settings.items()}
        # Not add_hparams: it writes the scores once more, as points at step 0 of their curves.
        for summary in hparams(plain, dict(result)):
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
