"""The probe: which states it looks at, what it holds against what, and what it says of games."""

import json

import numpy as np
import probe_uncertainty
import pytest
import torch
from fakes import N_ACTIONS, BandTeacher, FakeEnvs, FixedTeacher, Recorded
from in_process import run_main
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from zips import tiny_state, write_zip

from distill.augmentations import AUGMENTATIONS
from distill.provenance import provenance
from distill.rows import read_rows
from distill.statistics import mean_interval, rank_correlation
from distill.study import tables
from distill.study.augmented_figure import Augmented, draw_augmented
from distill.study.probe import ENTROPY, IN_USE, Probe, judge, signals_and_errors, visit
from distill.uncertainty import Uncertainty


def states(n_states: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    return visit(BandTeacher(), FakeEnvs(3), n_states, every=2, rng=rng)


def test_a_place_that_is_no_folder_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(probe_uncertainty, "probe_game", None)
    (tmp_path / "file").touch()
    assert run_main(monkeypatch, probe_uncertainty, "--out", str(tmp_path / "file")) == 2
    assert f"--out must be a folder, got {tmp_path / 'file'}" in capsys.readouterr().err


def test_every_so_many_states_are_kept_in_the_order_of_play():
    envs = Recorded(FakeEnvs(3))
    kept = visit(BandTeacher(), envs, 5, every=3, rng=np.random.default_rng(0))
    assert kept.shape == (5, 3, 4, 84, 84)
    for row, state in enumerate(kept):
        np.testing.assert_array_equal(state, envs.seen[3 * row])


def test_the_visitor_plays_by_sampling_from_the_teacher():
    envs = Recorded(FakeEnvs(100))
    visit(
        FixedTeacher((0.0, float(np.log(3)), -50.0)), envs, 5, every=4, rng=np.random.default_rng(0)
    )
    counts = np.bincount(np.concatenate(envs.chosen), minlength=N_ACTIONS)
    assert counts[2] == 0
    assert counts[1] / counts[:2].sum() == pytest.approx(0.75, abs=0.03)


def test_the_error_is_the_divergence_from_the_better_teacher():
    _, error = signals_and_errors(
        FixedTeacher((0.0, 1.0, -1.0)), FixedTeacher((2.0, 0.0, 0.0)), states(), seed=0
    )
    p = np.exp([2.0, 0.0, 0.0]) / np.exp([2.0, 0.0, 0.0]).sum()
    q = np.exp([0.0, 1.0, -1.0]) / np.exp([0.0, 1.0, -1.0]).sum()
    np.testing.assert_allclose(error, np.full((6, 3), (p * np.log(p / q)).sum()), rtol=1e-5)


def test_each_signal_is_the_uncertainty_under_its_augmentation_and_the_default_the_one_in_use():
    teacher, kept = BandTeacher(), states()
    found, _ = signals_and_errors(teacher, teacher, kept, seed=4)
    assert list(found) == [*AUGMENTATIONS, IN_USE, ENTROPY]
    first = torch.from_numpy(kept[0])
    for name in AUGMENTATIONS:
        single = Uncertainty(teacher, augmentations=[name], seed=4)
        expected = single.divergence(first, teacher.logits(first))
        np.testing.assert_array_equal(found[name][0], expected.numpy())
    in_use = Uncertainty(teacher, seed=4)(first, teacher.logits(first))
    np.testing.assert_array_equal(found[IN_USE][0], in_use.numpy())
    p = torch.tensor([3.0, 0.0, 0.0]).softmax(0)
    np.testing.assert_allclose(found[ENTROPY], -float((p * p.log()).sum()), rtol=1e-5)


def test_games_are_judged_one_by_one_and_counted():
    """Two games in which the signal follows the error, one in which it is turned around."""
    rng = np.random.default_rng(0)
    error = rng.random((20, 3), np.float32)
    signal = np.exp(error) * [1.0, 100.0, -1.0]
    correlation, low, high, mean = judge({"x": signal.astype(np.float32)}, error)["x"]
    assert correlation == pytest.approx(1 / 3)
    assert (low, high) == pytest.approx(mean_interval([1.0, 1.0, -1.0])[1:])
    assert mean == pytest.approx(signal.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "rho"),
    [
        ([1, 2, 3], [10, 20, 90], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2], [1, 2, 3], 3**0.5 / 2),  # ranks 1.5, 1.5, 3
        ([5, 5, 5], [1, 2, 3], 0.0),
    ],
)
def test_rank_correlations_known_by_hand(x, y, rho):
    assert rank_correlation(x, y) == pytest.approx(rho, abs=1e-12)
    assert rank_correlation(y, x) == pytest.approx(rho, abs=1e-12)


# The command


@pytest.mark.atari
def test_the_command_writes_a_row_a_signal_and_a_figure(monkeypatch, tmp_path, capsys):
    env_id = "PongNoFrameskip-v4"
    for grade in ("medium", "good"):
        path = write_zip(tmp_path / f"env{env_id}_{grade}.zip", tiny_state(n_actions=6))
        path.with_suffix(".json").write_text(json.dumps({"env_id": env_id, "grade": grade}))
    monkeypatch.setattr(probe_uncertainty, "TEACHERS", tmp_path)
    changed = provenance() | {"commit": "abc", "dirty": True}
    monkeypatch.setattr(probe_uncertainty, "provenance", lambda: changed)
    small = ["--n_games", "2", "--n_states", "3", "--every_steps", "2", "--n_threads", "1"]
    assert run_main(monkeypatch, probe_uncertainty, *small, "--out", tmp_path / "o") == 0
    rows = read_rows(tmp_path / "o" / "uncertainty.csv", Probe)
    assert [row.signal for row in rows] == [*AUGMENTATIONS, IN_USE, ENTROPY]
    assert {(row.env_id, row.teacher, row.better) for row in rows} == {
        (env_id, f"env{env_id}_medium", f"env{env_id}_good")
    }
    assert {row.commit for row in rows} == {"abc-dirty"}
    assert all(row.low <= row.correlation <= row.high for row in rows)
    assert (tmp_path / "o" / "uncertainty.png").read_bytes().startswith(b"\x89PNG")
    assert f"Pong     {AUGMENTATIONS[0]}" in capsys.readouterr().out


def test_a_trial_does_not_take_the_place_of_what_readme_shows(monkeypatch, capsys):
    assert run_main(monkeypatch, probe_uncertainty, "--n_states", 3, "--n_games", 2) == 2
    assert "--out is missing: with --n_games, --n_states" in capsys.readouterr().err


def test_without_graded_teachers_it_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(probe_uncertainty, "TEACHERS", tmp_path)
    assert run_main(monkeypatch, probe_uncertainty) == 2
    assert "no game with a good and a medium teacher" in capsys.readouterr().err


# What is shown


def test_the_figure_shows_frames_and_answers_before_and_after():
    before, after = np.zeros((84, 84), np.uint8), np.full((84, 84), 9, np.uint8)
    answers = np.array([0.75, 0.25]), np.array([0.5, 0.5])
    shown = Augmented("blur", before, after, *answers, ("NOOP", "FIRE"))
    figure = draw_augmented({"Pong": [shown, shown]})
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 6
    first, second, bars = figure.axes[:3]
    assert [np.asarray(axes.images[0].get_array()).max() for axes in (first, second)] == [0, 9]
    widths = [patch.get_width() for patch in bars.patches if isinstance(patch, Rectangle)]
    assert widths == [0.75, 0.25, 0.5, 0.5]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["NOOP", "FIRE"]


def test_the_section_has_a_row_a_signal_and_columns_a_game():
    def row(env_id: str, signal: str, correlation: float) -> Probe:
        return Probe(env_id, "m", "g", signal, correlation, 0.1, 0.9, 0.0123, 8, 16, 0, "c", "m")

    rows = [row("FreewayNoFrameskip-v0", "blur", 0.5), row("PongNoFrameskip-v4", "blur", -0.25)]
    lines = tables.probe_section(rows).splitlines()
    assert lines[2] == "| blur | 0.50 (0.10 to 0.90) | 0.0123 | -0.25 (0.10 to 0.90) | 0.0123 |"
    assert lines[-1].startswith("8 games, 16 states each")
    assert tables.probe_section([]).startswith("Not run yet")
