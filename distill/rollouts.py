"""Replay buffer: a ring of labeled rollouts, every frame stored once; stacks rebuilt when drawn."""

import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.networks import BLOCK, N_BLOCKS, pack
from distill.prioritization import action_gap, gumbel_top_k
from distill.types import Batch, FloatArray, IntArray, Labels, Rollout

FRAME_BYTES = (N_BLOCKS * BLOCK) ** 2


class Ring:
    """The last `capacity` states with the teacher's answers.

    A state's place is row * N + environment. Frames before a game's start, which the emulator shows
    as zeros, are read from one extra row of zeros.

    Args:
        capacity: states to hold, rounded down to whole rows of `n_envs`.
        n_envs: N.
        n_actions: A.
        n_stack: S.
        device: where minibatches are needed; the ring itself lies in main memory.

    Raises:
        ValueError: if no state could keep both a whole stack and its successor.
    """

    def __init__(
        self, capacity: int, *, n_envs: int, n_actions: int, n_stack: int, device: torch.device
    ) -> None:
        self.n_rows, self.n_envs = capacity // n_envs, n_envs
        self.n_stack, self.device = n_stack, device
        if self.n_rows <= n_stack:
            smallest = (n_stack + 1) * n_envs
            raise ValueError(f"--ring_size must be at least {smallest} here, got {capacity}")
        n_places = self.n_rows * n_envs
        self.n_added_rows = 0
        self._frames = torch.zeros(n_places + 1, FRAME_BYTES, dtype=torch.uint8)
        self._age = np.zeros(n_places, np.int64)
        self._action = np.zeros(n_places, np.int64)
        self._game_over = np.zeros(n_places, bool)
        self._teacher_logits = np.zeros((n_places, n_actions), np.float32)
        self._uncertainty = np.zeros(n_places, np.float32)
        self.divergence = np.zeros(n_places, np.float32)  # as Labels have it, when last measured
        self._drawable = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return min(self.n_added_rows, self.n_rows) * self.n_envs

    @property
    def n_drawable(self) -> int:
        """States that can be drawn: those with a whole stack and a successor in the same game."""
        return len(self._drawable)

    @property
    def majority_share(self) -> float:
        """Share of the commonest action among all that is kept: what naming it always would hit."""
        return float(np.bincount(self._action[: len(self)]).max() / len(self))

    def add(self, rollout: Rollout, labels: Labels) -> IntArray:
        """Add a rollout with its labels; returns its places (T * N,)."""
        n_steps = len(rollout.obs)
        rows = (self.n_added_rows + np.arange(n_steps)) % self.n_rows
        places = (rows[:, None] * self.n_envs + np.arange(self.n_envs)).ravel()
        newest = torch.from_numpy(rollout.obs[:, :, -1:]).flatten(0, 1)  # (T N, 1, 84, 84)
        self._frames[torch.from_numpy(places)] = pack(newest).flatten(1)
        self._age[places] = rollout.age.ravel()
        self._action[places] = rollout.action.ravel()
        self._game_over[places] = rollout.game_over.ravel()
        self._teacher_logits[places] = labels.teacher_logits.reshape(len(places), -1)
        self._uncertainty[places] = labels.uncertainty.ravel()
        self.divergence[places] = labels.divergence.ravel()
        self.n_added_rows += n_steps
        self._drawable = self._find_drawable()
        return places

    def _find_drawable(self) -> IntArray:
        """List the places whose stack is whole and whose successor is of the same game."""
        n_filled = min(self.n_added_rows, self.n_rows)
        # The newest row has no successor yet. Once old rows are overwritten, the first S - 1 of
        # those left have lost frames of their stacks.
        n_lost = self.n_stack - 1 if self.n_added_rows > self.n_rows else 0
        age_of_row = (self.n_added_rows - 1 - np.arange(n_filled)) % self.n_rows
        whole = (age_of_row >= 1) & (age_of_row < n_filled - n_lost)
        within = np.repeat(whole, self.n_envs) & ~self._game_over[: n_filled * self.n_envs]
        return np.flatnonzero(within)

    def sample(
        self,
        rng: np.random.Generator,
        batch_size: int,
        *,
        pairs: bool,
        n_candidates: int = 1,
        prefer: str = "kl",
    ) -> Batch:
        """Draw a minibatch of states with a successor in the same game.

        Args:
            rng: source of randomness.
            batch_size: B.
            pairs: also rebuild the successors.
            n_candidates: 1 draws uniformly. k > 1 draws k B states and keeps B of them, without
                replacement, by the priorities of `prefer`.
            prefer: `kl`, the divergence when last measured, or `gap`, the teacher's action gap.
        """
        drawn = rng.integers(len(self._drawable), size=batch_size * n_candidates)
        places, inclusion = self._drawable[drawn], np.ones(batch_size, np.float32)
        if n_candidates > 1:
            kept, inclusion = gumbel_top_k(rng, self._priorities(places, prefer), batch_size)
            places = places[kept]
        return Batch(
            place=places,
            obs=self.stacks(places),
            next_obs=self.stacks(self._successors(places)) if pairs else None,
            action=self._to_device(self._action[places]),
            teacher_logits=self._to_device(self._teacher_logits[places]),
            uncertainty=self._to_device(self._uncertainty[places]),
            inclusion=self._to_device(inclusion),
        )

    def _priorities(self, places: IntArray, prefer: str) -> FloatArray:
        if prefer == "gap":
            return action_gap(self._teacher_logits[places])
        return self.divergence[places]

    def spread(self, n_states: int) -> Tensor:
        """Return up to `n_states` observations, evenly spread over those that can be drawn."""
        n_states = min(n_states, self.n_drawable)
        picked = np.linspace(0, self.n_drawable - 1, n_states).astype(np.int64)
        return self.stacks(self._drawable[picked])

    def _to_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _successors(self, places: IntArray) -> IntArray:
        return (places + self.n_envs) % (self.n_rows * self.n_envs)

    def stacks(self, places: IntArray) -> Tensor:
        """Rebuild the observations at `places` (B,): packed uint8 (B, 21, 21, 16 S)."""
        back = np.arange(self.n_stack - 1, -1, -1)  # oldest frame first
        index = (places[:, None] - back * self.n_envs) % (self.n_rows * self.n_envs)  # (B, S)
        index = np.where(self._age[places][:, None] >= back, index, len(self._frames) - 1)
        frames = self._frames.index_select(0, torch.from_numpy(index.ravel()))
        # A block of 16 pixels is copied at once, as the one type of 16 bytes that torch has: 3.3
        # times as fast as in words of 8.
        blocks = frames.view(torch.complex128).view(len(places), self.n_stack, N_BLOCKS**2)
        packed = blocks.transpose(1, 2).flatten().view(torch.uint8)
        return packed.view(len(places), N_BLOCKS, N_BLOCKS, -1).to(self.device)

    def restart_games(self) -> None:
        """Note that the next rollout begins new games, so that no pair spans the break."""
        newest = (self.n_added_rows - 1) % self.n_rows
        self._game_over[newest * self.n_envs : (newest + 1) * self.n_envs] = True

    def state_dict(self) -> dict[str, Any]:
        """Return the contents for a checkpoint, the frames compressed."""
        filled = len(self)
        frames = zlib.compress(self._frames[:filled].numpy().data, level=1)
        arrays = {k: torch.from_numpy(v[:filled]) for k, v in self._arrays().items()}
        packed = torch.frombuffer(bytearray(frames), dtype=torch.uint8)
        return {"n_added_rows": self.n_added_rows, "frames": packed, **arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.n_added_rows = state["n_added_rows"]
        frames = bytearray(zlib.decompress(state["frames"].numpy().tobytes()))
        filled = len(self)
        if filled:
            self._frames[:filled] = torch.frombuffer(frames, dtype=torch.uint8).view(filled, -1)
        for name, array in self._arrays().items():
            array[:filled] = state[name].numpy()
        self._drawable = self._find_drawable()

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "age": self._age,
            "action": self._action,
            "game_over": self._game_over,
            "teacher_logits": self._teacher_logits,
            "uncertainty": self._uncertainty,
            "divergence": self.divergence,
        }
