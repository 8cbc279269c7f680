"""Checkpoints of runs: the last two are kept, one is always whole, none is unpickled."""

import errno
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from distill import checkpoint as module
from distill import cli
from distill.checkpoint import NAMES, can_resume, load_run, reopen, resumable, save_run
from distill.files import lock_folder
from distill.run_folder import create_run
from distill.teacher_config import TeacherConfig

ROOT = Path(__file__).parent.parent
NEWEST, PREVIOUS = NAMES


def steps_in(run_dir: Path) -> int:
    return load_run(run_dir)[0]["steps"]


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """A run with two checkpoints, of steps 1 and 2."""
    for step in (1, 2):
        save_run(tmp_path, {"steps": step, "weights": torch.full((100,), float(step))})
    return tmp_path


def test_a_state_reads_back_as_it_was_saved(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "steps": 7,
        "policy": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "games": [[21.0, 2048]],
        "rng": np.random.default_rng(0).bit_generator.state,
        "torch_rng": torch.get_rng_state(),
    }
    save_run(tmp_path, state)
    loaded, warnings = load_run(tmp_path)
    assert not warnings
    assert loaded.keys() == state.keys()
    for name in ("policy", "optimizer", "torch_rng"):
        torch.testing.assert_close(loaded[name], state[name], rtol=0, atol=0)
    for name in ("steps", "games", "rng"):
        assert loaded[name] == state[name]


@pytest.mark.parametrize("written", [None, module.FORMAT - 1], ids=str)
def test_a_checkpoint_of_another_version_is_refused(run_dir, written):
    state = torch.load(run_dir / NEWEST, weights_only=True)
    assert state.pop("format") == module.FORMAT
    torch.save(state if written is None else {**state, "format": written}, run_dir / NEWEST)
    with pytest.raises(ValueError, match=f"--resume {run_dir} was written by another version"):
        load_run(run_dir)


def test_the_newest_checkpoint_is_read_and_the_one_before_kept(run_dir):
    assert steps_in(run_dir) == 2
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(NAMES)
    assert torch.load(run_dir / PREVIOUS, weights_only=True)["steps"] == 1


def test_no_more_than_two_checkpoints_are_kept(run_dir):
    save_run(run_dir, {"steps": 3})
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(NAMES)
    assert torch.load(run_dir / PREVIOUS, weights_only=True)["steps"] == 2


def flipped(good: bytes) -> bytes:
    at = good.index(np.float32(2).tobytes() * 8)  # inside the weights
    return good[:at] + b"\x00\x00\x80\x3f" + good[at + 4 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: good[: len(good) // 2],
        lambda good: good[100:],
        flipped,
        lambda _: b"",
        lambda _: b"\x00" * 500,
        lambda _: b"a text",
    ],
    ids=["end lost", "beginning lost", "flipped bits", "empty", "zeros", "text"],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(run_dir, damage):
    path = run_dir / NEWEST
    path.write_bytes(damage(path.read_bytes()))
    state, warnings = load_run(run_dir)
    assert state["steps"] == 1
    assert len(warnings) == 1
    assert f"{path} is damaged" in warnings[0]


def test_a_checkpoint_that_holds_no_mapping_counts_as_damaged(run_dir):
    torch.save([1, 2], run_dir / NEWEST)
    state, warnings = load_run(run_dir)
    assert (state["steps"], len(warnings)) == (1, 1)


def test_a_first_checkpoint_whose_name_a_kill_left_provisional_can_be_gone_on_from(tmp_path):
    save_run(tmp_path, {"steps": 1})
    (tmp_path / NEWEST).rename(tmp_path / "checkpoint_new.pt")
    assert can_resume(tmp_path)
    assert steps_in(tmp_path) == 1


def test_random_damage_never_escapes_as_another_error(run_dir):
    path = run_dir / NEWEST
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        bad = bytearray(good[: rng.integers(1, len(good) + 1)])
        for at in rng.integers(0, len(bad), 5):
            bad[at] = rng.integers(0, 256)
        path.write_bytes(bad)
        assert steps_in(run_dir) in (1, 2)


def test_a_poisoned_checkpoint_runs_nothing(run_dir):
    class Poison:
        def __reduce__(self):
            return os.mkdir, (str(run_dir / "poisoned"),)

    (run_dir / NEWEST).write_bytes(pickle.dumps({"steps": 9, "x": Poison()}))
    assert steps_in(run_dir) == 1
    torch.save({"steps": 9, "x": Poison()}, run_dir / NEWEST)
    assert steps_in(run_dir) == 1
    assert not (run_dir / "poisoned").exists()


def test_where_both_are_damaged_the_error_names_the_folder(run_dir):
    for name in NAMES:
        (run_dir / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"--resume {run_dir} has no whole checkpoint"):
        load_run(run_dir)


def test_a_lack_of_memory_does_not_pass_for_damage(run_dir, monkeypatch):
    def fail(path):
        raise MemoryError(path)

    monkeypatch.setattr(module, "_load", fail)
    with pytest.raises(MemoryError):
        load_run(run_dir)


def test_a_folder_without_checkpoints_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"--resume {tmp_path} has no whole checkpoint"):
        load_run(tmp_path)


def killed_after(n_renames: int, monkeypatch: pytest.MonkeyPatch, run_dir: Path) -> None:
    """Save step 3, but stop dead after so many of the renames."""
    left = iter(range(n_renames))
    replace = Path.replace

    def replace_or_die(self: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise SystemExit  # no code of ours catches it
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_or_die)
        try:
            save_run(run_dir, {"steps": 3})
        except SystemExit:
            return


@pytest.mark.parametrize(("n_renames", "expected"), [(0, 2), (1, 3), (2, 3), (3, 3)])
def test_a_kill_between_any_two_renames_leaves_a_whole_checkpoint(
    monkeypatch, run_dir, n_renames, expected
):
    killed_after(n_renames, monkeypatch, run_dir)
    assert load_run(run_dir)[1] == []
    assert steps_in(run_dir) == expected
    save_run(run_dir, {"steps": 4})
    assert steps_in(run_dir) == 4


def test_a_full_disk_leaves_both_checkpoints(monkeypatch, run_dir):
    def save(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.torch, "save", save)
    with pytest.raises(OSError, match=r"cannot write .*: No space left on device"):
        save_run(run_dir, {"steps": 3})
    assert steps_in(run_dir) == 2
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("error", [KeyboardInterrupt("stopped at step 2"), ValueError("wrong")])
def test_a_run_that_can_be_gone_on_with_is_kept_and_says_how(run_dir, capsys, error):
    with pytest.raises(type(error)), resumable("p.py", run_dir, is_new=True):
        raise error
    assert steps_in(run_dir) == 2
    line = f"\nstopped at step 2; continue with: python p.py --resume {run_dir}\n"
    assert capsys.readouterr().err == (line if isinstance(error, KeyboardInterrupt) else "")


@pytest.mark.parametrize("is_new", [True, False])
def test_only_a_new_run_without_a_checkpoint_is_removed(tmp_path, is_new):
    run_dir = tmp_path / "run"
    create_run(run_dir, TeacherConfig())
    with pytest.raises(ValueError, match="wrong"), resumable("p.py", run_dir, is_new=is_new):
        raise ValueError("wrong")
    assert run_dir.exists() == (not is_new)


def test_a_disk_that_fills_while_torch_writes_leaves_both_checkpoints(run_dir):
    # torch reports it in its own way; a limit on file size is the nearest to a full disk.
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    code = f"""
import torch
from pathlib import Path
from distill.errors import run_command
from distill.checkpoint import save_run
run_command(lambda: save_run(Path({str(run_dir)!r}), {{"steps": 3, "x": torch.zeros(100_000)}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"error: cannot write {run_dir}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert steps_in(run_dir) == 2
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(NAMES)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot write"):
        save_run(tmp_path / "run", {"steps": 3})


# --- a run to be resumed ---


@pytest.fixture
def begun(tmp_path) -> Path:
    """A teacher's run with settings of its own and a checkpoint."""
    folder = tmp_path / "begun"
    create_run(folder, TeacherConfig(total_steps=500, seed=4, n_threads=1))
    save_run(folder, {"steps": 5})
    return folder


def asked_for(run_dir: Path, *argv: str) -> cli.Asked[TeacherConfig]:
    return cli.parse_command(TeacherConfig, "", ["--resume", str(run_dir), *argv])


def test_a_run_is_reopened_with_the_settings_it_was_started_with(begun):
    cfg, record, state = reopen(asked_for(begun), begun)
    assert cfg == TeacherConfig(total_steps=500, seed=4, n_threads=1)
    assert state == {"steps": 5}
    assert record["settings"]["seed"] == "4"  # as YAML has it


def test_a_run_may_be_resumed_with_the_threads_and_device_of_another_machine(begun):
    cfg, *_ = reopen(asked_for(begun, "--n_threads", "3", "--device", "cpu"), begun)
    assert cfg == TeacherConfig(total_steps=500, seed=4, n_threads=3, device="cpu")


def test_a_device_that_is_the_default_replaces_the_recorded_one(tmp_path):
    create_run(tmp_path / "far", TeacherConfig(total_steps=500, device="cuda"))
    save_run(tmp_path / "far", {"steps": 5})
    cfg, *_ = reopen(asked_for(tmp_path / "far", "--device", "auto"), tmp_path / "far")
    assert cfg.device == "auto"


def test_other_settings_beside_a_run_to_resume_are_refused_by_the_names_of_their_flags(begun):
    asked = asked_for(begun, "7", "--seed", "0", "--n_threads", "2")  # 0 is the default
    with pytest.raises(ValueError, match=r"brings its own settings, got total_steps, --seed too"):
        reopen(asked, begun)
    with pytest.raises(ValueError, match=r"brings its own settings, got --seed too"):
        reopen(asked, begun, beside=("total_steps",))


def test_a_run_is_not_read_while_another_process_is_at_it(begun):
    """It would go on from a checkpoint that the other one is about to follow with a later one."""
    held = lock_folder(begun)
    with pytest.raises(ValueError, match="is being written by another process"):
        reopen(asked_for(begun), begun)
    os.close(held)
    assert reopen(asked_for(begun), begun)[2] == {"steps": 5}
    os.close(lock_folder(begun))  # and is not held any longer


def test_reopening_says_which_checkpoint_was_damaged(begun, capsys):
    save_run(begun, {"steps": 6})
    (begun / NEWEST).write_bytes(b"PK\x03\x04")
    assert reopen(asked_for(begun), begun)[2] == {"steps": 5}
    assert "is damaged" in capsys.readouterr().err


def test_a_lack_of_memory_is_not_taken_for_a_checkpoint_of_other_settings(tmp_path):
    with pytest.raises(RuntimeError, match="can't allocate memory"), module.restoring(tmp_path):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte")
    with pytest.raises(ValueError, match="other settings"), module.restoring(tmp_path):
        raise RuntimeError("size mismatch")
