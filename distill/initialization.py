"""Initial weights that fit the pictures: layers standardized on the first states of a run.

Pictures of one game are nearly alike. What random layers make of them is nearly constant, and what
tells two states apart is small beside it: a student sees hardly anything until its first layers
have moved, which takes thousands of updates on Freeway. So every layer is shifted and scaled, once,
such that what it answers to real states has mean 0 and variance 1 (Salimans & Kingma 2016, section
3; Krähenbühl et al. 2016). The network stays what it was: only its initial numbers change.

Differs from both papers in: plain weights are rescaled and no norm is learned; the last layer,
which answers once a state, is standardized over states alone, so that differences between them are
what its features show.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.networks import N_LAYERS, Encoder

FITTED_STATES = 1024  # that the moments are measured on
MAX_GAIN = 10.0  # weights grow by this at most: of states nearly alike, noise must not be enlarged


@torch.no_grad()  # initial weights are no part of what is differentiated
def standardize(encoder: Encoder, obs: Tensor) -> None:
    """Rescale each layer in place: mean 0 and std 1 before its ReLU, channel by channel.

    Convolutions are standardized over states and places, the fully connected layer over states.

    Args:
        encoder: as initialized at random.
        obs: uint8 states, raw (B, S, 84, 84) or packed (B, 21, 21, 16 S), as different as there
            are.
    """
    x = encoder.pixels(obs)
    for i in range(N_LAYERS):
        weight, bias = encoder.parameters_of(i)
        out = encoder.layer(i, x).float()
        dims = [d for d in range(out.dim()) if d != 1]
        std, mean = torch.std_mean(out, dims, correction=0)
        std = std.clamp_min(1 / MAX_GAIN)
        weight /= std.view(-1, *[1] * (weight.dim() - 1))
        bias.copy_((bias - mean) / std)
        x = F.relu(encoder.layer(i, x))
