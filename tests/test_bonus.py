"""The scale of the intrinsic reward: the std of its discounted return, rollout after rollout."""

import numpy as np
import pytest
import torch

from distill.bonus import RewardScale


def random_rewards(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=shape)


def std_of_late(returns: np.ndarray) -> float:
    """Weigh each step's returns (T, N) by 0.999 to the power of its age."""
    weights = np.broadcast_to(0.999 ** np.arange(len(returns))[::-1, None], returns.shape)
    mean = np.average(returns, weights=weights)
    return float(np.average((returns - mean) ** 2, weights=weights) ** 0.5)


def running_returns(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """Sum what each of N games (columns) collected up to each step, older rewards discounted."""
    n_steps = len(rewards)
    lag = np.subtract.outer(np.arange(n_steps), np.arange(n_steps))  # (T, T)
    discount = np.where(lag >= 0, gamma ** np.abs(lag), 0.0)
    return discount @ rewards


def test_the_scale_is_the_std_of_the_discounted_returns_the_older_the_less_they_count():
    scale, rewards = RewardScale(3, 0.9), random_rewards(20, 3)
    for end in (5, 6, 20):
        start = {5: 0, 6: 5, 20: 6}[end]
        scaled = scale(torch.from_numpy(rewards[start:end]))
        std = std_of_late(running_returns(rewards[:end], 0.9))
        assert scale.std == pytest.approx(std, rel=1e-9)
        np.testing.assert_allclose(scaled.numpy(), rewards[start:end] / std, rtol=1e-9)


def test_the_large_errors_of_an_untrained_source_are_forgotten():
    """The bonus that comes later must count: before, it was divided by what had been at first."""
    scale = RewardScale(4, 0.9)
    scale(1000.0 * torch.from_numpy(random_rewards(100, 4)))
    late = random_rewards(20_000, 4, seed=1)
    scale(torch.from_numpy(late))
    assert scale.std == pytest.approx(running_returns(late[-2000:], 0.9).std(), rel=0.1)


def test_the_scale_makes_the_unit_of_the_reward_not_matter():
    rewards = torch.from_numpy(random_rewards(30, 2))
    torch.testing.assert_close(
        RewardScale(2, 0.99)(1e-3 * rewards), RewardScale(2, 0.99)(rewards), rtol=1e-6, atol=0
    )


def test_the_scale_keeps_shape_type_and_sign():
    scaled = RewardScale(2, 0.9)(torch.from_numpy(random_rewards(8, 2)).float())
    assert scaled.shape == (8, 2)
    assert scaled.dtype == torch.float32
    assert (scaled > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)  # rounded differently
@pytest.mark.parametrize("gamma", [0.0, 0.99, 1.0])
@pytest.mark.parametrize("reward", [0.0, 0.1, 0.3, 1e-4, 7.7])
def test_constant_rewards_stay_finite_and_moderate(reward, gamma, dtype):
    scale = RewardScale(3, gamma)
    for _ in range(5):
        scaled = scale(torch.full((7, 3), reward, dtype=dtype))
        assert scaled.isfinite().all()
        assert scaled.abs().max() < 10


def test_a_single_reward_is_left_as_it_is():
    torch.testing.assert_close(RewardScale(1, 0.9)(torch.tensor([[3.0]])), torch.tensor([[3.0]]))


def test_a_scale_goes_on_from_its_saved_state_as_if_never_stopped(tmp_path):
    rewards = torch.from_numpy(random_rewards(12, 2))
    scale = RewardScale(2, 0.9)
    scale(rewards[:7])
    torch.save(scale.state_dict(), tmp_path / "scale.pt")
    resumed = RewardScale(2, 0.9)
    resumed.load_state_dict(torch.load(tmp_path / "scale.pt", weights_only=True))
    assert torch.equal(resumed(rewards[7:]), scale(rewards[7:]))
    assert resumed.std == scale.std


def test_two_scales_that_share_a_state_go_their_own_ways():
    first, second = RewardScale(2, 0.9), RewardScale(2, 0.9)
    first(torch.from_numpy(random_rewards(5, 2)))
    second.load_state_dict(first.state_dict())
    std = first.std
    second(torch.from_numpy(10 * random_rewards(5, 2, seed=1)))
    assert first.std == std
