"""PPO in processes of their own: ours and stock SB3's, alike but for what makes ours faster."""

import os
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ppo_teacher
from distill import cli
from distill.ppo import process
from distill.ppo.process import (
    PpoProcess,
    build_ppo,
    build_stock_ppo,
    learn_a_rollout,
)
from distill.schedules import LinearSchedule
from distill.teacher_config import TeacherConfig, preset_of

CPU = torch.device("cpu")
PONG = "PongNoFrameskip-v4"
TINY = TeacherConfig(env=PONG, n_envs=2, n_steps=8, batch_size=8, precision="float32", device="cpu")


@pytest.mark.atari
def test_both_ppos_train_as_large_a_network_with_the_same_preset():
    ours, stock = (build_ppo(TINY, stock=stock) for stock in (False, True))
    names = "n_envs", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda",\
        "vf_coef", "ent_coef", "max_grad_norm"  # fmt: skip
    assert [getattr(ours, name) for name in names] == [getattr(stock, name) for name in names]
    for schedule in "clip_range", "lr_schedule":
        for remaining in (1.0, 0.0):
            assert getattr(ours, schedule)(remaining) == getattr(stock, schedule)(remaining) > 0
    shapes = [{k: v.shape for k, v in ppo.policy.state_dict().items()} for ppo in (ours, stock)]
    assert shapes[0] == shapes[1]
    for ppo in (ours, stock):
        before = {k: v.clone() for k, v in ppo.policy.state_dict().items()}
        assert learn_a_rollout(ppo) == 16
        assert not any(torch.equal(v, before[k]) for k, v in ppo.policy.state_dict().items())


@pytest.mark.atari
@pytest.mark.parametrize("stock", [False, True])
def test_ppo_is_told_each_setting_that_is_not_sb3s_own_default(stock):
    asked = {"n_epochs": 3, "gamma": 0.9, "gae_lambda": 0.8, "w_value": 0.25, "max_grad_norm": 0.75}
    told = asked | {"w_entropy": LinearSchedule(0.02, 0.02, 1)}
    ppo = build_ppo(replace(TINY, **told), stock=stock)
    names = "n_epochs", "gamma", "gae_lambda", "vf_coef", "max_grad_norm"
    assert [getattr(ppo, name) for name in names] == list(asked.values())
    assert ppo.ent_coef == 0.02
    assert (ppo.rollout_buffer.gamma, ppo.rollout_buffer.gae_lambda) == (0.9, 0.8)


def test_the_preset_is_rl_zoos_and_the_one_that_the_command_names():
    cfg = preset_of(TeacherConfig(total_steps=10_000_000, env=PONG, seed=3))
    assert (cfg.n_envs, cfg.n_steps, cfg.batch_size, cfg.n_epochs) == (8, 128, 256, 4)
    assert (cfg.learning_rate, cfg.clip_range) == ((2.5e-4, 0, 1), (0.1, 0, 1))
    assert (cfg.optimizer, cfg.w_entropy, cfg.w_value) == ("adam", (0.01, 0.01, 1), 0.5)
    assert (cfg.gamma, cfg.gae_lambda, cfg.max_grad_norm) == (0.99, 0.95, 0.5)
    named = re.search("`(--n_envs 8 [^`]*)`", ppo_teacher.__doc__ or "")
    assert named is not None
    words = ["1e7", "--env", PONG, "--seed", "3", *named[1].split()]
    assert cli.parse_settings(TeacherConfig, "", words) == cfg


@pytest.mark.atari
def test_stock_games_skip_four_frames_a_step():
    stock = build_stock_ppo(replace(TINY, env="ALE/Breakout-v5"), CPU)
    games = stock.get_env()
    assert games is not None
    games.reset()
    before = games.env_method("get_wrapper_attr", "ale")[0].getEpisodeFrameNumber()
    games.step(np.zeros(2, np.int64))
    assert games.env_method("get_wrapper_attr", "ale")[0].getEpisodeFrameNumber() == before + 4


@pytest.mark.atari
@pytest.mark.parametrize("stock", [False, True])
def test_ppo_learns_in_a_process_of_its_own_and_tells_its_peak_of_memory(stock):
    ballast = torch.ones(2**28)  # 1 GiB of this process, which is no part of that one's
    ppo = PpoProcess(TINY, stock=stock)
    assert ppo.learn() == 16
    assert 100 < ppo.peak_mib() < ballast.numel() * 4 / 2**20


@pytest.mark.parametrize(("stock", "spins"), [(False, "17"), (True, "300000")])
def test_only_stock_sb3_is_spared_our_openmp_setting(monkeypatch, stock, spins):
    seen = []
    context = SimpleNamespace(
        Process=lambda **_: SimpleNamespace(
            start=lambda: seen.append(os.environ["GOMP_SPINCOUNT"])
        ),
    )
    monkeypatch.setattr(process.multiprocessing, "get_context", lambda method: context)
    monkeypatch.setenv("GOMP_SPINCOUNT", "17")
    PpoProcess(TINY, stock=stock)
    assert seen == [spins]
    assert os.environ["GOMP_SPINCOUNT"] == "17"
