"""Commands in processes of their own, without the seconds that importing torch takes each time.

A fork server imports everything once. A command is a fork of it that runs the script as `__main__`,
with its own folder, standard output and error, limits, signals and exit status.
"""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
PRELOADED = ["run_distillation", "kornia.augmentation", "torch._dynamo", "pytest"]
DEADLINE_SECONDS = 300


class Done(NamedTuple):
    """What is left of a command."""

    status: int  # minus the signal's number if one killed it
    out: str
    err: str


class Command:
    """A command that was started.

    Args:
        script: path below the root.
        argv: its arguments.
        folder: where it runs.
        max_file_bytes: no file may grow beyond; the nearest to a full disk that needs no disk.
    """

    def __init__(self, script: str, *argv: object, folder: Path, max_file_bytes: int = -1) -> None:
        self._texts = [folder.parent / f"{folder.name}.{name}" for name in ("out", "err")]
        argument = (str(ROOT / script), [str(a) for a in argv], folder, self._texts, max_file_bytes)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._process: ForkServerProcess = context.Process(target=_run, args=argument, daemon=True)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "scripts")))
        try:
            self._process.start()
        finally:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before

    def signal_when(self, number: signal.Signals, ready: Callable[[], bool]) -> None:
        """Send it a signal as soon as `ready`."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not ready():
            assert self._process.is_alive(), f"ended too soon: {self._texts[1].read_text()}"
            assert time.monotonic() < end, "was never ready"
            time.sleep(0.005)
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self) -> Done:
        """Wait for its end."""
        self._process.join(DEADLINE_SECONDS)
        assert self._process.exitcode is not None, "did not end"
        out, err = (path.read_text() for path in self._texts)
        return Done(self._process.exitcode, out, err)


def _run(
    script: str, argv: list[str], folder: Path, texts: list[Path], max_file_bytes: int
) -> None:
    os.chdir(folder)
    for descriptor, path in enumerate(texts, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    tqdm.set_lock(threading.RLock())  # its own, for many processes, would outlive a killed one
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    sys.argv = [script, *argv]
    sys.path.insert(0, str(Path(script).parent))  # as Python itself does for a script
    runpy.run_path(script, run_name="__main__")
