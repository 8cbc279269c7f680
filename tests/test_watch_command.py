"""scripts/watch.py as a user runs it: the files it writes, and what it refuses."""

import re
import sys

import numpy as np
import pytest
import watch
from checkpoints import FREEWAY, PONG, TEACHER, make_student, make_teacher
from in_process import run_main
from PIL import Image, ImageSequence

SMALL = "--n_steps", 3


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command in a folder of its own; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watch, "TEACHERS", tmp_path / "teachers")

    def run(*args):
        status = run_main(monkeypatch, watch, *args)
        return status, *capsys.readouterr()

    return run


def pictures(path):
    with Image.open(path) as image:
        return np.stack([np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)])


@pytest.mark.atari
def test_a_film_has_a_picture_a_step_and_a_panel_a_checkpoint(tmp_path, command):
    paths = make_student(tmp_path / "a.safetensors"), make_teacher(tmp_path / TEACHER)
    widths = []
    for n in (1, 2):
        status, out, _ = command(*paths[:n], "--n_steps", 7, "--out", f"new/{n}.gif")
        assert status == 0
        film = tmp_path / "new" / f"{n}.gif"
        assert len(pictures(film)) == 7
        widths.append(pictures(film).shape[2])
        size = film.stat().st_size / 1e6
        assert out.splitlines()[-1] == f"new/{n}.gif: {size:.2f} MB"
    assert widths[1] == 2 * widths[0]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["1.gif", "2.gif"]


@pytest.mark.atari
def test_the_seed_fixes_every_byte(tmp_path, command):
    path = make_student(tmp_path / "a.safetensors")
    for name, seed in (("a.gif", 1), ("b.gif", 1), ("c.gif", 2)):
        assert command(path, "--n_steps", 20, "--seed", seed, "--out", name)[0] == 0
    first, second, other = ((tmp_path / f"{n}.gif").read_bytes() for n in "abc")
    assert first == second
    assert first != other


@pytest.mark.atari
def test_skipped_steps_are_played_but_not_shown(tmp_path, command):
    path = make_student(tmp_path / "a.safetensors")
    assert command(path, "--n_steps", 12, "--out", "all.gif")[0] == 0
    assert command(path, "--n_steps", 4, "--skip_steps", 8, "--out", "end.gif")[0] == 0
    np.testing.assert_array_equal(
        pictures(tmp_path / "end.gif"), pictures(tmp_path / "all.gif")[8:]
    )


@pytest.mark.atari
def test_checkpoints_of_other_games_play_the_game_that_is_named(tmp_path, command):
    pong = make_student(tmp_path / "a.safetensors")
    ours = make_student(tmp_path / "b.safetensors", env_id=None)
    sticky = make_student(tmp_path / "c.safetensors", env_id="PongNoFrameskip-v0")
    assert command(pong, ours, *SMALL)[0] == 0
    assert f"on {PONG}" in command(pong, ours, *SMALL)[1]
    assert "on ALE/Pong-v5" in command(pong, sticky, *SMALL, "--env", "ALE/Pong-v5")[1]


@pytest.mark.atari
def test_a_teacher_that_plays_alone_is_told(tmp_path, command, monkeypatch):
    make_teacher(tmp_path / TEACHER)
    monkeypatch.setattr(watch, "TEACHERS", tmp_path)
    status, out, err = command(*SMALL, "--env", PONG)
    assert (status, f"{tmp_path / TEACHER} on {PONG}" in out) == (0, True)
    assert f"no student of {PONG} in runs/: the teacher plays alone\n" in err


def test_a_film_that_could_not_be_kept_is_refused_before_it_is_played(tmp_path, command):
    make_student(tmp_path / "a.safetensors")
    status, out, err = command("a.safetensors", "--out", "a.safetensors/new/film.gif")
    assert (status, out) == (2, "")
    assert (
        "error: the folder of --out must be a folder, got a.safetensors/new: a.safetensors is"
        in err
    )


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["missing.zip"], r"no teacher at missing\.zip"),
        (["missing.safetensors"], r"missing\.safetensors is not a file"),
        (["a.pt"], r"checkpoints must be .*\.zip or \.safetensors, got 'a\.pt'"),
        (["damaged.safetensors"], r"damaged\.safetensors is not a student"),
        (["three.safetensors"], r"chooses from 3 actions, but Pong\S+ has 6"),
        (["pong.safetensors", "freeway.safetensors"], r"--env must name one game: .*Pong.*Freeway"),
        (["unknown.safetensors"], r"--env is missing"),
        (["pong.safetensors", "--env", "Pong"], r"--env must be .* got 'Pong'"),
        (["pong.safetensors", "--out", "a.avi"], r"--out must be .*\.gif or \.mp4, got 'a\.avi'"),
        (["pong.safetensors", "--out", "a_folder.gif"], r"--out must be a file, got .*, a folder"),
        (["pong.safetensors", "--skip_steps", "9" * 23], r"--skip_steps must be at most 1e\+12"),
        (["pong.safetensors", "--fps", "51"], r"--fps must be a whole number from 1 to 50"),
        (["pong.safetensors", "--n_steps", "0"], r"--n_steps must be .*at least 1, got '0'"),
        ([], r"no teacher of Freeway\S+ in \S+: make one with"),
    ],
    ids=str,
)
@pytest.mark.atari
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(tmp_path, command, args, reason):
    make_student(tmp_path / "pong.safetensors")
    make_student(tmp_path / "three.safetensors", 3)
    make_student(tmp_path / "freeway.safetensors", 3, env_id=FREEWAY)
    make_student(tmp_path / "unknown.safetensors", env_id=None)
    (tmp_path / "damaged.safetensors").write_bytes(b"x")
    (tmp_path / "a_folder.gif").mkdir()
    before = sorted(tmp_path.rglob("*"))
    status, out, err = command(*args)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(reason, err)
    assert sorted(tmp_path.rglob("*")) == before


def test_mp4_without_its_package_is_refused_with_the_line_that_installs_it(
    tmp_path, command, monkeypatch
):
    monkeypatch.setitem(sys.modules, "av", None)
    path = make_student(tmp_path / "a.safetensors")
    status, _, err = command(path, "--out", "a.mp4")
    assert (status, err.count("\n")) == (2, 1)
    assert re.search(r"--out must end in \.gif, or .*`pip install av`\), got 'a\.mp4'", err)
    assert not (tmp_path / "a.mp4").exists()
