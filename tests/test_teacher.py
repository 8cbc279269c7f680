import base64
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from torch import nn

from distill.networks import Encoder, Student, pack
from distill.sb3 import FastCnnPolicy, export_zip, observation_space, policy_kwargs
from distill.teacher import (
    NetworkTeacher,
    best_teacher,
    check_fits,
    env_id_of,
    latest_teacher,
    load_teacher,
)
from distill.types import WIDTHS, Widths

TINY = Widths(2, 3, 4, 5)
DISCRETE3 = gymnasium.spaces.Discrete(3)


class NoiseGame(gymnasium.Env):
    """Observations of a given shape, drawn at random; nothing to win."""

    def __init__(self, shape, action_space):
        dtype, high = (np.uint8, 255) if len(shape) == 3 else (np.float32, 1.0)
        self.observation_space = gymnasium.spaces.Box(0, high, shape, dtype)
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def stock_model(
    algorithm, shape=(4, 84, 84), action_space=DISCRETE3, policy="CnnPolicy", **settings
):
    if algorithm is PPO:
        settings |= {"n_steps": 8, "batch_size": 8}
    if algorithm is DQN:
        settings |= {"buffer_size": 1}
    torch.manual_seed(0)
    return algorithm(policy, NoiseGame(shape, action_space), device="cpu", **settings)


def give_opinions(policy):
    """Spread the action head's weights, which SB3 draws close to zero."""
    with torch.no_grad():
        policy.action_net.weight.normal_(std=0.5)


def saved(model, path):
    model.save(path)
    return path


def frames(n, n_stack=4, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (n, n_stack, 84, 84), np.uint8)
    )


def sb3_logits(policy, obs):
    """What SB3 itself answers, normalized: its distribution stores log-probabilities."""
    with torch.no_grad():
        return policy.get_distribution(obs).distribution.logits


def tiny_state(*, widths=TINY, n_actions=3, n_stack=4, copies=True):
    """A state dict under SB3's names, without SB3."""
    torch.manual_seed(0)
    layers = Encoder(widths, n_stack).state_dict()
    prefixes = ("", "pi_", "vf_") if copies else ("",)
    state = {f"{p}features_extractor.{k}": v for p in prefixes for k, v in layers.items()}
    for name, n in (("action_net", n_actions), ("value_net", 1)):
        state |= {f"{name}.{k}": v for k, v in nn.Linear(widths.fc, n).state_dict().items()}
    return state


def as_bytes(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def write_zip(path, state=None, *, policy=None, header=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("data", header if isinstance(header, str) else json.dumps(header or {}))
        archive.writestr("policy.pth", as_bytes(state) if policy is None else policy)
    return path


def edited(path, change):
    """A copy of a zip whose policy.pth went through `change`."""
    copy = path.with_name(f"edited_{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == "policy.pth":
                content = as_bytes(change(torch.load(io.BytesIO(content), weights_only=True)))
            new.writestr(member.filename, content)
    return copy


class Bomb:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


# Labels


@pytest.mark.parametrize(
    ("algorithm", "n_stack", "n_actions"), [(PPO, 4, 3), (PPO, 1, 18), (A2C, 4, 6), (A2C, 1, 4)]
)
def test_logits_equal_sb3s_own_on_a_stock_zip(tmp_path, algorithm, n_stack, n_actions):
    model = stock_model(algorithm, (n_stack, 84, 84), gymnasium.spaces.Discrete(n_actions))
    give_opinions(model.policy)
    teacher = load_teacher(saved(model, tmp_path / "stock.zip"))
    obs = frames(5, n_stack)
    assert (teacher.n_actions, teacher.n_stack) == (n_actions, n_stack)
    assert teacher.widths == WIDTHS["nature"]
    logits = teacher.logits(obs)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(
        logits.log_softmax(1), sb3_logits(model.policy, obs), rtol=0, atol=2e-5
    )


def test_a_zip_without_the_copies_of_sb3_1_7_reads_the_same(tmp_path):
    stock = saved(stock_model(PPO), tmp_path / "stock.zip")
    old = edited(
        stock, lambda state: {k: v for k, v in state.items() if k[:3] not in ("pi_", "vf_")}
    )
    obs = frames(2)
    assert torch.equal(load_teacher(old).logits(obs), load_teacher(stock).logits(obs))


def test_the_actors_encoder_is_taken_where_the_critic_has_its_own(tmp_path):
    model = stock_model(PPO, policy_kwargs={"share_features_extractor": False})
    give_opinions(model.policy)
    teacher = load_teacher(saved(model, tmp_path / "two.zip"))
    obs = frames(3)
    torch.testing.assert_close(
        teacher.logits(obs).log_softmax(1), sb3_logits(model.policy, obs), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("widths", [WIDTHS["nature"], WIDTHS["net3"], TINY])
def test_our_float16_zip_answers_as_the_rounded_policy(tmp_path, widths):
    torch.manual_seed(0)
    kwargs = policy_kwargs(widths, torch.float32)
    policy = FastCnnPolicy(observation_space(), DISCRETE3, lambda _: 0.0, **kwargs)
    give_opinions(policy)
    export_zip(policy, 3, tmp_path / "ours.zip")
    teacher = load_teacher(tmp_path / "ours.zip")
    obs = frames(3)
    assert teacher.widths == widths
    torch.testing.assert_close(
        teacher.logits(obs).log_softmax(1),
        sb3_logits(policy.half().float(), obs),
        rtol=0,
        atol=2e-5,
    )


def test_packed_observations_get_the_same_logits_as_raw_ones(tmp_path):
    teacher = load_teacher(write_zip(tmp_path / "tiny.zip", tiny_state()))
    obs = frames(3)
    assert torch.equal(teacher.logits(pack(obs)), teacher.logits(obs))


def test_chunks_change_no_logit_and_bound_the_batch():
    network = Student(TINY, 3)
    seen = []
    network.encoder.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    obs = frames(7)
    whole = NetworkTeacher(network).logits(obs)
    chunked = NetworkTeacher(network, chunk_size=3).logits(obs)
    assert seen == [7, 3, 3, 1]
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-6)


def test_bfloat16_labels_are_float32_and_close(tmp_path):
    path = write_zip(tmp_path / "tiny.zip", tiny_state())
    exact, rounded = (
        load_teacher(path, dtype=d).logits(frames(2)) for d in (torch.float32, torch.bfloat16)
    )
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.02)


def test_labels_serve_as_targets_of_a_loss(tmp_path):
    teacher = load_teacher(write_zip(tmp_path / "tiny.zip", tiny_state()))
    labels = teacher.logits(frames(2))
    student_logits = torch.zeros(2, 3, requires_grad=True)
    (student_logits * labels).sum().backward()  # fails on inference tensors
    assert not labels.requires_grad
    assert student_logits.grad is not None
    torch.testing.assert_close(student_logits.grad, labels)


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path):
    path = write_zip(tmp_path / "tiny.zip", tiny_state())
    before = torch.get_rng_state()
    load_teacher(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_wrapped_network_can_still_learn():
    network = Student(TINY, 3)
    NetworkTeacher(network).logits(frames(1))
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_labels_on_a_gpu_equal_the_cpus(tmp_path):
    path, obs = write_zip(tmp_path / "tiny.zip", tiny_state()), frames(3)
    on_gpu = load_teacher(path, device=torch.device("cuda")).logits(obs)
    assert on_gpu.device.type == "cuda"
    torch.testing.assert_close(on_gpu.cpu(), load_teacher(path).logits(obs), rtol=0, atol=1e-3)


@pytest.mark.parametrize("obs", [frames(2, 1), pack(frames(2, 1))], ids=["raw", "packed"])
def test_another_frame_stack_is_refused_with_both_numbers(tmp_path, obs):
    teacher = load_teacher(write_zip(tmp_path / "tiny.zip", tiny_state()))
    with pytest.raises(ValueError, match="sees 4 stacked frames, got 1"):
        teacher.logits(obs)


def test_another_games_action_count_is_refused_with_both_numbers(tmp_path):
    teacher = load_teacher(write_zip(tmp_path / "tiny.zip", tiny_state(n_actions=6)))
    check_fits(teacher, "PongNoFrameskip-v4", 6)
    with pytest.raises(ValueError, match=r"tiny\.zip .*6 actions, but FreewayNoFrameskip-v0 has 3"):
        check_fits(teacher, "FreewayNoFrameskip-v0", 3)


# Files that are something else


def refusal(path):
    """The message with which a path is refused: one line that names it and what is allowed."""
    with pytest.raises(ValueError, match=r"stable-baselines3 PPO or A2C zip") as caught:
        load_teacher(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_missing_path_says_how_to_make_a_teacher(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zip.*python ppo_teacher\.py 1e7"):
        load_teacher(tmp_path / "none.zip")


def test_a_directory_is_refused(tmp_path):
    assert "not a file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(100), bytes(5000)])
def test_a_file_that_is_no_zip_is_refused(tmp_path, content):
    path = tmp_path / "teacher.zip"
    path.write_bytes(content)
    assert "is not a zip" in refusal(path)


def test_a_zip_without_a_policy_is_refused(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "holds no policy.pth" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99, 0.9999])
def test_a_truncated_zip_is_refused(tmp_path, share):
    path = write_zip(tmp_path / "teacher.zip", tiny_state())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "zip" in refusal(path)


def test_a_flipped_bit_in_the_weights_is_refused(tmp_path):
    path = write_zip(tmp_path / "teacher.zip", tiny_state())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "is damaged" in refusal(path)


def test_a_policy_cut_short_inside_a_whole_zip_is_refused(tmp_path):
    policy = as_bytes(tiny_state())
    assert "is damaged" in refusal(write_zip(tmp_path / "a.zip", policy=policy[: len(policy) // 2]))


@pytest.mark.parametrize(
    ("algorithm", "settings", "name"),
    [
        (DQN, {}, r"a DQN (its policy class is in stable_baselines3.dqn.policies)"),
        (PPO, {"policy": "MlpPolicy", "shape": (4,)}, "an MLP"),
        (PPO, {"policy_kwargs": {"net_arch": [8]}}, "hidden layers before its heads"),
        (PPO, {"action_space": gymnasium.spaces.Box(-1, 1, (2,))}, "continuous actions"),
        (PPO, {"action_space": gymnasium.spaces.MultiDiscrete([2, 3])}, "MultiDiscrete"),
        (PPO, {"action_space": gymnasium.spaces.MultiBinary(3)}, "MultiBinary"),
    ],
    ids=["dqn", "mlp", "net_arch", "continuous", "multi_discrete", "multi_binary"],
)
def test_what_sb3_writes_for_other_networks_is_refused_by_name(tmp_path, algorithm, settings, name):
    assert name in refusal(saved(stock_model(algorithm, **settings), tmp_path / "other.zip"))


def test_a_teacher_that_saw_unscaled_pixels_is_refused(tmp_path):
    model = stock_model(PPO, policy_kwargs={"normalize_images": False})
    assert "normalize_images=False" in refusal(saved(model, tmp_path / "unscaled.zip"))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("lstm_actor.weight_ih_l0", "a recurrent policy"),
        ("quantile_net.quantile_net.0.weight", "a QR-DQN"),
        ("actor.mu.weight", "SAC, TD3 or DDPG"),
        ("features_extractor.cnn.6.weight", "features_extractor.cnn.6.weight"),
    ],
)
def test_a_network_with_other_layers_is_refused_by_name(tmp_path, key, name):
    state = tiny_state() | {key: torch.zeros(1)}
    assert name in refusal(write_zip(tmp_path / "other.zip", state))


@pytest.mark.parametrize("missing", ["features_extractor.cnn.2.bias", "action_net.weight"])
def test_a_network_with_a_layer_missing_is_refused(tmp_path, missing):
    state = tiny_state(copies=False)
    del state[missing]
    assert "not an actor-critic" in refusal(write_zip(tmp_path / "a.zip", state))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("features_extractor.cnn.0.weight", (2, 4, 5, 5)),
        ("features_extractor.cnn.2.weight", (3, 2, 3, 3)),
        ("features_extractor.cnn.4.weight", (4, 7, 3, 3)),
        ("features_extractor.cnn.0.bias", (3,)),
        ("features_extractor.linear.0.weight", (5, 4 * 8 * 8)),
        ("action_net.weight", (3, 6)),
        ("action_net.bias", (2,)),
        ("features_extractor.cnn.0.weight", (2,)),
        ("features_extractor.cnn.0.weight", ()),
        ("action_net.weight", (0, 5)),
        ("action_net.weight", (5000, 5)),
    ],
)
def test_other_shapes_are_refused(tmp_path, key, shape):
    state = tiny_state(copies=False) | {key: torch.zeros(shape)}
    assert " has " in refusal(write_zip(tmp_path / "other.zip", state))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    state = tiny_state()
    state["action_net.weight"][1, 2] = bad
    assert "action_net.weight" in refusal(write_zip(tmp_path / "a.zip", state))


@pytest.mark.parametrize("dtype", [torch.int32, torch.float64, torch.bfloat16, torch.complex64])
def test_other_number_types_are_refused_by_name(tmp_path, dtype):
    state = tiny_state()
    state["action_net.weight"] = state["action_net.weight"].to(dtype)
    assert str(dtype) in refusal(write_zip(tmp_path / "a.zip", state))


@pytest.mark.parametrize(
    "policy",
    [[1, 2], {"action_net.weight": "hello"}, {"a": torch.zeros(3).to_sparse()}, torch.zeros(2),
     {"a": torch.zeros(3, device="meta")}],
)  # fmt: skip
def test_a_policy_that_is_no_state_dict_is_refused(tmp_path, policy):
    assert "not a state dict" in refusal(write_zip(tmp_path / "a.zip", policy))


def test_no_state_dict_key_reaches_the_message_unescaped(tmp_path):
    message = refusal(write_zip(tmp_path / "a.zip", {"\x1b[2J\n" * 50: torch.zeros(1)}))
    assert "\x1b" not in message


# Files that mean harm


def test_a_poisoned_policy_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "ran"
    state = tiny_state() | {"bomb": Bomb(marker)}
    assert "nothing in it was run" in refusal(write_zip(tmp_path / "a.zip", state))
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_as_policy_is_refused_and_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    path = write_zip(tmp_path / "a.zip", policy=pickle.dumps(Bomb(marker), protocol))
    assert "is damaged" in refusal(path)
    assert not marker.exists()


def test_a_poisoned_header_is_never_run(tmp_path):
    marker = tmp_path / "ran"
    poison = base64.b64encode(pickle.dumps(Bomb(marker))).decode()
    header = {key: {":type:": "function", ":serialized:": poison} for key in ("lr_schedule", "a")}
    teacher = load_teacher(write_zip(tmp_path / "a.zip", tiny_state(), header=header))
    assert teacher.n_actions == 3
    assert not marker.exists()


@pytest.mark.parametrize("header", ["", "hello", "[]", "[" * 200_000, '{"action_space": 3}'])
def test_a_header_that_means_nothing_is_not_needed(tmp_path, header):
    path = write_zip(tmp_path / "a.zip", tiny_state(), header=header)
    assert load_teacher(path).n_actions == 3


def test_an_oversized_header_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.teacher.MAX_HEADER_BYTES", 1000)
    path = write_zip(tmp_path / "a.zip", tiny_state(), header=" " * 2000 + "{}")
    monkeypatch.setattr("distill.teacher.json.loads", lambda *_, **__: pytest.fail("was read"))
    assert load_teacher(path).n_actions == 3


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("policy.pth", "w") as member,
    ):
        for _ in range(257):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2 * 2**20
    assert "declares policy.pth as 257 MiB" in refusal(path)


def test_a_bomb_that_declares_a_small_size_is_cut_off_there(tmp_path):
    path = write_zip(
        tmp_path / "bomb.zip", policy=bytes(50 * 2**20), compression=zipfile.ZIP_DEFLATED
    )
    true_size, lie = (n.to_bytes(4, "little") for n in (50 * 2**20, 1000))
    content = path.read_bytes()
    assert content.count(true_size) == 2  # in the member's own header and in the directory
    path.write_bytes(content.replace(true_size, lie))
    assert "is damaged" in refusal(path)


def test_a_bomb_inside_policy_pth_is_refused(tmp_path):
    policy = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(as_bytes(tiny_state()))) as plain,
        zipfile.ZipFile(policy, "w", zipfile.ZIP_DEFLATED) as squeezed,
    ):
        for member in plain.infolist():
            squeezed.writestr(member.filename, plain.read(member))
    path = write_zip(tmp_path / "a.zip", policy=policy.getvalue())
    assert "unpack to more than it is" in refusal(path)


def test_a_few_bytes_that_claim_to_be_a_large_tensor_are_refused(tmp_path):
    state = tiny_state() | {"action_net.weight": torch.zeros(1).expand(2**40, 5)}
    assert "numbers in action_net.weight" in refusal(write_zip(tmp_path / "a.zip", state))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_sb3_never_writes_is_refused(tmp_path, compression):
    path = write_zip(tmp_path / "a.zip", tiny_state(), compression=compression)
    assert "compresses policy.pth" in refusal(path)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", tiny_state())
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 1)
    path.write_bytes(content)
    assert "policy.pth cannot be read" in refusal(path)


def test_random_damage_is_refused_or_harmless(tmp_path):
    path, rng = write_zip(tmp_path / "a.zip", OrderedDict(tiny_state())), np.random.default_rng(0)
    whole, messages = path.read_bytes(), []
    directory = whole.rfind(b"PK\x05\x06") - 120
    for _ in range(150):
        content = bytearray(whole)
        content[rng.integers(directory, len(content))] = rng.integers(256)
        path.write_bytes(content)
        try:
            load_teacher(path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(message.startswith(str(path)) for message in messages)


# Finding one


def teacher_file(folder, env, date, steps, record=None):
    path = folder / f"env{env}_{date}_n_iters{steps}.zip"
    path.touch()
    if record is not None:
        path.with_suffix(".json").write_text(json.dumps(record))
    return path


def scored(mean):
    return {"evaluation": {"sampled": {"mean": mean}, "greedy": {"mean": 99}}}


def test_the_latest_teacher_goes_by_date_then_by_steps(tmp_path):
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20260102-000000", 9_000_000)
    teacher_file(tmp_path, "FreewayNoFrameskip-v0", "20260103-000000", 200_000)
    wanted = teacher_file(tmp_path, "FreewayNoFrameskip-v0", "20260103-000000", 1_000_000)
    assert latest_teacher(tmp_path) == wanted


def test_both_spellings_of_the_date_are_compared(tmp_path):
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20240101-120000", 10)
    wanted = teacher_file(tmp_path, "PongNoFrameskip-v4", "20240101_120001", 10)
    assert latest_teacher(tmp_path) == wanted


def test_other_files_are_not_teachers(tmp_path):
    wanted = teacher_file(tmp_path, "PongNoFrameskip-v4", "20240101-120000", 10)
    for name in ("zzz.zip", ".envPong_20990101-000000_n_iters1.77.zip", "envPong_n_iters5.zip"):
        (tmp_path / name).touch()
    (tmp_path / "envPong_20990101-000000_n_iters1.zip").mkdir()
    assert latest_teacher(tmp_path) == wanted


@pytest.mark.parametrize("name", ["", "none"])
def test_no_teacher_at_all_says_how_to_make_one(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"python ppo_teacher\.py 1e7"):
        latest_teacher(tmp_path / name)


def test_the_best_teacher_has_the_highest_sampled_score_of_its_game(tmp_path):
    game = "FreewayNoFrameskip-v0"
    teacher_file(tmp_path, game, "20260101-000000", 10, scored(20.0))
    wanted = teacher_file(tmp_path, game, "20250101-000000", 50, scored(29.5))
    teacher_file(tmp_path, game, "20260103-000000", 20, scored(21.5))
    teacher_file(tmp_path, game, "20260104-000000", 30)
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20260101-000000", 10, scored(100.0))
    assert best_teacher(tmp_path, game) == wanted


@pytest.mark.parametrize(
    "record",
    [None, {}, [], {"evaluation": None}, scored("high"), scored(None), scored(float("nan"))],
)
def test_even_a_losing_score_beats_none_that_can_be_read(tmp_path, record):
    game = "PongNoFrameskip-v4"
    wanted = teacher_file(tmp_path, game, "20260101-000000", 10, scored(-21.0))
    teacher_file(tmp_path, game, "20260102-000000", 10, record)
    assert best_teacher(tmp_path, game) == wanted


def test_without_scores_the_latest_is_best(tmp_path):
    game = "PongNoFrameskip-v4"
    wanted = teacher_file(tmp_path, game, "20260102-000000", 1_000_000)
    teacher_file(tmp_path, game, "20260102-000000", 200_000)
    teacher_file(tmp_path, game, "20260101-000000", 10_000_000)
    assert best_teacher(tmp_path, game) == wanted


def test_a_slash_in_an_id_is_a_dash_in_names(tmp_path):
    wanted = teacher_file(tmp_path, "ALE-Pong-v5", "20260102-000000", 10)
    assert best_teacher(tmp_path, "ALE/Pong-v5") == wanted


def test_no_teacher_of_a_game_names_the_game_and_the_command(tmp_path):
    teacher_file(tmp_path, "PongNoFrameskip-v4", "20260102-000000", 10)
    with pytest.raises(
        FileNotFoundError, match=r"ALE/Qbert-v5 .*python ppo_teacher\.py 1e7 --env ALE/Qbert-v5"
    ):
        best_teacher(tmp_path, "ALE/Qbert-v5")


@pytest.mark.parametrize(
    ("name", "env_id"),
    [
        ("envALE-Pong-v5_20260102-000000_n_iters10.zip", "ALE/Pong-v5"),
        ("envFreewayNoFrameskip-v0_20240102_000000_n_iters10000.zip", "FreewayNoFrameskip-v0"),
        ("my_teacher.zip", None),
    ],
)
def test_the_game_is_read_from_the_name(name, env_id):
    assert env_id_of(Path(name)) == env_id


def test_the_record_beside_a_zip_says_its_game_before_its_name_does(tmp_path):
    record = {"env_id": "ALE/Qbert-v5"}
    assert env_id_of(teacher_file(tmp_path, "Pong", "20260102-000000", 1, record)) == "ALE/Qbert-v5"


@pytest.mark.parametrize("text", ["", "[1]", '{"env_id": 3}', "\x00"])
def test_a_record_that_cannot_be_read_leaves_the_game_to_the_name(tmp_path, text):
    path = teacher_file(tmp_path, "PongNoFrameskip-v4", "20260102-000000", 1)
    path.with_suffix(".json").write_text(text)
    assert env_id_of(path) == "PongNoFrameskip-v4"


def test_reading_a_teacher_needs_no_stable_baselines3(tmp_path):
    path = write_zip(tmp_path / "a.zip", tiny_state())
    code = (
        "import sys; sys.modules['stable_baselines3'] = None\n"
        "from pathlib import Path; from distill.teacher import load_teacher\n"
        f"assert load_teacher(Path({str(path)!r})).n_actions == 3"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
