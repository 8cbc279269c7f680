"""Random network distillation: a bonus for states that look new (Burda et al. 2018).

A predictor learns to answer frames as a fixed random network does (arXiv 1810.12894, section 2.2).
Where it errs, little of the kind was seen before. It asks for no action and no change, so that what
nobody can control is no news once it was seen.

As in the paper and its authors' code: the newest frame of the next state alone, each pixel
normalized by its running mean and std and clipped to [-5, 5] (section 2.4); leaky ReLUs between
convolutions, orthogonal weights of gain sqrt(2), a predictor of two more layers than the target;
reward and loss are the mean squared error over features; the reward is divided by the running std
of its discounted return and, where it is the only one, not ended by a game's end (section 2.3).

Differs from the paper in:
1. the networks are small, to cost little beside a small student;
2. the predictor learns from a quarter of each minibatch of the ring, at our defaults from a state
   twice on average; in the paper from the newest rollout, four times with 32 games and once with
   128. Minibatches favor states of a high KL while the teacher counts, so that the bonus stays
   higher where student and teacher agree;
3. the mean and std of pixels begin with the student's first rollout, not with random play, and the
   std is at least a gray level: a pixel that never changed has none;
4. there is one value head. Where the game's reward counts, too, its ends end both returns.
"""

import torch
from torch import Tensor, nn

from distill.bonus import Transitions
from distill.networks import BLOCK, N_BLOCKS, pack

N_CHANNELS = BLOCK * BLOCK  # of one packed frame
N_FILTERS = 16  # of each convolution
N_FEATURES = 64  # numbers that the networks answer a frame with
MAX_DEVIATION = 5.0  # normalized pixels are clipped to this
LEARN_EVERY = 4  # of a minibatch's samples the predictor learns from every fourth


def _network() -> nn.Sequential:
    """Build a NatureCNN without its last ReLU; the first layer is 8x8 stride 4 before packing."""
    c = N_FILTERS
    return nn.Sequential(
        nn.Conv2d(N_CHANNELS, c, 2), nn.LeakyReLU(), nn.Conv2d(c, c, 4, 2), nn.LeakyReLU(),
        nn.Conv2d(c, c, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(c * 7 * 7, N_FEATURES),
    )  # fmt: skip


class RND(nn.Module):
    """A fixed random network, a predictor of its answers, and the running moments of pixels."""

    n_frames: Tensor  # frames seen so far
    pixel_sum: Tensor  # (21, 21, 16) of them, and of their squares
    pixel_squares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.target = _network()
        self.predictor = nn.Sequential(
            _network(), nn.ReLU(),
            nn.Linear(N_FEATURES, N_FEATURES), nn.ReLU(), nn.Linear(N_FEATURES, N_FEATURES),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, 2**0.5)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        self.target.requires_grad_(False)
        # Whole numbers, whose sums are exact in whatever order.
        zeros = torch.zeros(N_BLOCKS, N_BLOCKS, N_CHANNELS, dtype=torch.int64)
        self.register_buffer("n_frames", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pixel_sum", zeros)
        self.register_buffer("pixel_squares", zeros.clone())

    def forward(self, frames: Tensor) -> Tensor:
        """Measure the predictor's error (B,), the mean over features of its square.

        Args:
            frames: single packed frames, uint8 (B, 21, 21, 16).
        """
        x = self.normalize(frames).permute(0, 3, 1, 2)  # (B, 16, 21, 21), channels_last
        return (self.predictor(x) - self.target(x)).square().mean(1)

    def normalize(self, frames: Tensor) -> Tensor:
        """Return pixels as deviations from their own running mean, in stds, at most 5."""
        n = self.n_frames.clamp_min(1)
        mean = self.pixel_sum / n
        std = (self.pixel_squares / n - mean.square()).clamp_min(1.0).sqrt()
        return ((frames - mean) / std).clamp_(-MAX_DEVIATION, MAX_DEVIATION)

    def loss(self, obs: Tensor) -> Tensor:
        """Average the error over a part of a minibatch of packed stacks (B, 21, 21, 16 S)."""
        return self(obs[::LEARN_EVERY, ..., -N_CHANNELS:]).mean()

    @torch.no_grad()  # a reward is a number, not something to differentiate
    def intrinsic_reward(self, steps: Transitions) -> Tensor:
        """Take the next states' frames in to the moments and return the error (B,) at each."""
        frames = pack(steps.next_frame)
        self._observe(frames)
        return self(frames)

    def _observe(self, frames: Tensor) -> None:
        self.n_frames += len(frames)
        for part in frames.split(256):  # whose squares add up to less than 2**24, exact in float32
            pixels = part.float()
            self.pixel_sum += pixels.sum(0).long()
            self.pixel_squares += pixels.square_().sum(0).long()
