"""Coverage: which frames are the same place, and over which steps places are counted."""

import io

import numpy as np
import pytest
import torch

from distill.coverage import STRETCH_STEPS, Coverage, coarse


def uniform(*levels: int) -> np.ndarray:
    """Draw a rollout (1, N, 4, 84, 84) of uniform newest frames; the older ones are black."""
    obs = np.zeros((1, len(levels), 4, 84, 84), np.uint8)
    obs[0, :, -1] = np.array(levels)[:, None, None]
    return obs


def count(*rollouts: np.ndarray) -> int:
    coverage = Coverage()
    for rollout in rollouts:
        coverage.add(rollout, 0)
    return len(coverage)


def changed(pixels: int, by: int) -> int:
    """Count the places of a gray frame and of one with a square of it changed."""
    obs = uniform(100, 100)
    obs[0, 1, -1, 7 : 7 + pixels, 14 : 14 + pixels] += by
    return count(obs)


def test_blocks_of_7_by_7_pixels_are_averaged_to_one_of_16_grays():
    frame = np.zeros((84, 84), np.uint8)
    frame[:7, 7:14] = 255
    frame[7:14, :7][:4] = 70  # 4 of 7 rows: a mean of 40
    grays = coarse(frame[None]).reshape(12, 12)
    assert grays[0, 1] == 15
    assert grays[1, 0] == 40 // 16
    assert grays.sum() == 15 + 2


def test_frames_of_one_gray_level_are_one_place_and_others_are_others():
    assert count(uniform(0, 15)) == 1
    assert count(uniform(0, 16)) == 2
    assert count(uniform(*range(256))) == 16


def test_a_thing_of_some_size_makes_another_place_and_noise_does_not():
    assert changed(7, by=60) == 2
    assert changed(1, by=60) == 1
    assert changed(7, by=5) == 1


def test_a_place_counts_once_whenever_and_in_whatever_game_it_is_seen():
    assert count(uniform(0, 50, 0), uniform(50, 0, 50), uniform(50, 200, 0)) == 3


def test_only_the_newest_frame_counts():
    obs = uniform(100, 100)
    obs[0, 0, :3] = 200
    assert count(obs) == 1


def test_whole_rollouts_are_counted_until_one_begins_at_or_after_a_multiple_of_100_000_steps():
    coverage = Coverage()
    found = []
    for i, step in enumerate((0, 99_999, 100_000, 100_002, 500_003)):
        coverage.add(uniform(16 * i), step)
        found.append(len(coverage))
    assert found == [1, 2, 1, 2, 1]
    assert STRETCH_STEPS == 100_000


@pytest.mark.parametrize("levels", [(), (0, 50, 100)], ids=["empty", "some"])
def test_a_count_goes_on_from_its_saved_state(levels):
    coverage, resumed, file = Coverage(), Coverage(), io.BytesIO()
    coverage.add(uniform(*levels), STRETCH_STEPS)
    torch.save(coverage.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for c in (coverage, resumed):
        c.add(uniform(50, 200), STRETCH_STEPS + 1)
    assert len(coverage) == len(resumed) == len({*levels, 50, 200})


def test_the_state_does_not_depend_on_the_order_in_which_places_were_seen():
    one, other = Coverage(), Coverage()
    one.add(uniform(0, 50, 100, 150), 0)
    other.add(uniform(150, 50, 0, 100), 0)
    assert torch.equal(
        torch.as_tensor(one.state_dict()["seen"]), torch.as_tensor(other.state_dict()["seen"])
    )
