"""Commands run in this process, which saves the seconds of their imports."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from distill.errors import run_command


def run_main(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *args: object) -> int:
    """Run a command's `main` with these arguments; returns its exit status."""
    assert module.__file__ is not None
    monkeypatch.setattr(sys, "argv", [Path(module.__file__).name, *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        run_command(module.main)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code
