"""Records that cross modules, with their shapes, and the protocols the loop is written against.

Letters used in shape comments everywhere:

    B batch   T steps of a rollout   N parallel environments   A actions   F features
    S stacked frames (4; some old teachers see 1)   H = W = 84 pixels

An observation is either *raw*, uint8 (B, S, 84, 84), oldest frame first, or *packed*, uint8
(B, 21, 21, 16 S): the same bytes, every 4x4 block of pixels laid out as channels (networks.pack).
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]


N_PIXELS, N_STACK = 84, 4  # H = W, and S unless something says otherwise
MAX_WIDTH = 4096  # of any layer that is read from a file or asked for


class Widths(NamedTuple):
    """Channels of the three convolutions and units of the fully connected layer."""

    c1: int
    c2: int
    c3: int
    fc: int

    def __str__(self) -> str:
        return next((k for k, w in WIDTHS.items() if w == self), ",".join(map(str, self[:])))


WIDTHS = {
    "nature": Widths(32, 64, 64, 512),
    "net1": Widths(16, 32, 32, 256),
    "net2": Widths(16, 16, 16, 128),
    "net3": Widths(16, 16, 16, 64),
    "1pct": Widths(8, 8, 8, 32),
    "0.3pct": Widths(4, 4, 4, 16),
    "0.1pct": Widths(2, 2, 2, 8),
}


def parse_widths(text: str) -> Widths:
    """Read the name of a network, or its four widths as `C1,C2,C3,FC`.

    Raises:
        ValueError: if it is neither.
    """
    if text in WIDTHS:
        return WIDTHS[text]
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(1 <= n <= MAX_WIDTH for n in numbers):
        raise ValueError(
            f"one of {', '.join(WIDTHS)}, or C1,C2,C3,FC with widths from 1 to {MAX_WIDTH}"
        )
    return Widths(*numbers)


class Game(NamedTuple):
    """One finished whole game."""

    env: int  # index of the environment that played it
    score: float  # raw, unclipped, over all lives
    length_steps: int  # agent decisions, not emulator frames


class Step(NamedTuple):
    """What one step of N environments returned.

    Environments reset themselves in the same step, so where `game_over` is true `obs` already is
    the first observation of the next game and `final_obs` holds the last one of the game that
    ended.
    """

    obs: ByteArray  # (N, S, 84, 84)
    action: IntArray  # (N,) executed
    forced: BoolArray  # (N,) FIRE had to be pressed, whatever was chosen
    reward: FloatArray  # (N,) sign of the raw reward when training, the raw reward otherwise
    # (N,) an episode ended for the learner: a game over, or a lost life in training
    done: BoolArray
    game_over: BoolArray  # (N,) the emulator started a new game
    truncated: BoolArray  # (N,) it came from the time limit, or cut one of the first games short
    final_obs: ByteArray | None  # (N, S, 84, 84), rows valid only where game_over; None if nowhere
    games: list[Game]  # the games that ended in this step


class Envs(Protocol):
    """N parallel games."""

    n_envs: int
    n_actions: int

    def reset(self) -> ByteArray:
        """Start N new games; returns obs (N, S, 84, 84)."""
        ...

    def step(self, actions: IntArray) -> Step:
        """Play one action (N,) in each environment."""
        ...


class Network(Protocol):
    """Anything that answers observations with action logits: a teacher or a student."""

    def logits(self, obs: Tensor) -> Tensor:
        """Answer uint8 observations (B, ...), raw or packed, with logits (B, A)."""
        ...


class Teacher(Network, Protocol):
    """A network that knows how many actions it chooses from: the expert to be distilled."""

    n_actions: int


class Rollout(NamedTuple):
    """T steps of N environments; row t holds the state and what was done in it."""

    obs: ByteArray  # (T, N, S, 84, 84)
    age: IntArray  # (T, N) steps since the game began; 0 for its first state
    action: IntArray  # (T, N) executed
    reward: FloatArray  # (T, N) the game's, clipped
    done: BoolArray  # (T, N)
    game_over: BoolArray  # (T, N) the next state belongs to another game
    student_logits: FloatArray  # (T, N, A) of the student that acted
    on_policy: BoolArray  # (T, N) the student's own sample was executed, and nothing was forced
    last_obs: ByteArray  # (N, S, 84, 84) the state after the last step


class Labels(NamedTuple):
    """What is known of a rollout's states besides what was done in them."""

    teacher_logits: FloatArray  # (T, N, A)
    uncertainty: FloatArray  # (T, N) in multiples of what is usual; zeros when it is off
    divergence: FloatArray  # (T, N) KL(teacher || student that acted), nats, at temperature 1


class Batch(NamedTuple):
    """One minibatch for the distillation, ICM and RND terms; every pair lies inside one game."""

    place: IntArray  # (B,) places in the ring, for writing the measured divergence back
    obs: Tensor  # (B, 21, 21, 16 S) uint8, packed
    next_obs: Tensor | None  # the same one step later; None unless asked for
    action: Tensor  # (B,) int64, executed
    teacher_logits: Tensor  # (B, A) float32
    uncertainty: Tensor  # (B,) float32, non-negative; zeros when uncertainty is off
    inclusion: Tensor  # (B,) float32, probability of being kept (prioritization)


class PolicyBatch(NamedTuple):
    """One minibatch of the newest rollout for the policy-gradient terms."""

    obs: Tensor  # (B, 21, 21, 16 S) uint8, packed
    action: Tensor  # (B,) int64
    old_log_prob: Tensor  # (B,) log-probability under the student that acted
    advantage: Tensor  # (B,)
    target_value: Tensor  # (B,) GAE return
