"""PPO in processes of their own: ours and stock SB3's, alike but for what makes ours faster."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distill.ppo import process
from distill.ppo.algorithm import build
from distill.ppo.process import PpoProcess, build_stock_ppo, learn_a_rollout, preset_of
from distill.settings import replace
from distill.teacher_config import TeacherConfig

CPU = torch.device("cpu")
PONG = "PongNoFrameskip-v4"
TINY = TeacherConfig(env=PONG, n_envs=2, n_steps=8, batch_size=8, precision="float32")


@pytest.mark.atari
def test_both_ppos_train_as_large_a_network_with_the_same_preset():
    cfg = TINY
    ours, stock = build(cfg), build_stock_ppo(cfg, CPU)
    names = "n_envs", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda",\
        "vf_coef", "ent_coef", "max_grad_norm"  # fmt: skip
    assert [getattr(ours, name) for name in names] == [getattr(stock, name) for name in names]
    for schedule in "clip_range", "lr_schedule":
        assert getattr(ours, schedule)(1.0) == getattr(stock, schedule)(1.0) > 0
    shapes = [{k: v.shape for k, v in ppo.policy.state_dict().items()} for ppo in (ours, stock)]
    assert shapes[0] == shapes[1]
    assert learn_a_rollout(ours) == learn_a_rollout(stock) == 16


def test_the_preset_is_rl_zoos():
    cfg = preset_of(TeacherConfig(env=PONG, seed=3))
    assert (cfg.n_envs, cfg.n_steps, cfg.batch_size, cfg.n_epochs) == (8, 128, 256, 4)
    assert (cfg.env, cfg.seed) == (PONG, 3)


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
