"""Augmentations: small changes of a picture that leave what matters on the screen as it was.

kornia is imported when the first of them is built: a run without uncertainty needs none of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from distill.types import N_PIXELS

AUGMENTATIONS = ("jitter", "erasing", "blur", "rotation", "resample", "sharpness", "autocontrast")

Transform = Callable[[Tensor], Tensor]  # float (B, S, 84, 84) in 0..1 to the same


def make_transform(name: str) -> Transform:
    """Build an augmentation; it draws a set of parameters a sample from torch's CPU generator.

    Frames are channels, and every kornia module used here treats channels alike (unless there are
    three). Borders are repeated where a picture is moved: no game has black corners.

    Raises:
        ValueError: if there is none of that name.
    """
    import kornia.augmentation as K

    side = (N_PIXELS, N_PIXELS)
    recipes: dict[str, Callable[[], Transform]] = {
        "jitter": lambda: K.ColorJitter(brightness=0.3, contrast=0.3),  # factors in 0.7..1.3
        "erasing": lambda: K.RandomErasing(scale=(0.02, 0.1), p=1.0),  # share of area, to black
        "blur": lambda: K.RandomGaussianBlur((5, 5), sigma=(0.3, 1.5), p=1.0),  # sigma in pixels
        "rotation": lambda: K.RandomAffine(degrees=5.0, padding_mode="border", p=1.0),
        "resample": lambda: nn.Sequential(  # shifts by up to 8 pixels, zooms by 0.91 to 1.05
            nn.ReplicationPad2d(4),
            K.RandomResizedCrop(side, (0.75, 1.0), (0.95, 1.05), cropping_mode="resample"),
        ),
        "sharpness": lambda: K.RandomSharpness((1.0, 4.0), p=1.0),  # 1 changes nothing
        "autocontrast": lambda: _autocontrast,
    }
    if name not in recipes:
        raise ValueError(f"augmentations must be of {', '.join(AUGMENTATIONS)}, got {name!r}")
    return recipes[name]()


def _autocontrast(picture: Tensor) -> Tensor:
    """Stretch each stack's gray values towards 0..1, by a strength drawn per sample.

    kornia's RandomAutoContrast draws nothing, stretches each frame of a stack by its own limits and
    turns a uniform picture black; here a uniform picture stays as it is.
    """
    low = picture.amin((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    span = picture.amax((1, 2, 3), keepdim=True) - low
    stretched = torch.where(span > 0, (picture - low) / span.clamp_min(1 / 255), picture)
    strength = torch.rand(len(picture), 1, 1, 1).to(picture.device)
    return torch.lerp(picture, stretched, strength)


def apply(transform: Transform, obs: Tensor, seed: int) -> Tensor:
    """Change stacks, uint8 (B, S, 84, 84); the global random state stays as it is."""
    # kornia draws from the global CPU generator, wherever the pictures are; it is put back after.
    # `torch.manual_seed` would reseed the accelerators' generators as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        picture = transform(obs.float().div_(255))  # kornia clamps to 0..1
    return picture.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def augment(name: str, obs: Tensor, *, seed: int = 0) -> Tensor:
    """Change each stack by one augmentation, its frames alike; the same shape comes out.

    Args:
        name: one of AUGMENTATIONS.
        obs: uint8 (B, S, 84, 84).
        seed: of the parameters; the global random state stays as it is.

    Raises:
        ValueError: for an unknown name.
    """
    assert obs.dtype == torch.uint8, obs.dtype
    return apply(make_transform(name), obs, seed)
