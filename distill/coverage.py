"""Coverage: how many different pictures a student comes to, counted in coarse frames.

The newest frame of each state is averaged over 7x7 blocks of pixels to 12 x 12 and cut down to 16
grays, after the cells of Go-Explore (Ecoffet et al. 2021; there 11 x 8 and 8 grays): what differs
by a pixel or a shade is one place, what differs by more is another. Of 15,360 states, played at
random, by a teacher or by both in turn, 42 % to 62 % are distinct so on Freeway and 12 % to 26 % on
Pong. Of whole frames 85 % to 98 % are, so that every player would seem to see all there is; 8 grays
would leave 21 places of Freeway.
"""

import hashlib

import torch
from torch import Tensor

from distill.types import N_PIXELS, ByteArray

STRETCH_STEPS = 100_000  # how long is counted before the count starts over
BLOCK_PIXELS, N_GRAYS = 7, 16


def coarse(frames: ByteArray) -> ByteArray:
    """Reduce frames, uint8 (B, 84, 84), to gray levels 0..15 (B, 144)."""
    n, side = N_PIXELS // BLOCK_PIXELS, BLOCK_PIXELS
    rows = torch.from_numpy(frames).view(-1, n, side, N_PIXELS).sum(2, dtype=torch.int16)
    blocks = rows.view(-1, n, n, side).sum(3, dtype=torch.int16)  # (B, 12, 12), at most 49 x 255
    return (blocks // (side * side * 256 // N_GRAYS)).to(torch.uint8).flatten(1).numpy()


class Coverage:
    """The distinct coarse frames since the last multiple of 100,000 steps; `len` counts them."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # hashes of 64 bits: of 100,000, no two are likely to collide
        self._stretch = 0

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, obs: ByteArray, step: int) -> None:
        """Count the states of a rollout.

        A rollout belongs as a whole to the stretch in which it began, so that the first row logged
        at or after a multiple of 100,000 steps shows the whole stretch, if --log_steps divides it.

        Args:
            obs: uint8 (T, N, S, 84, 84).
            step: steps played before the rollout.
        """
        if step // STRETCH_STEPS != self._stretch:
            self._stretch = step // STRETCH_STEPS
            self._seen.clear()
        for frame in coarse(obs[:, :, -1].reshape(-1, *obs.shape[-2:])):
            digest = hashlib.blake2b(frame.tobytes(), digest_size=8).digest()
            self._seen.add(int.from_bytes(digest, "little", signed=True))

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return what `load_state_dict` needs to go on."""
        seen = torch.tensor(sorted(self._seen), dtype=torch.int64)
        return {"stretch": self._stretch, "seen": seen}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Go on from `state`."""
        self._stretch, self._seen = (
            int(state["stretch"]),
            set(torch.as_tensor(state["seen"]).tolist()),
        )
