"""Atari games: the one place where they are built, vectorized and preprocessed.

ale_py's AtariVectorEnv does the preprocessing of Mnih et al. 2015 in C++: 84x84 gray, frame skip 4,
the maximum of the last two frames, four frames stacked, up to 30 no-ops at the start of a game.
This module adds what it lacks: sticky actions taken from the environment's id, lost lives that end
an episode for the learner without resetting the game, FIRE after a lost life, and where a game
begins with sticky actions, and clipped rewards beside raw whole-game scores.
"""

import difflib

import ale_py
import gymnasium
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

from distill.game_names import title_of
from distill.types import N_PIXELS, N_STACK, ByteArray, Game, IntArray, Step

FRAME_SKIP = 4
OBS_SIZE, SCREEN_SIZE = (N_PIXELS, N_PIXELS), (210, 160)  # height, width in pixels
# Evaluation's games are seeded from here on, training's below: they never meet.
EVALUATION_SEEDS = 2**30
NOOP_MAX = 30
STAGGER_STEPS = 2_048  # about a game of Freeway, whose games all last as long

gymnasium.register_envs(ale_py)


def known_env_ids() -> list[str]:
    """Return every id that `make_atari` accepts."""
    return [env_id for env_id in gymnasium.registry if _is_atari(env_id)]


def _is_atari(env_id: str) -> bool:
    return env_id.endswith(("NoFrameskip-v0", "NoFrameskip-v4")) or (
        env_id.startswith("ALE/") and env_id.endswith("-v5")
    )


def check_env_id(env_id: str) -> str:
    """Return the id if there is such a game.

    Raises:
        ValueError: otherwise, naming the closest ids there are.
    """
    known = known_env_ids()
    if env_id in known:
        return env_id
    title = title_of(env_id).lower()
    of_game = {name.lower(): name for name in known if title_of(name).lower() == title}
    by_lower = of_game or {name.lower(): name for name in known}
    close = difflib.get_close_matches(env_id.lower(), by_lower, n=3, cutoff=0.3)
    hint = ", ".join(by_lower[name] for name in close) or "PongNoFrameskip-v4"
    forms = "{Game}NoFrameskip-v0, {Game}NoFrameskip-v4 or ALE/{Game}-v5"
    raise ValueError(f"--env must be {forms}, got {env_id!r}; the closest are {hint}")


def sticky_probability(env_id: str) -> float:
    """Return the probability with which the id's emulator repeats the last action (0.25 or 0)."""
    return float(gymnasium.spec(check_env_id(env_id)).kwargs["repeat_action_probability"])


class AtariEnvs:
    """N games of one id; implements the Envs protocol.

    In training the first games are cut, as by a time limit, at N ages spread evenly over
    `STAGGER_STEPS`. Otherwise games of one length would all be at the same moment, with the same
    cars on the road, forever: a batch would hold one moment N times. A cut game has no score.
    """

    def __init__(
        self, emulator: AtariVectorEnv, *, seed: int, training: bool, is_sticky: bool
    ) -> None:
        self.n_envs: int = emulator.num_envs
        self.n_actions = len(emulator.ale.get_action_set())
        self._emulator, self._seed, self._training = emulator, seed, training
        self.action_names = tuple(action.name for action in emulator.ale.get_action_set())
        self._needs_fire = self.n_actions > 2 and self.action_names[1] == "FIRE"
        # The emulator presses FIRE for one frame of its reset, which a sticky game often misses: a
        # player that never fires would then wait for hours.
        self._fires_first = self._needs_fire and is_sticky

    def reset(self) -> ByteArray:
        """Start N new games; returns obs (N, S, 84, 84)."""
        obs, info = self._emulator.reset(seed=self._seed)
        self._lives = np.asarray(info["lives"])
        self._score = np.zeros(self.n_envs)
        self._length = np.zeros(self.n_envs, np.int64)
        self._must_fire = np.full(self.n_envs, self._fires_first)
        spread = STAGGER_STEPS * np.arange(self.n_envs) // self.n_envs
        self._cut_at = spread if self._training else np.zeros(self.n_envs, np.int64)  # 0: never
        return obs

    def step(self, actions: IntArray) -> Step:
        """Play `actions` (N,); FIRE where a game waits for it."""
        forced = self._must_fire
        action = np.where(forced, 1, actions)
        obs, reward, terminated, truncated, info = self._emulator.step(action)
        self._score += reward
        self._length += 1
        ended = terminated | truncated
        cut = (self._length == self._cut_at) & ~ended
        final_obs = info["final_obs"] if ended.any() else obs
        if cut.any():
            final_obs = np.where(cut[:, None, None, None], obs, final_obs)
            obs, info = self._emulator.reset(options={"reset_mask": cut})
        game_over = ended | cut
        # `lives` already describes the next game where one ended, so compare only where none did.
        lost_life = (info["lives"] < self._lives) & ~game_over
        self._lives = np.asarray(info["lives"])
        self._must_fire = (lost_life & self._needs_fire) | (game_over & self._fires_first)
        return Step(
            obs=obs,
            action=action,
            forced=forced,
            reward=(np.sign(reward) if self._training else reward).astype(np.float32),
            done=game_over | lost_life if self._training else game_over,
            game_over=game_over,
            truncated=truncated | cut,
            final_obs=final_obs if game_over.any() else None,
            games=self._finish(ended, cut),
        )

    def _finish(self, ended: np.ndarray, cut: np.ndarray) -> list[Game]:
        whole = np.flatnonzero(ended)
        games = [Game(int(i), float(self._score[i]), int(self._length[i])) for i in whole]
        over = ended | cut
        for counter in (self._score, self._length, self._cut_at):
            counter[over] = 0
        return games

    def close(self) -> None:
        """Stop the emulator's threads."""
        self._emulator.close()


def training_seed(seed: int, step: int) -> int:
    """Return the first seed of a run's games; one that goes on later plays others."""
    return 1000 * seed + step


def make_atari(
    env_id: str,
    n_envs: int,
    *,
    seed: int,
    training: bool,
    n_threads: int | None = None,
    n_stack: int = N_STACK,
    color: bool = False,
) -> AtariEnvs:
    """Build N parallel games.

    Args:
        env_id: `{Game}NoFrameskip-v0` (sticky actions 0.25), `{Game}NoFrameskip-v4` (none) or
            `ALE/{Game}-v5` (0.25). All are played at one frame skip of 4.
        n_envs: games in parallel.
        seed: the i-th game starts from `seed + i`, in evaluation `EVALUATION_SEEDS` later.
        training: clip rewards to their sign and report a lost life as `done`; otherwise whole games
            and raw rewards.
        n_threads: emulator threads; None means one per core. The games do not depend on it.
        n_stack: frames in an observation.
        color: observations are whole screens in color, (N, S, 210, 160, 3), for people to look at;
            the games are the same, action for action. Not in training.

    Raises:
        ValueError: for an unknown id, naming the closest ones.
    """
    assert not (color and training)
    repeat_probability = sticky_probability(env_id)
    emulator = _build_emulator(
        env_id, n_envs, repeat_probability, n_threads=n_threads, n_stack=n_stack, color=color
    )
    # Modulo what leaves room for all n_envs seeds below the border, or below the 2**31 of the
    # emulator.
    first_seed = seed % (EVALUATION_SEEDS - n_envs) + (0 if training else EVALUATION_SEEDS)
    return AtariEnvs(emulator, seed=first_seed, training=training, is_sticky=repeat_probability > 0)


def _build_emulator(
    env_id: str,
    n_envs: int,
    repeat_probability: float,
    *,
    n_threads: int | None,
    n_stack: int,
    color: bool,
) -> AtariVectorEnv:
    """Build ale-py's vector of games, with metadata of its own."""
    kwargs = gymnasium.spec(env_id).kwargs
    height, width = SCREEN_SIZE if color else OBS_SIZE
    shared_metadata = dict(AtariVectorEnv.metadata)
    emulator = AtariVectorEnv(
        kwargs["game"],
        n_envs,
        num_threads=n_threads or 0,
        max_num_frames_per_episode=kwargs["max_num_frames_per_episode"],
        repeat_action_probability=repeat_probability,
        img_height=height,
        img_width=width,
        grayscale=not color,
        stack_num=n_stack,
        frameskip=FRAME_SKIP,
        noop_max=NOOP_MAX,
        autoreset_mode=AutoresetMode.SAME_STEP,
        reward_clipping=False,
    )
    # One dict serves all instances of the class: give ours its own, and leave the shared one as it
    # was.
    emulator.metadata = dict(emulator.metadata)
    AtariVectorEnv.metadata.clear()
    AtariVectorEnv.metadata.update(shared_metadata)
    return emulator
