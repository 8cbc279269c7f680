"""The NatureCNN family by width, with a fast forward pass that equals the plain one.

Mnih et al. 2015 give the shape (conv 8x8/4, 4x4/2, 3x3/1, fully connected); Rusu et al. 2015, table
2, the widths of the students. Parameters carry stable-baselines3's names and layout, so that state
dicts of either side load into the other.

The forward pass takes uint8 observations and differs from the textbook's in speed only:

1. pixels go straight from uint8 to the compute type, and the division by 255 is folded into conv1's
   weights;
2. conv1, 8x8 stride 4 over S channels, is the same sum as 2x2 stride 1 over 16 S channels once
   every 4x4 block of pixels is laid out as channels ("space to depth"), which is what `pack` does;
3. activations are channels_last throughout;
4. the encoder may compute in bfloat16 while parameters and heads stay float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distill.types import N_PIXELS, N_STACK, Widths

BLOCK = 4  # side of the pixel blocks that `pack` turns into channels = conv1's stride
N_BLOCKS = N_PIXELS // BLOCK
N_LAYERS = 4  # of an encoder: three convolutions and the fully connected one


def pack(obs: Tensor) -> Tensor:
    """Lay every 4x4 block of pixels out as channels.

    Args:
        obs: uint8 (B, S, 84, 84).

    Returns:
        uint8 (B, 21, 21, 16 S), the channel index being (frame, row in block, column in block).
    """
    # Four pixels of a row as one word: copies 4 bytes at a time.
    words = obs.contiguous().view(torch.int32)
    words = words.view(-1, obs.shape[1], N_BLOCKS, BLOCK, N_BLOCKS).permute(0, 2, 4, 1, 3)
    return (
        words.contiguous()
        .view(torch.uint8)
        .view(-1, N_BLOCKS, N_BLOCKS, BLOCK * BLOCK * obs.shape[1])
    )


def packed_conv1(weight: Tensor) -> Tensor:
    """Rearrange conv1's weight for packed pixels of 0..255 instead of raw pixels of 0..1.

    Args:
        weight: (C1, S, 8, 8).

    Returns:
        (C1, 16 S, 2, 2), divided by 255.
    """
    c1, n_stack = weight.shape[:2]
    blocks = (weight / 255).view(c1, n_stack, 2, BLOCK, 2, BLOCK)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(c1, n_stack * BLOCK * BLOCK, 2, 2)


class Encoder(nn.Module):
    """Convolutions and the fully connected layer: uint8 observations in, features (B, fc) out.

    `cnn` and `linear` are what stable-baselines3's NatureCNN holds under these names.
    """

    def __init__(
        self, widths: Widths, n_stack: int = N_STACK, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        c1, c2, c3, fc = widths
        self.widths, self.n_stack, self.dtype = widths, n_stack, dtype
        self.features_dim = fc
        self.cnn = nn.Sequential(
            nn.Conv2d(n_stack, c1, 8, 4), nn.ReLU(), nn.Conv2d(c1, c2, 4, 2), nn.ReLU(),
            nn.Conv2d(c2, c3, 3, 1), nn.ReLU(), nn.Flatten()
        )  # fmt: skip
        self.linear = nn.Sequential(nn.Linear(c3 * 7 * 7, fc), nn.ReLU())

    def forward(self, obs: Tensor) -> Tensor:
        """Encode observations, raw (B, S, 84, 84) or packed (B, 21, 21, 16 S), uint8.

        Returns:
            float32 features (B, fc), after the last ReLU.
        """
        x = self.pixels(obs)
        for i in range(N_LAYERS):
            x = F.relu(self.layer(i, x), inplace=True)
        return x.float()

    def pixels(self, obs: Tensor) -> Tensor:
        """Return what the first layer takes: (B, 16 S, 21, 21), channels_last, 0 to 255."""
        assert obs.dtype == torch.uint8, obs.dtype
        packed = pack(obs) if obs.shape[-1] == N_PIXELS else obs
        return packed.permute(0, 3, 1, 2).to(self.dtype)

    def layer(self, i: int, x: Tensor) -> Tensor:
        """Apply layer `i` without its ReLU.

        Returns:
            (B, c1, 20, 20), (B, c2, 9, 9), (B, c3, 7, 7) or (B, fc).
        """
        weight, bias = self.parameters_of(i)
        bias = bias.to(self.dtype)
        if i == N_LAYERS - 1:
            return F.linear(x.flatten(1), weight.to(self.dtype), bias)
        weight = packed_conv1(weight) if i == 0 else weight
        return F.conv2d(x, weight.to(self.dtype), bias, stride=2 if i == 1 else 1)

    def weights(self) -> list[nn.Parameter]:
        """Return the layers' weights, without their biases."""
        return [p for p in self.parameters() if p.dim() > 1]

    def parameters_of(self, i: int) -> tuple[Tensor, Tensor]:
        """Return weight and bias of layer `i`."""
        layer = self.linear[0] if i == N_LAYERS - 1 else self.cnn[2 * i]
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert layer.bias is not None
        return layer.weight, layer.bias


class ActorCritic(nn.Module):
    """An encoder with an action head, and a value head where a reward is learned from."""

    def __init__(
        self,
        widths: Widths,
        n_actions: int,
        *,
        n_stack: int = N_STACK,
        dtype: torch.dtype = torch.float32,
        with_value: bool = False,
    ) -> None:
        super().__init__()
        self.n_actions, self.n_stack, self.widths = n_actions, n_stack, widths
        self.encoder = Encoder(widths, n_stack, dtype)
        self.action_net = nn.Linear(widths.fc, n_actions)
        # Drawn last, so that the other weights are the same with and without it.
        self.value_net = nn.Linear(widths.fc, 1) if with_value else None
        if self.value_net is not None:  # advantages of random values are noise
            nn.init.zeros_(self.value_net.weight)

    def logits(self, obs: Tensor) -> Tensor:
        """Answer observations, raw or packed uint8, with logits (B, A)."""
        return self.action_net(self.encoder(obs))

    def value(self, features: Tensor) -> Tensor:
        """Estimate returns (B,) from features (B, F)."""
        assert self.value_net is not None
        return self.value_net(features).squeeze(1)


def n_parameters(module: nn.Module) -> int:
    """Count a network's parameters, each once."""
    return sum(p.numel() for p in module.parameters())


def n_actor_parameters(student: ActorCritic) -> int:
    """Count what is needed to act: encoder and action head."""
    return n_parameters(student.encoder) + n_parameters(student.action_net)
