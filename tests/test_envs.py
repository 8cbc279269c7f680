"""Games as the learner sees them, on real frames."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator

import cv2
import gymnasium
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

from distill.envs import (
    EVALUATION_SEEDS,
    AtariEnvs,
    check_env_id,
    known_env_ids,
    make_atari,
    sticky_probability,
)
from distill.game_names import title_of
from distill.types import Game, IntArray, Step

pytestmark = pytest.mark.atari

NOOP, FIRE = 0, 1
Policy = Callable[[AtariEnvs], IntArray]


def random_policy(seed: int = 0) -> Policy:
    rng = np.random.default_rng(seed)
    return lambda envs: rng.integers(0, envs.n_actions, envs.n_envs)


def constant_policy(action: int) -> Policy:
    return lambda envs: np.full(envs.n_envs, action)


def play(envs: AtariEnvs, policy: Policy, n_steps: int) -> Iterator[Step]:
    """Yield the steps that follow a reset."""
    envs.reset()
    for _ in range(n_steps):
        yield envs.step(policy(envs))


def play_games(envs: AtariEnvs, policy: Policy, n_games: int) -> list[Step]:
    """Return the steps until `n_games` have ended."""
    steps, n_ended = [], 0
    for step in play(envs, policy, 20_000):
        steps.append(step)
        n_ended += len(step.games)
        if n_ended >= n_games:
            return steps
    raise AssertionError("the games do not end")


def frames(
    env_id: str, *, seed: int = 3, training: bool = True, n_threads: int | None = None
) -> np.ndarray:
    """Return the observations (T, N, S, 84, 84) of random play."""
    envs = make_atari(env_id, 2, seed=seed, training=training, n_threads=n_threads)
    return np.stack([step.obs for step in play(envs, random_policy(), 60)])


@pytest.fixture(scope="module")
def breakout() -> list[Step]:
    """Random training play of four Breakouts, two games each and more."""
    envs = make_atari("BreakoutNoFrameskip-v4", 4, seed=1, training=True)
    return play_games(envs, random_policy(), 8)


@pytest.fixture(scope="module")
def freeway() -> list[Step]:
    """One whole evaluation game of Freeway and the start of the next."""
    envs = make_atari("FreewayNoFrameskip-v4", 1, seed=1, training=False)
    return list(play(envs, constant_policy(1), 2060))


def lost_lives(steps: list[Step]) -> Iterator[tuple[int, int]]:
    """Yield (time, environment) of every lost life that was not a game over."""
    for t, step in enumerate(steps):
        for i in np.flatnonzero(step.done & ~step.game_over):
            yield t, int(i)


# --- lost lives ---


def test_a_lost_life_ends_an_episode_without_resetting_the_game(breakout):
    assert len(list(lost_lives(breakout))) >= 8 * 3
    for t, i in lost_lives(breakout):
        # A reset would have zeroed the older frames; here they are the ones of the step before.
        np.testing.assert_array_equal(breakout[t].obs[i, :3], breakout[t - 1].obs[i, 1:])
        assert not any(game.env == i for game in breakout[t].games)


def test_a_game_of_breakout_ends_five_episodes(breakout):
    n_episodes = np.zeros(4, int)
    for step in breakout:
        n_episodes += step.done
        for game in step.games:
            assert n_episodes[game.env] == 5
            n_episodes[game.env] = 0


def test_a_games_score_and_length_span_its_lives(breakout):
    score, length = np.zeros(4), np.zeros(4, int)
    for step in breakout:
        score += step.reward  # a brick of the lowest rows counts 1, so clipping changes nothing
        length += 1
        for game in step.games:
            assert game == Game(game.env, float(score[game.env]), int(length[game.env]))
            score[game.env] = length[game.env] = 0
    assert sum(game.score for step in breakout for game in step.games) > 0


def test_evaluation_ends_episodes_at_game_overs_only():
    envs = make_atari("BreakoutNoFrameskip-v4", 2, seed=1, training=False)
    for step in play_games(envs, random_policy(), 2):
        np.testing.assert_array_equal(step.done, step.game_over)


def test_fire_is_pressed_after_a_lost_life_and_only_then():
    envs = make_atari("BreakoutNoFrameskip-v4", 2, seed=1, training=True)
    must_fire = np.zeros(2, bool)
    for step in play_games(envs, constant_policy(NOOP), 2):
        np.testing.assert_array_equal(step.action == FIRE, must_fire)
        np.testing.assert_array_equal(step.forced, must_fire)
        must_fire = step.done & ~step.game_over


def test_evaluation_presses_fire_after_each_lost_life_too():
    envs = make_atari("BreakoutNoFrameskip-v4", 1, seed=1, training=False)
    steps = play_games(envs, constant_policy(NOOP), 1)  # would never end without FIRE
    assert sum(int(step.action[0] == FIRE) for step in steps) == 4


@pytest.mark.parametrize("env_id", ["BreakoutNoFrameskip-v0", "ALE/Breakout-v5"])
def test_fire_starts_a_sticky_game_too_which_often_misses_the_emulators_own(env_id):
    envs = make_atari(env_id, 8, seed=0, training=True)
    must_fire = np.ones(8, bool)
    steps = play_games(envs, constant_policy(NOOP), 16)
    for step in steps:
        np.testing.assert_array_equal(step.action == FIRE, must_fire)
        must_fire = step.done  # game overs and cut games, too
    envs = make_atari(env_id, 8, seed=0, training=False)
    steps = play_games(envs, constant_policy(NOOP), 16)
    assert max(game.length_steps for step in steps for game in step.games) < 1_000


@pytest.mark.parametrize(
    "env_id", ["PongNoFrameskip-v4", "FreewayNoFrameskip-v4", "ALE/MsPacman-v5"]
)
def test_games_that_do_not_wait_for_fire_play_the_chosen_actions(env_id):
    envs = make_atari(env_id, 2, seed=1, training=True)
    actions = np.random.default_rng(0).integers(0, envs.n_actions, (250, 2))
    envs.reset()
    steps = [envs.step(action) for action in actions]
    np.testing.assert_array_equal([step.action for step in steps], actions)
    assert any(step.done.any() for step in steps) == ("MsPacman" in env_id)  # it lost lives


# --- game overs and resets ---


def ends(steps: list[Step]) -> Iterator[tuple[int, int]]:
    """Yield (time, environment) of every game over."""
    for t, step in enumerate(steps):
        for i in np.flatnonzero(step.game_over):
            yield t, int(i)


def test_a_game_resets_in_the_step_that_ends_it(breakout):
    for t, i in ends(breakout):
        assert breakout[t].done[i]
        assert not breakout[t].obs[i, :3].any()  # a new stack holds one frame
        assert breakout[t].obs[i, 3].any()


def test_the_final_observation_continues_the_game_that_ended(breakout):
    for t, i in ends(breakout):
        final_obs = breakout[t].final_obs
        assert final_obs is not None
        np.testing.assert_array_equal(final_obs[i, :3], breakout[t - 1].obs[i, 1:])


def test_there_is_no_final_observation_where_no_game_ended(breakout):
    assert all((step.final_obs is not None) == step.game_over.any() for step in breakout)


def test_a_game_without_lives_ends_once(freeway):
    assert sum(int(step.done[0]) for step in freeway) == 1  # its lives are 0 throughout
    assert not any(step.truncated[0] for step in freeway)


def test_score_and_length_start_at_zero_in_the_next_game(breakout):
    lengths = defaultdict(list)
    for t, step in enumerate(breakout, start=1):
        for game in step.games:
            assert t == sum(lengths[game.env]) + game.length_steps
            lengths[game.env].append(game.length_steps)


def test_the_time_limit_counts_frames_and_truncates():
    env_id = "BriefPongNoFrameskip-v4"
    kwargs = gymnasium.spec("PongNoFrameskip-v4").kwargs | {"max_num_frames_per_episode": 400}
    gymnasium.register(env_id, entry_point="ale_py.env:AtariEnv", kwargs=kwargs)
    try:
        envs = make_atari(env_id, 2, seed=1, training=True)
        step = play_games(envs, random_policy(), 1)[-1]
    finally:
        del gymnasium.registry[env_id]
    game = step.games[0]
    assert 400 / 4 - 30 / 4 <= game.length_steps <= 400 / 4  # no-ops count as frames
    assert step.truncated[game.env]
    assert step.done[game.env]
    assert step.game_over[game.env]


def test_every_id_has_the_emulators_limit_of_108000_frames():
    limits = {gymnasium.spec(name).kwargs["max_num_frames_per_episode"] for name in known_env_ids()}
    assert limits == {108_000}


# --- rewards ---


def space_invaders(*, training: bool) -> list[Step]:
    envs = make_atari("SpaceInvadersNoFrameskip-v4", 2, seed=1, training=training)
    return play_games(envs, random_policy(), 2)


def test_training_clips_rewards_and_keeps_the_raw_score():
    steps = space_invaders(training=True)
    assert {float(r) for step in steps for r in step.reward} == {0.0, 1.0}
    n_hits = np.zeros(2)
    for step in steps:
        n_hits += step.reward
        for game in step.games:
            assert game.score >= 5 * n_hits[game.env] > 0  # an invader is worth 5 to 30
            n_hits[game.env] = 0


def test_evaluation_leaves_rewards_raw():
    steps = space_invaders(training=False)
    assert {float(r) for step in steps for r in step.reward} <= {0, 5, 10, 15, 20, 25, 30, 200}
    score = np.zeros(2)
    for step in steps:
        score += step.reward
        for game in step.games:
            assert game.score == score[game.env] > 0
            score[game.env] = 0


def test_a_lost_point_is_clipped_to_minus_one():
    envs = make_atari("PongNoFrameskip-v4", 1, seed=1, training=True)
    assert min(float(step.reward[0]) for step in play(envs, constant_policy(NOOP), 100)) == -1.0


# --- emulator settings that come from the id ---


@pytest.mark.parametrize(
    ("env_id", "expected"),
    [("FreewayNoFrameskip-v0", 0.25), ("FreewayNoFrameskip-v4", 0.0), ("ALE/Freeway-v5", 0.25)],
)
def test_sticky_probability_comes_from_the_id(env_id, expected):
    assert sticky_probability(env_id) == expected


def alike(env_id: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the frames of pairs of games with as many no-ops at the start, 30 equal actions later.

    The cars of the first frame tell the number of no-ops.
    """
    envs = make_atari(env_id, 8, seed=5, training=True)
    first = last = envs.reset()
    rng = np.random.default_rng(0)
    for _ in range(30):
        last = envs.step(np.full(8, rng.integers(0, 2))).obs
    for i, j in itertools.combinations(range(8), 2):
        if np.array_equal(first[i], first[j]):
            yield last[i], last[j]


def test_games_that_start_alike_stay_alike_without_sticky_actions():
    pairs = list(alike("FreewayNoFrameskip-v4"))
    assert pairs
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_games_that_start_alike_part_with_sticky_actions():
    assert not any(np.array_equal(a, b) for a, b in alike("FreewayNoFrameskip-v0"))


def test_v5_plays_the_frames_of_v0():
    kept = frames("FreewayNoFrameskip-v0")
    np.testing.assert_array_equal(frames("ALE/Freeway-v5"), kept)
    assert not np.array_equal(frames("FreewayNoFrameskip-v4"), kept)


@pytest.mark.parametrize("env_id", ["PongNoFrameskip-v0", "PongNoFrameskip-v4", "ALE/Pong-v5"])
def test_a_step_is_four_frames(env_id):
    envs = make_atari(env_id, 2, seed=1, training=True)
    _, info = envs._emulator.reset(seed=1)
    before = info["frame_number"]
    for _ in range(5):
        info = envs._emulator.step(np.zeros(2, np.int64))[-1]
    np.testing.assert_array_equal(info["frame_number"] - before, 20)


def test_a_game_of_freeway_is_8192_frames(freeway):
    # Up to 29 of them are no-ops, and the last step need not be full.
    for step in freeway:
        assert all(0 <= 8192 - 4 * game.length_steps < 29 + 4 for game in step.games)


# --- observations ---


def test_observations_are_stacked_frames_oldest_first():
    envs = make_atari("PongNoFrameskip-v4", 2, seed=1, training=True)
    before = envs.reset()
    assert not before[:, :3].any()
    assert before[:, 3].any()
    for step in play(envs, random_policy(), 50):
        assert step.obs.shape == (2, 4, 84, 84)
        assert step.obs.dtype == np.uint8
        np.testing.assert_array_equal(step.obs[:, :3], before[:, 1:])
        before = step.obs


def shown(raw: list[np.ndarray]) -> np.ndarray:
    """Preprocess as SB3's AtariWrapper: gray(max over RGB of the last two frames), 84x84."""
    gray = cv2.cvtColor(np.max(raw[-2:], axis=0), cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (84, 84), interpolation=cv2.INTER_AREA).astype(float)


def test_pixels_are_those_of_the_usual_wrappers():
    envs = make_atari("FreewayNoFrameskip-v4", 1, seed=2, training=True)
    first = envs.reset()[0, -1]
    actions = np.random.default_rng(0).integers(0, 3, 60)
    ours = [envs.step(np.array([action])).obs[0, -1] for action in actions]

    single = gymnasium.make("FreewayNoFrameskip-v4")
    n_noops, frame = 0, single.reset()[0]
    while not np.array_equal(shown([frame]), first):  # a game's first observation is one frame
        n_noops += 1
        assert n_noops < 30
        frame = single.step(NOOP)[0]
    theirs = [shown([single.step(action)[0] for _ in range(4)]) for action in actions]
    assert np.abs(np.stack(theirs) - np.stack(ours)).mean() < 0.05  # gray levels


# --- seeds ---


@pytest.fixture(scope="module")
def two_breakouts() -> np.ndarray:
    return frames("ALE/Breakout-v5", seed=3, n_threads=1)


def test_frames_are_the_same_for_any_number_of_threads(two_breakouts):
    np.testing.assert_array_equal(frames("ALE/Breakout-v5", seed=3, n_threads=2), two_breakouts)


def test_another_seed_changes_the_frames(two_breakouts):
    assert not np.array_equal(frames("ALE/Breakout-v5", seed=5), two_breakouts)


def test_environment_i_is_seeded_with_seed_plus_i():
    both, later = (
        make_atari("ALE/Breakout-v5", n_envs, seed=seed, training=True)
        for n_envs, seed in ((2, 3), (1, 4))
    )
    both.reset()
    later.reset()
    for _ in range(40):
        expected = both.step(np.array([2, 2])).obs[1]
        np.testing.assert_array_equal(later.step(np.array([2])).obs[0], expected)


def test_evaluation_plays_other_games_than_training_with_the_same_seed(two_breakouts):
    assert not np.array_equal(frames("ALE/Breakout-v5", seed=3, training=False), two_breakouts)


@pytest.mark.parametrize("seed", [0, EVALUATION_SEEDS - 1, 10**12])
def test_seeds_of_training_and_evaluation_never_meet(seed):
    training, evaluation = (
        make_atari("PongNoFrameskip-v4", 2, seed=seed, training=training)._seed
        for training in (True, False)
    )
    assert 0 <= training < training + 1 < EVALUATION_SEEDS  # seed and seed + 1
    assert EVALUATION_SEEDS <= evaluation < evaluation + 1 < 2**31  # all that the emulator takes


# --- ids ---


def test_every_known_id_has_a_game_and_a_sticky_probability():
    known = known_env_ids()
    assert len(known) > 200
    assert {sticky_probability(env_id) for env_id in known} == {0.0, 0.25}
    for env_id in known:
        assert gymnasium.spec(env_id).kwargs["game"]


@pytest.mark.parametrize(
    ("env_id", "n_actions"),
    [
        ("FreewayNoFrameskip-v0", 3),
        ("PongNoFrameskip-v4", 6),
        ("QbertNoFrameskip-v4", 6),
        ("MontezumaRevengeNoFrameskip-v0", 18),
        ("BeamRiderNoFrameskip-v4", 9),
        ("ALE/Tetris-v5", 5),  # has no id of the old forms
    ],
)
def test_games_of_every_form_of_id_can_be_played(env_id, n_actions):
    assert env_id in known_env_ids()
    envs = make_atari(env_id, 1, seed=0, training=True)
    assert envs.n_actions == n_actions
    for step in play(envs, random_policy(), 5):
        assert step.obs.any()


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("FreewyNoFrameskip-v0", "FreewayNoFrameskip-v0"),
        ("ALE/Pnog-v5", "ALE/Pong-v5"),
        ("breakout", "ALE/Breakout-v5"),
        ("FreewayDeterministic-v4", "FreewayNoFrameskip-v4"),
        ("Pong-v4", "PongNoFrameskip-v4"),
        ("Pong-ram-v0", "PongNoFrameskip-v0"),
        ("ale-pong-v5", "ALE/Pong-v5"),  # as names of files have it
        ("VideoChessNoFrameskip-v4", "ALE/VideoChess-v5"),  # the one form that it ships in
    ],
)
def test_an_unknown_id_names_the_closest_ones(wrong, meant):
    with pytest.raises(ValueError, match="--env must be") as raised:
        make_atari(wrong, 1, seed=0, training=True)
    assert repr(wrong) in str(raised.value)
    closest = str(raised.value).split("closest are")[1]
    assert meant in closest
    if title_of(wrong).lower() == title_of(meant).lower():  # of that game alone
        assert {title_of(name.strip()) for name in closest.split(",")} == {title_of(meant)}


@pytest.mark.parametrize("wrong", ["", "CartPole-v1", "x" * 50])
def test_what_resembles_no_id_is_refused_too(wrong):
    with pytest.raises(ValueError, match="NoFrameskip-v4"):
        check_env_id(wrong)


# --- class state ---


def test_building_games_leaves_the_class_as_it_was():
    before = dict(AtariVectorEnv.metadata)
    envs = make_atari("PongNoFrameskip-v4", 1, seed=0, training=True)
    assert AtariVectorEnv.metadata == before
    assert envs._emulator.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    AtariVectorEnv("pong", 1, autoreset_mode=AutoresetMode.NEXT_STEP)
    assert envs._emulator.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


# --- games of one length are kept apart ---


@pytest.fixture(scope="module")
def staggered() -> list[Step]:
    """Four games of Freeway in training, the first of each cut but one's, for 130 steps."""
    envs = make_atari("FreewayNoFrameskip-v0", 4, seed=0, training=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.envs.STAGGER_STEPS", 160)
        steps = list(play(envs, random_policy(), 130))
    envs.close()
    return steps


@pytest.fixture(scope="module")
def uncut() -> list[Step]:
    envs = make_atari("FreewayNoFrameskip-v0", 4, seed=0, training=True)
    steps = list(play(envs, random_policy(), 130))
    envs.close()
    return steps


def test_first_games_are_cut_at_ages_spread_evenly_and_only_once(staggered):
    cuts = [(t + 1, i) for t, step in enumerate(staggered) for i in np.flatnonzero(step.game_over)]
    assert cuts == [(40, 1), (80, 2), (120, 3)]
    for step in staggered:
        np.testing.assert_array_equal(step.truncated, step.game_over)
        np.testing.assert_array_equal(step.done, step.game_over)
        assert not step.games


def test_a_cut_shows_what_the_game_came_to_and_leaves_the_others_as_they_were(staggered, uncut):
    for t, i in ((40, 1), (80, 2), (120, 3)):
        cut, same = staggered[t - 1], uncut[t - 1]
        assert cut.final_obs is not None
        np.testing.assert_array_equal(cut.final_obs[i], same.obs[i])
        assert not np.array_equal(cut.obs[i], same.obs[i])
        assert (cut.obs[i, :3] == 0).all()  # a game's first stack
    for step, same in zip(staggered, uncut, strict=True):
        np.testing.assert_array_equal(step.obs[0], same.obs[0])
    for step, same in zip(staggered[:119], uncut[:119], strict=True):
        np.testing.assert_array_equal(step.obs[3], same.obs[3])


def test_after_a_cut_score_and_length_are_of_the_next_game_alone():
    envs = make_atari("BreakoutNoFrameskip-v4", 2, seed=0, training=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.envs.STAGGER_STEPS", 60)
        steps = play_games(envs, random_policy(), 12)
    rewards = np.array([step.reward for step in steps])
    overs = np.array([step.game_over for step in steps])
    (cut_at,) = [t for t, step in enumerate(steps) if step.truncated.any()]
    assert cut_at + 1 == 30
    for env in range(2):
        ends = [-1, *np.flatnonzero(overs[:, env])]
        games = [game for step in steps for game in step.games if game.env == env]
        spans = list(itertools.pairwise(ends))[1 if env == 1 else 0 :]
        assert [game.length_steps for game in games] == [b - a for a, b in spans]
        # Random play hits bricks of the lowest two rows alone, a point each.
        assert [game.score for game in games] == [
            rewards[a + 1 : b + 1, env].sum() for a, b in spans
        ]


def breakouts(n_steps: int, cut_at: int) -> list[Step]:
    """Two games at random, the second cut at an age."""
    envs = make_atari("BreakoutNoFrameskip-v4", 2, seed=0, training=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.envs.STAGGER_STEPS", 2 * cut_at)
        return list(play(envs, random_policy(), n_steps))


def test_one_game_may_end_and_another_be_cut_in_one_step():
    uncut = breakouts(400, 10**6)
    first_end, second_end = (
        next(t for t, step in enumerate(uncut) if step.game_over[i]) for i in range(2)
    )
    assert first_end < second_end
    both = breakouts(first_end + 1, first_end + 1)[-1]
    assert (both.game_over.tolist(), both.truncated.tolist()) == ([True, True], [False, True])
    assert [game.env for game in both.games] == [0]
    first_final_obs = uncut[first_end].final_obs
    assert both.final_obs is not None
    assert first_final_obs is not None
    np.testing.assert_array_equal(both.final_obs[0], first_final_obs[0])
    np.testing.assert_array_equal(both.final_obs[1], uncut[first_end].obs[1])


def test_a_game_that_ends_at_the_age_of_its_cut_is_a_whole_one():
    uncut = breakouts(400, 10**6)
    end = next(t for t, step in enumerate(uncut) if step.game_over[1])
    step = breakouts(end + 1, end + 1)[-1]
    assert step.game_over[1]
    assert not step.truncated[1]
    assert [game for game in step.games if game.env == 1] == [
        game for game in uncut[end].games if game.env == 1
    ]


def test_no_game_is_cut_in_evaluation():
    envs = make_atari("FreewayNoFrameskip-v0", 2, seed=0, training=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.envs.STAGGER_STEPS", 40)
        assert not any(step.game_over.any() for step in play(envs, random_policy(), 60))


def test_a_reset_amid_games_starts_the_same_games_from_no_score():
    envs = make_atari("ALE/Breakout-v5", 2, seed=3, training=False, n_threads=1)
    first, _, again = (play_games(envs, random_policy(), n) for n in (3, 1, 3))
    assert [step.games for step in first] == [step.games for step in again]
    np.testing.assert_array_equal(first[-1].obs, again[-1].obs)
