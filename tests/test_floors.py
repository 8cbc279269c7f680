"""Floors on scripted games, and their caches."""

import json
import math
import threading

import numpy as np
import pytest
from scripted import ScriptedEnvs, score_of

from distill import floor_caches
from distill.files import write_json
from distill.floor_caches import cached_floors, first_score_note, floors_of
from distill.floors import Floors, measure_floors
from distill.protocol import PROTOCOL

FREEWAY = "FreewayNoFrameskip-v0"


def floors_at(random, constant, best_action=1, n_envs=1, seed=0):
    return Floors(score_of(*random), score_of(*constant), best_action, n_envs, seed)


def test_floors_find_the_best_constant_action():
    envs = ScriptedEnvs([[10], [20]], worths=(0.0, -1.0, 2.0, 1.0))
    floors = measure_floors(envs, 8, seed=0)
    assert floors.best_action == 2
    assert floors.constant.mean == 30
    assert floors.random.mean == pytest.approx(15 * 0.5, abs=5)
    assert (floors.random.n_games, floors.constant.n_games, floors.highest) == (8, 8, 30)


class LateEnvs(ScriptedEnvs):
    """Action 2 loses in the first games and wins most in later ones."""

    def step(self, actions):
        self.worths = np.array((0.0, 1.0, -0.5 if self.n_steps < 20 else 5.0, -1.0))
        return super().step(actions)


def test_the_best_constant_action_is_not_chosen_by_first_games_alone():
    floors = measure_floors(LateEnvs([[20], [20]], worths=(0.0,) * 4), 20, seed=0)
    assert (floors.best_action, floors.constant.mean) == (2, (-10 + 9 * 100) / 10)


def test_floors_of_two_games_that_are_measured_at_once_are_both_kept(tmp_path, monkeypatch):
    """The cache is read and written again: a run that does so meanwhile must wait."""
    cache, read, others = tmp_path / "floors.json", floor_caches.read_json, []

    def measure(env_id: str) -> None:
        floors_of(env_id, ScriptedEnvs([[5]]), 2, seed=0, caches=(cache,))

    def read_while_another_writes(path):
        found = read(path)
        if not others and threading.current_thread() is threading.main_thread() and found:
            others.append(threading.Thread(target=measure, args=("PongNoFrameskip-v4",)))
            others[0].start()
            others[0].join(0.2)  # long enough, if it did not wait
        return found

    measure("BreakoutNoFrameskip-v4")
    monkeypatch.setattr(floor_caches, "read_json", read_while_another_writes)
    floor_caches._write_cache(cache, FREEWAY, floors_at((0,), (1,)))
    others[0].join()
    assert len(json.loads(cache.read_text())) == 3


def test_floors_are_measured_once_and_then_read_from_the_cache(tmp_path):
    envs, cache = ScriptedEnvs([[5]]), tmp_path / "runs" / "floors.json"
    first, _ = floors_of(FREEWAY, envs, 4, seed=0, caches=(tmp_path / "none.json", cache))
    envs.actions.clear()
    second, warnings = floors_of(FREEWAY, envs, 4, seed=0, caches=(tmp_path / "none.json", cache))
    assert envs.actions == []
    assert (second, warnings) == (first, [])


def test_shipped_floors_are_used_and_never_written(tmp_path):
    shipped, own = tmp_path / "shipped.json", tmp_path / "own.json"
    floors = floors_at([0.0] * 100, [21.0, 22.0] * 50)
    write_json(shipped, {FREEWAY: floors.to_json()})
    before = shipped.read_bytes()
    found, _ = floors_of(FREEWAY, ScriptedEnvs([[5]]), 1000, seed=0, caches=(shipped, own))
    floors_of("PongNoFrameskip-v4", ScriptedEnvs([[5]]), 3, seed=0, caches=(shipped, own))
    assert found == floors
    assert shipped.read_bytes() == before
    assert list(json.loads(own.read_text())) == ["PongNoFrameskip-v4"]


@pytest.mark.parametrize(
    ("n_cached", "n_asked", "used"),
    [(5, 5, True), (5, 6, False), (99, 100, False), (100, 1000, True)],
)
def test_cached_floors_need_as_many_games_as_asked_or_a_hundred(tmp_path, n_cached, n_asked, used):
    cache = tmp_path / "floors.json"
    write_json(cache, {FREEWAY: floors_at([0.0] * n_cached, [1.0] * n_cached).to_json()})
    assert (cached_floors(cache, FREEWAY, n_asked) is not None) == used


@pytest.mark.parametrize(
    ("n_envs", "seed", "used"),
    [(20, 10_000, True), (1, 7, True), (1, 8, False), (2, 7, False), (1, 10_000, False)],
)
def test_floors_serve_their_like_and_those_over_the_games_of_students_serve_all(
    tmp_path, n_envs, seed, used
):
    cache, envs = tmp_path / "floors.json", ScriptedEnvs([[5]])
    floors = floors_at([0.0] * 3, [9.0] * 3, n_envs=n_envs, seed=seed)
    write_json(cache, {FREEWAY: floors.to_json()})
    found, warnings = floors_of(FREEWAY, envs, 3, seed=7, caches=(cache,))
    assert (found == floors, bool(envs.actions), warnings) == (used, not used, [])
    assert cached_floors(cache, FREEWAY, 3) == found


def test_floors_that_serve_all_are_not_replaced_by_others(tmp_path):
    cache = tmp_path / "floors.json"
    kept = floors_at([0.0] * 3, [9.0] * 3, n_envs=20, seed=10_000)
    write_json(cache, {FREEWAY: kept.to_json()})
    floors, _ = floors_of(FREEWAY, ScriptedEnvs([[5]]), 4, seed=7, caches=(cache,))
    assert (floors.n_envs, floors.seed) == (1, 7)
    assert cached_floors(cache, FREEWAY, 3) == kept


def test_floors_of_another_protocol_are_not_used(tmp_path):
    cache = tmp_path / "floors.json"
    entry = floors_at([0.0] * 100, [1.0] * 100).to_json() | {"protocol": "clipped rewards"}
    write_json(cache, {FREEWAY: entry})
    assert cached_floors(cache, FREEWAY, 100) is None
    write_json(cache, {FREEWAY: {"protocol": "one whose floors had other keys"}})
    assert cached_floors(cache, FREEWAY, 100) is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b'{"FreewayNoFrameskip-v0": 3}',
        b'{"FreewayNoFrameskip-v0": {"random": {"scores": [NaN]}}}',
        json.dumps({FREEWAY: floors_at([0.0], [1.0]).to_json() | {"seed": math.inf}}).encode(),
    ],
)
def test_damaged_cache_is_measured_again_with_a_warning(tmp_path, damaged):
    cache = tmp_path / "floors.json"
    cache.write_bytes(damaged)
    floors, warnings = floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=(cache,))
    assert len(warnings) == 1
    assert "floors.json is damaged" in warnings[0]
    assert cached_floors(cache, FREEWAY, 2) == floors


def test_measuring_one_game_keeps_the_other_games_floors(tmp_path):
    cache = tmp_path / "floors.json"
    floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=(cache,))
    floors_of("PongNoFrameskip-v4", ScriptedEnvs([[7]]), 2, seed=0, caches=(cache,))
    assert cached_floors(cache, FREEWAY, 2) != cached_floors(cache, "PongNoFrameskip-v4", 2)
    assert json.loads(cache.read_text())[FREEWAY]["protocol"] == PROTOCOL


def test_floors_are_returned_even_if_they_cannot_be_cached(tmp_path):
    (tmp_path / "file").write_text("")
    caches = (tmp_path / "file" / "floors.json",)
    floors, warnings = floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=caches)
    assert floors.constant.mean == 5
    assert "not cached" in warnings[-1]


def test_when_a_game_is_over_is_told_before_it_looks_like_a_hang(tmp_path):
    cache = tmp_path / "floors.json"
    floors_of(FREEWAY, ScriptedEnvs([[5]]), 2, seed=0, caches=(cache,))
    length = json.loads(cache.read_text())[FREEWAY]["random"]["mean_length_steps"]
    note = first_score_note(FREEWAY, 1000, 10**7, caches=(cache,))
    assert note == f"first score after about {1000 * length:,.0f} steps: 1000 games at a time"
    short = first_score_note(FREEWAY, 1000, int(1000 * length) - 1, caches=(cache,))
    assert short == f"no score on the way: 1000 games take some {1000 * length:,.0f} steps to end"
    unknown = first_score_note("PongNoFrameskip-v4", 3, 10, caches=(cache,))
    assert unknown == "first score when the first of 3 games is over"
