import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import noise
from torch import Tensor

from distill.augmentations import AUGMENTATIONS, augment
from distill.envs import make_atari

ROOT = Path(__file__).resolve().parent.parent
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)


def brightness(obs: Tensor) -> Tensor:
    return obs.float().mean((1, 2, 3))


@every_augmentation
@pytest.mark.parametrize("n_stack", [1, 4])
def test_shape_and_type_are_kept(name, n_stack):
    obs = noise(3, n_stack=n_stack)
    augmented = augment(name, obs)
    assert augmented.shape == obs.shape
    assert augmented.dtype == torch.uint8


@every_augmentation
def test_four_equal_frames_stay_four_equal_frames(name):
    augmented = augment(name, noise(8, n_stack=1).expand(-1, 4, -1, -1))
    assert (augmented == augmented[:, :1]).all()


@every_augmentation
def test_frames_are_treated_alike_wherever_they_stand_in_the_stack(name):
    """Different frames share their parameters too: reversing a stack commutes with it."""
    obs = noise(8)
    forward, backward = augment(name, obs).int(), augment(name, obs.flip(1)).flip(1).int()
    assert (forward - backward).abs().max() <= 1  # one level of rounding


@every_augmentation
def test_equal_samples_of_a_batch_come_out_different(name):
    augmented = augment(name, noise(1).expand(8, -1, -1, -1))
    assert len(augmented.flatten(1).unique(dim=0)) == 8


@every_augmentation
def test_samples_do_not_leak_into_each_other(name):
    obs, other = noise(2), noise(2)
    other[1] = 255 - other[1]
    assert torch.equal(augment(name, obs)[0], augment(name, other)[0])


@every_augmentation
def test_the_picture_changes_with_the_seed_and_with_nothing_else(name):
    obs = noise(2)
    first = augment(name, obs, seed=1)
    torch.manual_seed(99)
    assert torch.equal(augment(name, obs, seed=1), first)
    assert not torch.equal(augment(name, obs, seed=2), first)


@every_augmentation
@pytest.mark.parametrize("obs", [noise(32), torch.full((32, 4, 84, 84), 128, dtype=torch.uint8)])
def test_no_picture_goes_black_or_white(name, obs):
    """Color jitter of 0..255 would clamp to one gray level; kornia's autocontrast blackens gray."""
    ratio = brightness(augment(name, obs)) / brightness(obs)
    assert ratio.min() > 0.65
    assert ratio.max() < 1.35


@every_augmentation
def test_the_observations_themselves_stay_as_they_were(name):
    obs = noise(2)
    augment(name, obs)
    assert torch.equal(obs, noise(2))


def test_autocontrast_maps_a_gray_level_alike_in_a_dark_and_a_bright_frame():
    obs = noise(8)
    obs[:, 0] //= 2  # 20..100 beside 40..200
    obs[:, :, :4, :4] = 90
    patch = augment("autocontrast", obs)[:, :, :4, :4]
    assert (patch == patch[:, :1]).all()


@pytest.mark.atari
def test_real_frames_stay_recognizable():
    envs = make_atari("PongNoFrameskip-v4", 4, seed=0, training=True, n_threads=1)
    obs = envs.reset()
    for _ in range(40):
        obs = envs.step(np.full(4, 2)).obs
    obs = torch.from_numpy(obs.copy())
    envs.close()
    for name in AUGMENTATIONS:
        augmented = augment(name, obs)
        ratio = brightness(augmented) / brightness(obs)
        assert 0.6 < ratio.min() <= ratio.max() < 1.4, name
        pictures = torch.stack([obs.flatten(1), augmented.flatten(1)], 1).float()
        assert all(torch.corrcoef(pair)[0, 1] > 0.6 for pair in pictures), name


def test_unknown_augmentation_is_refused_by_name():
    with pytest.raises(ValueError, match=r"jitter.*sepia"):
        augment("sepia", noise(1))


def test_importing_the_module_does_not_import_kornia():
    code = (
        "import sys, distill.augmentations, distill.uncertainty; sys.exit('kornia' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
