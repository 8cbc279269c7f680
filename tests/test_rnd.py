"""RND: what it finds new, what of a state it sees, what learns and what never does."""

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.bonus import Transitions
from distill.networks import pack
from distill.rnd import LEARN_EVERY, RND

NOTHING = torch.zeros(0)  # in the place of what RND must not look at


def make_rnd() -> RND:
    torch.manual_seed(0)
    return RND()


def pictures(n: int, seed: int = 0) -> Tensor:
    """Draw frames (n, 1, 84, 84) of 3 x 3 shades with some noise."""
    rng = torch.Generator().manual_seed(seed)
    shades = torch.randint(0, 236, (n, 1, 3, 3), generator=rng)
    shades = shades.repeat_interleave(28, 2).repeat_interleave(28, 3)
    return (shades + torch.randint(0, 20, (n, 1, 84, 84), generator=rng)).to(torch.uint8)


def reward(rnd: RND, frames: Tensor) -> Tensor:
    return rnd.intrinsic_reward(Transitions(NOTHING, NOTHING, NOTHING, frames))


def stacks_of(frames: Tensor) -> Tensor:
    """Pack frames as the newest of stacks whose older frames are black."""
    return pack(F.pad(frames, (0, 0, 0, 0, 3, 0)))


# What is new


def test_a_state_seen_often_brings_little_and_a_new_one_many_times_as_much():
    rnd, frames = make_rnd(), pictures(8)
    before = reward(rnd, frames)
    old = stacks_of(frames[:4]).repeat_interleave(LEARN_EVERY, 0)
    optimizer = torch.optim.Adam(rnd.predictor.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        rnd.loss(old).backward()
        optimizer.step()
    share = rnd(pack(frames)).detach() / before
    assert (share[:4] < 0.05).all()
    assert (share[4:] > 0.2).all()  # what all frames have in common was learned, too


def test_the_bonus_is_the_mean_squared_difference_of_the_answers():
    rnd = make_rnd()
    for network, answer in (
        (rnd.target, [1.0, 2.0, 3.0, 4.0]),
        (rnd.predictor, [1.0, 0.0, 0.0, 0.0]),
    ):
        last = network[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor(answer).repeat(16)
    expected = torch.full((3,), (0 + 4 + 9 + 16) / 4)
    torch.testing.assert_close(reward(rnd, pictures(3)), expected, rtol=1e-6, atol=0)


def test_the_loss_is_the_mean_of_the_errors_and_a_batch_twice_is_worth_as_much_as_once():
    rnd, obs = make_rnd(), stacks_of(pictures(2 * LEARN_EVERY))
    parameters = list(rnd.predictor.parameters())
    loss, twice = rnd.loss(obs), rnd.loss(torch.cat([obs, obs]))
    errors = rnd(pack(pictures(2 * LEARN_EVERY)[::LEARN_EVERY]))
    torch.testing.assert_close(loss, (errors[0] + errors[1]) / 2)
    torch.testing.assert_close(twice, loss)
    once_gradient, twice_gradient = (torch.autograd.grad(x, parameters) for x in (loss, twice))
    torch.testing.assert_close(twice_gradient, once_gradient)


def test_the_bonus_has_no_graph():
    assert not reward(make_rnd(), pictures(2)).requires_grad


# What is seen of a state


def test_the_networks_begin_as_a_convolution_of_8_by_8_pixels_with_stride_4():
    frames, layer = pictures(2), make_rnd().target[0]
    assert isinstance(layer, nn.Conv2d)
    packed = layer(pack(frames).permute(0, 3, 1, 2).float())
    c1 = layer.out_channels  # input channels are (row in block, column in block)
    weight = layer.weight.view(c1, 4, 4, 2, 2).permute(0, 3, 1, 4, 2).reshape(c1, 1, 8, 8)
    raw = F.conv2d(frames.float(), weight, layer.bias, stride=4)
    torch.testing.assert_close(packed, raw, rtol=1e-4, atol=1e-3)


def test_pixels_are_told_in_stds_from_their_own_mean_over_all_frames_seen_at_most_5():
    rnd, frames = make_rnd(), pictures(40)
    frames[:, :, :4, :4] = 100
    frames[7, :, :4, :4] = 200  # once in 40 times: 6.2 stds
    reward(rnd, frames[:15])
    reward(rnd, frames[15:])
    seen = pack(frames).numpy().astype(np.float64)
    deviations = (seen - seen.mean(0)) / seen.std(0)
    assert deviations.max() > 6
    expected = torch.from_numpy(np.clip(deviations, -5, 5)).float()
    torch.testing.assert_close(rnd.normalize(pack(frames)), expected, rtol=1e-3, atol=1e-3)


def test_a_pixel_that_never_changed_counts_from_its_first_change_in_gray_levels():
    rnd = make_rnd()
    gray = torch.full((4, 1, 84, 84), 100, dtype=torch.uint8)
    reward(rnd, gray)
    for change, expected in ((0, 0.0), (2, 2.0), (-1, -1.0), (90, 5.0)):
        found = rnd.normalize(pack(gray + change))
        torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0, atol=1e-5)


def test_moments_are_exact_and_the_same_however_rollouts_are_cut():
    frames = torch.full((600, 1, 84, 84), 255, dtype=torch.uint8)
    frames[::2, :, :40] = 254
    whole, parts = make_rnd(), make_rnd()
    reward(whole, frames)
    for part in frames.split(70):
        reward(parts, part)
    assert whole.n_frames == parts.n_frames == 600
    packed = pack(frames).long()
    for rnd in (whole, parts):
        assert torch.equal(rnd.pixel_sum, packed.sum(0))
        assert torch.equal(rnd.pixel_squares, packed.square().sum(0))


def test_before_any_frame_was_seen_the_loss_is_finite():
    assert make_rnd().loss(stacks_of(pictures(4))).isfinite()


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ((0, slice(48, 64)), True),
        ((0, slice(0, 48)), False),
        ((1, slice(0, 64)), False),
        ((4, slice(48, 64)), True),
    ],
    ids=["newest frame", "older frames", "sample not learned from", "fourth sample on"],
)
def test_the_predictor_learns_from_the_newest_frame_of_every_fourth_sample(change, differs):
    rnd, obs = make_rnd(), stacks_of(pictures(8))
    reward(rnd, pictures(8))
    before = rnd.loss(obs)
    sample, channels = change
    obs[sample, :, :, channels] = 7
    assert (rnd.loss(obs) != before) == differs


# What learns


def test_the_loss_trains_every_layer_of_the_predictor_and_nothing_of_the_target():
    rnd = make_rnd()
    reward(rnd, pictures(8))
    rnd.loss(stacks_of(pictures(8))).backward()
    assert all(p.grad is not None and p.grad.any() for p in rnd.predictor.parameters())
    assert not any(p.requires_grad or p.grad is not None for p in rnd.target.parameters())


def test_target_and_predictor_start_apart():
    rnd = make_rnd()
    weights = rnd.state_dict()
    assert not torch.equal(weights["target.0.weight"], weights["predictor.0.0.weight"])
    assert (reward(rnd, pictures(4)) > 0.1).all()


def test_an_rnd_goes_on_from_its_saved_state_as_if_never_stopped():
    rnd, file = make_rnd(), io.BytesIO()
    reward(rnd, pictures(5))
    torch.save(rnd.state_dict(), file)
    file.seek(0)
    torch.manual_seed(1)
    resumed = RND()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for seed in (1, 2):
        assert torch.equal(reward(rnd, pictures(5, seed)), reward(resumed, pictures(5, seed)))
