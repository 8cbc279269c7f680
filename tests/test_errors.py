"""How commands end."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import distill
from distill.errors import DivergedError, of_setting, run_command


def status_of(error: BaseException | None) -> Any:
    def main() -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    return exit_.value.code


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, 0),
        (ValueError("bad"), 2),
        (FileNotFoundError("bad"), 2),
        (FileExistsError("bad"), 2),
        (OSError("bad"), 1),
        (OSError(errno.ENOSPC, "bad"), 1),
        (DivergedError("bad"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=repr,
)
def test_the_exit_status_tells_how_a_command_ended(error, status):
    assert status_of(error) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_interrupt_as_ctrl_c_does(number):
    """So that a command that is preempted says how to go on, whatever it is at."""
    stopping = signal.SIGTERM, signal.SIGHUP
    before = [signal.signal(each, signal.SIG_DFL) for each in stopping]
    said = []

    def main() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            said.append("how to go on")
            raise

    try:
        with pytest.raises(SystemExit) as stopped:
            run_command(main)
    finally:
        for each, handler in zip(stopping, before, strict=True):
            signal.signal(each, handler)
    assert (stopped.value.code, said) == (130, ["how to go on"])


def test_an_error_is_one_line_on_standard_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "--seed", "x"])
    status_of(ValueError("two\nlines"))
    assert capsys.readouterr() == ("", "train.py: error: two lines\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    program = tmp_path / "talks.py"
    program.write_text(
        "from distill.errors import run_command\n"
        "run_command(lambda: [print('line ' * 1000) for _ in range(1000)])\n"
    )
    root = Path(distill.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_a_line_is_in_a_pipe_or_file_as_soon_as_it_is_printed(tmp_path):
    """Else the log of a night's training says nothing before its end, or never, if it is killed."""
    program = tmp_path / "talks.py"
    program.write_text(
        "import sys\n"
        "from distill.errors import run_command\n"
        "def main():\n"
        "    print('begins')\n"
        "    sys.stdin.read()\n"
        "run_command(main)\n"
    )
    root = Path(distill.__file__).parents[1]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**env, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.stdout is not None
    watchdog = threading.Timer(60, process.kill)  # what is not written until the end never comes
    watchdog.start()
    assert process.stdout.readline() == b"begins\n"
    watchdog.cancel()
    process.communicate()
    assert process.returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_output_that_is_closed_from_the_start_is_written_to_nobody(tmp_path, closed):
    program = tmp_path / "talks.py"
    program.write_text(
        "import sys\n"
        "from distill.errors import run_command\n"
        "def main():\n"
        "    print('line', sys.stdout.isatty())\n"
        "    sys.stderr.write(f'line {sys.stderr.isatty()}')\n"
        "    raise ValueError('wrong')\n"
        "run_command(main)\n"
    )
    root = Path(distill.__file__).parents[1]
    done = subprocess.run(
        f"exec {shlex.quote(sys.executable)} {shlex.quote(str(program))} {closed}",
        shell=True, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 2
    assert ("line" in done.stdout, "wrong" in done.stderr) == (closed == "2>&-", closed == ">&-")


def test_a_mistake_in_the_program_shows_where_it_is():
    with pytest.raises(TypeError):
        status_of(TypeError("a bug"))


def test_memory_that_is_not_there_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])

    def numpy_asks() -> None:
        np.empty(2**60, np.uint8)

    def torch_asks() -> None:
        torch.empty(2**60, dtype=torch.uint8)

    def cuda_asks() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def cuda_begins() -> None:
        raise torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be")

    def metal_asks() -> None:
        raise RuntimeError("MPS backend out of memory (MPS allocated: 8.98 GiB).")

    for ask in (numpy_asks, torch_asks, cuda_asks, cuda_begins, metal_asks):
        with pytest.raises(SystemExit) as exit_:
            run_command(ask)
        assert exit_.value.code == 1
        err = capsys.readouterr().err
        assert err.startswith("train.py: error: out of memory: ")
        assert err.count("\n") == 1


def test_what_is_wrong_with_a_file_is_told_with_the_setting_that_names_it():
    with (
        pytest.raises(FileNotFoundError, match="--kickstart: no teacher"),
        of_setting("--kickstart"),
    ):
        raise FileNotFoundError("no teacher")
    with pytest.raises(ValueError, match=r"^--known: .*byte 0xff"), of_setting("--known"):
        b"\xff".decode()
