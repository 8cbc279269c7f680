"""Writes that leave the old file or the new one, whole."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from distill.files import (
    lock_folder,
    locked,
    print_for_programs,
    remove_leftovers,
    write_atomically,
    write_json,
    write_text,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def old(tmp_path) -> Path:
    path = tmp_path / "file.txt"
    path.write_text("old")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_text_replaces_the_old_and_nothing_else_is_left(old):
    write_text(old, "new")
    assert old.read_text() == "new"
    assert names(old.parent) == ["file.txt"]


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "file.txt", "new")
    assert (tmp_path / "a" / "b" / "file.txt").read_text() == "new"


def test_the_old_file_is_whole_while_the_new_one_is_written(old):
    def write(path: Path) -> None:
        path.write_text("half")
        assert old.read_text() == "old"
        assert path != old

    write_atomically(old, write)
    assert old.read_text() == "half"


def test_writers_see_the_suffix_that_chooses_their_format(tmp_path):
    seen = []
    write_atomically(tmp_path / "teacher.zip", lambda path: (seen.append(path), path.touch()))
    assert seen[0].suffix == ".zip"
    assert seen[0].parent == tmp_path  # the same file system, or replacing would not be atomic


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, MemoryError])
def test_a_writer_that_raises_leaves_the_old_file_and_nothing_else(old, error):
    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(error):
        write_atomically(old, write)
    assert old.read_text() == "old"
    assert names(old.parent) == ["file.txt"]


def test_a_full_disk_is_an_error_that_names_the_file_and_the_reason(old):
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r"cannot write .*file\.txt: No space left on device"):
        write_atomically(old, write)
    assert old.read_text() == "old"
    assert names(old.parent) == ["file.txt"]


def test_a_limit_on_file_size_leaves_the_old_file_and_nothing_else(old):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = f"from distill.files import *; write_text(Path({str(old)!r}), 'x' * 10_000)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot write {old}: File too large" in done.stderr
    assert old.read_text() == "old"
    assert names(old.parent) == ["file.txt"]


def test_what_cannot_be_cleaned_up_does_not_hide_what_went_wrong(old, monkeypatch):
    def read_only(*args, **more):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OSError, match=rf"cannot write {old}: Read-only file system"):
        write_atomically(old, read_only)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_file(old):
    # A file where the folder should be: unlike missing permissions, this stops root too.
    with pytest.raises(OSError, match=r"cannot write .*checkpoint\.pt: "):
        write_text(old / "checkpoint.pt", "new")
    assert old.read_text() == "old"


def test_a_folder_in_the_files_place_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file.txt" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"cannot write .*file\.txt: Is a directory"):
        write_text(tmp_path / "file.txt", "new")
    assert names(tmp_path) == ["file.txt"]


def test_what_a_killed_write_left_behind_is_removed_and_nothing_else(old):
    code = (
        "import os, signal, sys; from pathlib import Path; from distill.files import *;"
        "write_atomically(Path(sys.argv[1]),"
        " lambda path: (path.write_text('half'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(old)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(old.parent)) == 2
    (old.parent / ".a.user's.txt").touch()
    remove_leftovers(old.parent)
    assert names(old.parent) == [".a.user's.txt", "file.txt"]
    assert old.read_text() == "old"


def test_a_folder_is_locked_until_its_holder_lets_go(tmp_path):
    held = lock_folder(tmp_path)
    with pytest.raises(ValueError, match="is being written by another process"):
        lock_folder(tmp_path)
    os.close(held)
    os.close(lock_folder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_folders_lock_can_be_waited_for(tmp_path):
    held, order = lock_folder(tmp_path), []

    def wait() -> None:
        with locked(tmp_path, wait=True):
            order.append("locked")

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.2)  # long enough, if it did not wait
    order.append("let go")
    os.close(held)
    waiting.join()
    assert order == ["let go", "locked"]


def test_json_has_each_list_of_numbers_on_one_line(tmp_path):
    record = {"scores": [1.5, -2.0], "name": "[1,  2]", "nested": {"flags": [True], "ci95": [1, 2]}}
    write_json(tmp_path / "record.json", record)
    text = (tmp_path / "record.json").read_text()
    assert json.loads(text) == record
    assert '"scores": [1.5, -2.0]' in text


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_record_for_programs_is_one_line_where_no_terminal_would_show_it(
    monkeypatch, capsys, is_terminal
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    print_for_programs({"scores": [1.5, -2.0]})
    assert capsys.readouterr().out == ("" if is_terminal else '{"scores": [1.5, -2.0]}\n')


def test_a_new_file_is_on_the_disk_before_it_takes_its_place(old, monkeypatch):
    flushed, fsync = [], os.fsync

    def noting(descriptor: int) -> None:
        flushed.append(old.read_text())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write_text(old, "new")
    assert flushed == ["old", "new"]  # the file itself, then its folder
