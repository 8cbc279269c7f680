"""What may be read as a teacher, and what is refused."""

import base64
import io
import os
import pickle
import zipfile
from collections import OrderedDict

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn
from zips import as_bytes, saved, stock_model, tiny_state, write_zip

from distill import sb3_zip
from distill.ppo.predecessors import first_step
from distill.sb3_archive import steps_in_header
from distill.sb3_zip import read_actor
from distill.teacher_config import TeacherConfig


class Bomb:
    """Leaves a file behind if it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


# Files that are something else


def refusal(path):
    """The message with which a path is refused: one line that names it and what is allowed."""
    with pytest.raises(ValueError, match=r"stable-baselines3 PPO or A2C zip") as caught:
        read_actor(path, torch.float32)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_stock_zip_says_how_long_it_was_trained(tmp_path):
    model = stock_model(PPO)
    model.num_timesteps = 768
    path = saved(model, tmp_path / "mine.zip")
    assert steps_in_header(path) == 768
    assert first_step(TeacherConfig(init_from=path)) == 768
    named = path.rename(tmp_path / "envPongNoFrameskip-v4_20260102-030405_n_iters500.zip")
    assert first_step(TeacherConfig(init_from=named)) == 500  # as the studies count


@pytest.mark.parametrize("said", [None, True, -1, 3.5, "many"])
def test_a_zip_that_says_nothing_of_its_steps_has_none(tmp_path, said):
    assert steps_in_header(write_zip(tmp_path / "t.zip", tiny_state())) == 0
    path = write_zip(tmp_path / "t.zip", tiny_state(), header={"num_timesteps": said})
    assert steps_in_header(path) == 0


def test_a_directory_is_refused(tmp_path):
    assert "not a file" in refusal(tmp_path)


def test_a_runs_folder_is_refused_with_the_student_in_it(tmp_path):
    for name in ("config.yaml", "student.safetensors", "student_best.safetensors"):
        (tmp_path / name).touch()
    hint = "is not a file, but a folder with student.safetensors, student_best.safetensors; "
    assert hint in refusal(tmp_path)
    for step in range(3):
        (tmp_path / f"a{step}.zip").touch()
    assert "with a0.zip, a1.zip, a2.zip ...; " in refusal(tmp_path)


def test_a_student_is_refused_as_one(tmp_path):
    path = tmp_path / "student.safetensors"
    path.write_bytes(bytes(100))
    assert f"{path} is a student; a teacher is a " in refusal(path)


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


class TanhCNN(NatureCNN):
    """NatureCNN's weights, and other features."""

    def __init__(self, observation_space, features_dim=512):
        super().__init__(observation_space, features_dim)
        self.cnn = nn.Sequential(*(nn.Tanh() if i % 2 else m for i, m in enumerate(self.cnn)))


@pytest.mark.parametrize("net_arch", [[], None])
def test_features_of_its_own_are_refused_though_its_weights_fit(tmp_path, net_arch):
    kwargs = {"features_extractor_class": TanhCNN, "net_arch": net_arch}
    path = saved(stock_model(PPO, policy_kwargs=kwargs), tmp_path / "tanh.zip")
    assert "has a features extractor of its own" in refusal(path)
    assert "TanhCNN" in refusal(path)


def test_naming_the_usual_features_changes_nothing(tmp_path):
    kwargs = {"features_extractor_class": NatureCNN}
    path = saved(stock_model(PPO, policy_kwargs=kwargs), tmp_path / "named.zip")
    assert read_actor(path, torch.float32).n_actions == 3


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
    path = write_zip(tmp_path / "a.zip", tiny_state(), header=header)
    assert read_actor(path, torch.float32).n_actions == 3
    assert not marker.exists()


@pytest.mark.parametrize("header", ["", "hello", "[]", "[" * 200_000, '{"action_space": 3}'])
def test_a_header_that_means_nothing_is_not_needed(tmp_path, header):
    path = write_zip(tmp_path / "a.zip", tiny_state(), header=header)
    assert read_actor(path, torch.float32).n_actions == 3


def test_an_oversized_header_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.sb3_archive.MAX_HEADER_BYTES", 1000)
    path = write_zip(tmp_path / "a.zip", tiny_state(), header=" " * 2000 + "{}")
    monkeypatch.setattr("distill.sb3_archive.json.loads", lambda *_, **__: pytest.fail("was read"))
    assert read_actor(path, torch.float32).n_actions == 3


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


def test_layers_that_are_large_together_are_refused_before_any_is_copied(monkeypatch, tmp_path):
    state = {key: torch.zeros(1).expand(100) for key in tiny_state()}
    path = write_zip(tmp_path / "a.zip", state)
    monkeypatch.setattr(sb3_zip, "MAX_POLICY_BYTES", 2 * 100)  # each alone is within it
    monkeypatch.setattr(sb3_zip, "_checked", None)
    assert "numbers in" in refusal(path)
    assert "and the other layers" in refusal(path)


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
            read_actor(path, torch.float32)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(message.startswith(str(path)) for message in messages)
