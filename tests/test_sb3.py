"""Our games, network and files as stable-baselines3 sees them."""

import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from policies import N_ACTIONS, a_policy, log_probabilities
from stable_baselines3 import PPO
from torch import Tensor

from distill.envs import make_atari
from distill.ppo.algorithm import build
from distill.ppo.fast_policy import FastCnnPolicy, policy_kwargs
from distill.ppo.sb3 import AtariVecEnv, export_zip
from distill.teacher_config import TeacherConfig
from distill.types import WIDTHS, ByteArray, Game, IntArray, Step, Widths


class FakeEnvs:
    """Two games: after every third step the first is cut by the time limit and the second is over.

    In the second step of each game both lose a life.
    """

    n_envs = 2
    n_actions = N_ACTIONS
    final_obs = np.full((2, 4, 84, 84), 200, np.uint8)

    def __init__(self) -> None:
        self.played: list[list[int]] = []

    def reset(self) -> ByteArray:
        return np.zeros((2, 4, 84, 84), np.uint8)

    def step(self, actions: IntArray) -> Step:
        self.played.append([int(action) for action in actions])
        t = len(self.played) % 3
        over = np.full(2, t == 0)
        return Step(
            obs=np.full((2, 4, 84, 84), 10 * t, np.uint8),
            action=actions,
            forced=np.zeros(2, bool),
            reward=np.array([1, -1], np.float32),
            done=over | (t == 2),
            game_over=over,
            truncated=over & np.array([True, False]),
            final_obs=self.final_obs if t == 0 else None,
            games=[Game(0, 30.0, 3), Game(1, -7.0, 3)] if t == 0 else [],
        )


# --- building ---


@pytest.mark.atari
def test_a_run_that_goes_on_plays_other_games_and_draws_other_numbers():
    cfg = TeacherConfig(env="BreakoutNoFrameskip-v4", n_envs=2, seed=3, precision="float32")

    def beginning(first_step: int) -> tuple[np.ndarray, Tensor]:
        games = build(cfg, first_step=first_step).get_env()
        assert games is not None
        games.reset()
        played = [games.step(np.full(2, 1 + t % 3))[0] for t in range(12)]
        return np.array(played), torch.rand(4)

    first, again, later = (beginning(step) for step in (0, 0, 64))
    np.testing.assert_array_equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not np.array_equal(first[0], later[0])
    assert not torch.equal(first[1], later[1])


# --- the environment adapter ---

PACKED = (21, 21, 64)


def test_actions_reach_the_games_and_steps_come_back():
    envs = FakeEnvs()
    adapter = AtariVecEnv(envs)
    np.testing.assert_array_equal(adapter.reset(), np.zeros((2, *PACKED)))
    obs, reward, done, _ = adapter.step(np.array([3, 4]))
    assert envs.played == [[3, 4]]
    np.testing.assert_array_equal(obs, np.full((2, *PACKED), 10))
    assert reward.tolist() == [1, -1]
    assert done.tolist() == [False, False]


def test_infos_tell_of_whole_games_and_of_nothing_at_a_lost_life():
    adapter = AtariVecEnv(FakeEnvs())
    adapter.reset()
    steps = [adapter.step(np.zeros(2, np.int64)) for _ in range(3)]
    assert steps[1][2].tolist() == [True, True]  # lives lost
    assert steps[0][3] == steps[1][3] == [{}, {}]
    assert [info["episode"] for info in steps[2][3]] == [{"r": 30, "l": 3}, {"r": -7, "l": 3}]


def test_infos_hold_the_last_observation_of_a_game_that_was_cut_only():
    adapter = AtariVecEnv(FakeEnvs())
    adapter.reset()
    cut, over = [adapter.step(np.zeros(2, np.int64)) for _ in range(3)][2][3]
    assert cut["TimeLimit.truncated"] is True
    assert (cut["terminal_observation"] == 200).all()
    assert set(over) == {"episode"}


def test_ppo_adds_the_value_of_what_was_cut_and_of_nothing_else():
    kwargs = policy_kwargs(WIDTHS["0.1pct"], torch.float32)
    adapter = AtariVecEnv(FakeEnvs())
    settings = {"learning_rate": 0.0, "n_steps": 6, "batch_size": 12, "gamma": 0.5}
    ppo = PPO(FastCnnPolicy, adapter, policy_kwargs=kwargs, device="cpu", **settings)
    ppo.learn(12)
    value = float(ppo.policy.predict_values(torch.from_numpy(FakeEnvs.final_obs))[0].detach())
    expected = np.array([[1, -1], [1, -1], [1 + 0.5 * value, -1]] * 2)
    np.testing.assert_allclose(ppo.rollout_buffer.rewards, expected, rtol=0, atol=1e-6)
    assert [game["r"] for game in ppo.ep_info_buffer or ()] == [30, -7, 30, -7]


def test_what_sb3_cannot_have_is_refused():
    adapter = AtariVecEnv(FakeEnvs())
    for refused in (
        lambda: adapter.get_attr("spec"),
        lambda: adapter.set_attr("spec", None),
        lambda: adapter.env_method("render"),
    ):
        with pytest.raises(AttributeError):
            refused()
    assert adapter.env_is_wrapped(gymnasium.Wrapper) == [False, False]
    assert adapter.render_mode is None


# --- the zip ---

FOREIGN = """
import importlib.util, sys
import numpy as np, torch
from stable_baselines3 import PPO
assert importlib.util.find_spec("distill") is None, "this Python knows the project"
model = PPO.load(sys.argv[1], device="cpu")
obs = np.load("obs.npy")
logits = model.policy.get_distribution(torch.from_numpy(obs)).distribution.logits
greedy, _ = model.predict(obs, deterministic=True)
np.savez("answer.npz", logits=logits.detach().numpy(), greedy=greedy)
assert not any(name.startswith("distill") for name in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.atari
def test_the_zip_loads_in_a_python_that_never_heard_of_this_project_and_plays_the_same(tmp_path):
    envs = make_atari("PongNoFrameskip-v4", 1, seed=0, training=True)
    envs.reset()
    obs = np.concatenate([envs.step(np.array([t % 6])).obs for t in range(40)])
    np.save(tmp_path / "obs.npy", obs)
    policy = a_policy()
    export_zip(policy, N_ACTIONS, tmp_path / "teacher.zip")
    # -I: neither the current folder nor PYTHONPATH is searched.
    command = [sys.executable, "-I", "-W", "ignore", "-c", FOREIGN, "teacher.zip"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = np.load(tmp_path / "answer.npz")

    exact = log_probabilities(policy, torch.from_numpy(obs))
    policy.load_state_dict({k: v.half().float() for k, v in policy.state_dict().items()})
    rounded = log_probabilities(policy, torch.from_numpy(obs))
    np.testing.assert_allclose(answer["logits"], rounded.detach().numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(answer["greedy"], exact.argmax(1).numpy())


@pytest.fixture(scope="module")
def zipped(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "teacher.zip"
    export_zip(a_policy(), N_ACTIONS, path)
    return path


def member(path: Path, name: str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return torch.load(io.BytesIO(archive.read(name)), weights_only=True)


def test_the_zip_holds_half_precision_weights_once(zipped):
    weights = member(zipped, "policy.pth")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    n_bytes = 2 * sum(p.numel() for p in a_policy().parameters())
    assert zipped.stat().st_size < 0.95 * n_bytes  # compressed


def test_the_zip_holds_no_optimizer_state(zipped):
    assert member(zipped, "policy.optimizer.pth")["state"] == {}


def test_the_zip_holds_nothing_of_this_project(zipped):
    with zipfile.ZipFile(zipped) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
        data = json.loads(archive.read("data"))
    contents += [
        base64.b64decode(value[":serialized:"])
        for value in data.values()
        if isinstance(value, dict) and ":serialized:" in value
    ]
    assert len(contents) > 8
    assert not any(b"distill" in content for content in contents)
    assert data["policy_kwargs"] == {}


def test_writing_a_zip_leaves_the_policy_as_it_was(tmp_path):
    policy = a_policy(WIDTHS["net3"], torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    export_zip(policy, N_ACTIONS, tmp_path / "teacher.zip")
    after = policy.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert policy.features_extractor.dtype == torch.bfloat16


@pytest.mark.parametrize("widths", [WIDTHS["net3"], WIDTHS["0.1pct"], Widths(8, 12, 16, 32)])
def test_the_zip_of_another_width_holds_weights_of_that_width(tmp_path, widths):
    policy = a_policy(widths)
    export_zip(policy, N_ACTIONS, tmp_path / "teacher.zip")
    weights = member(tmp_path / "teacher.zip", "policy.pth")
    c1, c2, c3, fc = widths
    assert weights["features_extractor.cnn.0.weight"].shape == (c1, 4, 8, 8)
    assert weights["features_extractor.cnn.2.weight"].shape == (c2, c1, 4, 4)
    assert weights["features_extractor.cnn.4.weight"].shape == (c3, c2, 3, 3)
    assert weights["features_extractor.linear.0.weight"].shape == (fc, 49 * c3)
    assert weights["action_net.weight"].shape == (N_ACTIONS, fc)
    assert weights["value_net.weight"].shape == (1, fc)
    torch.testing.assert_close(
        weights["action_net.weight"].float(), policy.action_net.weight.data, rtol=1e-3, atol=1e-5
    )
