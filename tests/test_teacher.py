"""Labels against stable-baselines3's own, and which of the zips in a folder is taken."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from zips import DISCRETE3, TINY, as_bytes, saved, stock_model, tiny_state, write_zip

from distill.networks import ActorCritic, pack
from distill.ppo.fast_policy import FastCnnPolicy, policy_kwargs
from distill.ppo.sb3 import export_zip, observation_space
from distill.teacher import FrozenPolicy, check_fits, load_teacher
from distill.types import WIDTHS


def give_opinions(policy):
    """Spread the action head's weights, which SB3 draws close to zero."""
    with torch.no_grad():
        policy.action_net.weight.normal_(std=0.5)


def frames(n, n_stack=4, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (n, n_stack, 84, 84), np.uint8)
    )


def sb3_logits(policy, obs):
    """What SB3 itself answers, normalized: its distribution stores log-probabilities."""
    with torch.no_grad():
        return policy.get_distribution(obs).distribution.logits


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


@pytest.fixture(scope="session")
def stock(tmp_path_factory):
    """A PPO with opinions, as stock SB3 builds and saves it: the model and its zip."""
    model = stock_model(PPO)
    give_opinions(model.policy)
    return model, saved(model, tmp_path_factory.mktemp("stock") / "stock.zip")


# Labels


def test_logits_equal_sb3s_own_on_a_stock_zip(stock):
    model, path = stock
    assert_same_answers(load_teacher(path), model, 4, 3)


@pytest.mark.parametrize(
    ("algorithm", "n_stack", "n_actions"), [(PPO, 1, 18), (A2C, 4, 6), (A2C, 1, 4)]
)
def test_logits_equal_sb3s_own_for_other_stacks_and_actions(
    tmp_path, algorithm, n_stack, n_actions
):
    model = stock_model(algorithm, (n_stack, 84, 84), gymnasium.spaces.Discrete(n_actions))
    give_opinions(model.policy)
    teacher = load_teacher(saved(model, tmp_path / "stock.zip"))
    assert_same_answers(teacher, model, n_stack, n_actions)


def assert_same_answers(teacher, model, n_stack, n_actions):
    obs = frames(5, n_stack)
    assert (teacher.n_actions, teacher.n_stack) == (n_actions, n_stack)
    assert teacher.widths == WIDTHS["nature"]
    logits = teacher.logits(obs)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(
        logits.log_softmax(1), sb3_logits(model.policy, obs), rtol=0, atol=2e-5
    )


def test_a_zip_without_the_copies_of_sb3_1_7_reads_the_same(stock):
    _, path = stock
    old = edited(
        path, lambda state: {k: v for k, v in state.items() if k[:3] not in ("pi_", "vf_")}
    )
    obs = frames(2)
    assert torch.equal(load_teacher(old).logits(obs), load_teacher(path).logits(obs))


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
    network = ActorCritic(TINY, 3)
    seen = []
    network.encoder.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    obs = frames(7)
    whole = FrozenPolicy(network).logits(obs)
    chunked = FrozenPolicy(network, chunk_size=3).logits(obs)
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
    network = ActorCritic(TINY, 3)
    FrozenPolicy(network).logits(frames(1))
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


def test_a_missing_path_says_how_to_make_a_teacher(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.zip.*python ppo_teacher\.py 1e7"):
        load_teacher(tmp_path / "none.zip")


def test_a_file_that_is_no_teacher_is_refused(tmp_path):
    path = tmp_path / "teacher.zip"
    path.write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"teacher\.zip is not a zip.*; a teacher is a stable"):
        load_teacher(path)


def test_reading_a_teacher_needs_no_stable_baselines3(tmp_path):
    path = write_zip(tmp_path / "a.zip", tiny_state())
    code = (
        "import sys; sys.modules['stable_baselines3'] = None\n"
        "from pathlib import Path; from distill.teacher import load_teacher\n"
        f"assert load_teacher(Path({str(path)!r})).n_actions == 3"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
