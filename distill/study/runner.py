"""Running a study: a manifest with a line a run, and each run a process of the same command line.

A finished run is not repeated, a broken one goes on from its checkpoint. While a run works it holds
a lock on its log file; several studies may share a folder.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from distill import cli
from distill.checkpoint import can_resume
from distill.files import lock, write_text
from distill.provenance import ROOT
from distill.study.jobs import Job, folder_now, is_finished

PROGRAM = (sys.executable, str(ROOT / "scripts" / "run_distillation.py"))
BAD_INPUT = 2  # a command's exit status when trying again is of no use
POLL_SECONDS = 0.5
LOOK_SECONDS = 10.0


class Worker:
    """A job's process; it holds the lock on the job's log."""

    def __init__(self, job: Job, log: IO[bytes], command: Sequence[str]) -> None:
        self.job, self._started = job, time.monotonic()
        # A session of its own: Ctrl-C on the terminal is passed on by us, once.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        job.status, job.attempts = "running", job.attempts + 1

    def finish(self) -> bool:
        """Return whether the process has ended, and note how."""
        status = self._process.poll()
        if status is None:
            return False
        job = self.job
        job.exit_status = status
        job.seconds += time.monotonic() - self._started
        finished = status == 0 and is_finished(job.folder)
        job.status = "done" if finished else "failed"
        return True

    def interrupt(self) -> None:
        """Ask the run to save and stop."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the run at once; it keeps its last checkpoint."""
        self._process.kill()
        self._process.wait()
        self.job.status = "stopped"


def lock_log(path: Path) -> IO[bytes] | None:
    """Open a run's log and lock it; None while another process holds the lock.

    The child inherits the open file, and with it the lock, until it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("ab")
    if not lock(log.fileno()):
        log.close()
        return None
    return log


class Study:
    """Runs jobs, a few at a time.

    Args:
        jobs: what to do, in this order.
        manifest: file to keep up to date, a line a job.
        n_workers: processes at a time.
        flags: for each of them, of the machine alone, such as `--n_threads 1`.
        n_retries: further attempts at a job that fails.
        on_change: called whenever a job starts or ends.
        on_look: called every LOOK_SECONDS while jobs run.
        program: the command line without flags.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        manifest: Path,
        *,
        n_workers: int,
        flags: Sequence[str],
        n_retries: int,
        on_change: Callable[[Job], None],
        on_look: Callable[[], None],
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.jobs, self._manifest = jobs, manifest
        self._on_change, self._on_look = on_change, on_look
        self._n_workers, self._flags, self._n_retries = n_workers, flags, n_retries
        self._program = program
        self._waiting = [job for job in jobs if job.status != "done"]
        self._workers: list[Worker] = []

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until nothing is left, or until asked to stop; then wait for what is running."""
        self._write()
        try:
            self._work(should_stop)
            self._look_again()
        finally:  # after a second Ctrl-C nothing may go on by itself
            for worker in self._workers:
                worker.kill()
            self._write()

    def _work(self, should_stop: Callable[[], bool]) -> None:
        asked, looked = False, time.monotonic()
        while self._workers or (self._waiting and not asked):
            if should_stop() and not asked:
                asked = True
                for worker in self._workers:
                    worker.interrupt()
            while not asked and self._waiting and len(self._workers) < self._n_workers:
                self._start(self._waiting.pop(0))
            for worker in [worker for worker in self._workers if worker.finish()]:
                self._workers.remove(worker)
                self._end(worker.job, stopped=asked)
            if self._workers:
                time.sleep(POLL_SECONDS)
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                self._on_look()

    def _look_again(self) -> None:
        """Note which of the runs that another process had are at their end."""
        for job in self.jobs:
            if job.status == "elsewhere" and is_finished(folder := folder_now(job)):
                job.folder, job.status = folder, "done"

    def _start(self, job: Job) -> None:
        log = lock_log(job.folder.parent / f"{job.run.id}.log")
        if log is None:  # another process has it
            job.status = "elsewhere"
        else:
            job.folder = folder_now(job)
            if is_finished(job.folder):
                job.status = "done"
                log.close()
            else:
                self._workers.append(Worker(job, log, self._command(job)))
        self._changed(job)

    def _command(self, job: Job) -> list[str]:
        if can_resume(job.folder):
            return [*self._program, "--resume", str(job.folder), *self._flags]
        cfg = replace(job.run.cfg, run_dir=job.folder)
        return [*self._program, *cli.to_argv(cfg), *self._flags]

    def _end(self, job: Job, *, stopped: bool) -> None:
        if job.status == "failed":
            if stopped:
                job.status = "stopped"
            elif job.exit_status != BAD_INPUT and job.attempts <= self._n_retries:
                job.status = "planned"
                self._waiting.append(job)
        self._changed(job)

    def _changed(self, job: Job) -> None:
        self._write()
        self._on_change(job)

    def _write(self) -> None:
        write_text(self._manifest, "".join(f"{job.line()}\n" for job in self.jobs))
