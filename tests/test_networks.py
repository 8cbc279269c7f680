"""The fast forward pass against the textbook's, and the sizes that the literature gives."""

import pytest
import torch
from torch import Tensor, nn

from distill.networks import ActorCritic, Encoder, n_actor_parameters, n_parameters, pack
from distill.types import WIDTHS, Widths, parse_widths


def random_obs(n: int = 3, n_stack: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, n_stack, 84, 84), generator=generator, dtype=torch.uint8)


def plain_nature_cnn(encoder: Encoder) -> nn.Sequential:
    """Build the textbook's network, NCHW float32 on pixels from 0 to 1, with the same weights."""
    c1, c2, c3, fc = encoder.widths
    plain = nn.Sequential(
        *(nn.Conv2d(encoder.n_stack, c1, 8, stride=4), nn.ReLU()),
        *(nn.Conv2d(c1, c2, 4, stride=2), nn.ReLU()),
        *(nn.Conv2d(c2, c3, 3, stride=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(7 * 7 * c3, fc), nn.ReLU()),
    )
    with torch.no_grad():  # copying is no part of what is trained
        for ours, theirs in zip(encoder.parameters(), plain.parameters(), strict=True):
            theirs.copy_(ours)
    return plain


def gradients(network: nn.Module, features: Tensor) -> list[Tensor]:
    """Differentiate a loss that weighs every feature differently."""
    weight = torch.linspace(-1, 1, features.numel()).view_as(features)
    return list(torch.autograd.grad((weight * features).sum(), list(network.parameters())))


@pytest.fixture(params=[(name, n_stack) for name in WIDTHS for n_stack in (1, 4)], ids=str)
def encoder(request) -> Encoder:
    name, n_stack = request.param
    torch.manual_seed(1)  # with which no network is dead
    return Encoder(WIDTHS[name], n_stack)


@pytest.mark.parametrize("prepare", [lambda obs: obs, pack], ids=["raw", "packed"])
def test_features_equal_the_plain_networks(encoder, prepare):
    obs = random_obs(n_stack=encoder.n_stack)
    features = encoder(prepare(obs))
    expected = plain_nature_cnn(encoder)(obs.float() / 255)
    assert features.dtype == torch.float32
    assert expected.any()
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prepare", [lambda obs: obs, pack], ids=["raw", "packed"])
def test_gradients_of_every_parameter_equal_the_plain_networks(encoder, prepare):
    obs = random_obs(n_stack=encoder.n_stack)
    plain = plain_nature_cnn(encoder)
    expected = gradients(plain, plain(obs.float() / 255))
    for ours, theirs in zip(gradients(encoder, encoder(prepare(obs))), expected, strict=True):
        assert theirs.any()
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_bfloat16_features_and_gradients_stay_near_those_of_float32():
    torch.manual_seed(0)
    encoder = Encoder(WIDTHS["net3"])
    coarse = Encoder(WIDTHS["net3"], dtype=torch.bfloat16)
    coarse.load_state_dict(encoder.state_dict())
    obs = random_obs()
    features = coarse(obs)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, encoder(obs), rtol=0.05, atol=0.02)
    expected = gradients(encoder, encoder(obs))
    for ours, theirs in zip(gradients(coarse, features), expected, strict=True):
        assert ours.dtype == torch.float32  # the parameters' own
        assert (ours - theirs).norm() < 0.2 * theirs.norm()


def test_pack_puts_pixel_r_c_of_a_block_into_channel_frame_r_c():
    # Every value tells its place modulo 251, a prime: neighbors in no direction agree.
    obs = (torch.arange(2 * 4 * 84 * 84) % 251).to(torch.uint8).view(2, 4, 84, 84)
    packed = pack(obs)
    assert packed.shape == (2, 21, 21, 64)
    for frame in range(4):
        for r in range(4):
            for c in range(4):
                channel = packed[..., 16 * frame + 4 * r + c]
                assert torch.equal(channel, obs[:, frame, r::4, c::4])


def test_pack_reads_observations_of_any_memory_layout():
    obs = random_obs().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert not obs.is_contiguous()
    assert torch.equal(pack(obs), pack(obs.contiguous()))


def test_float_observations_are_refused():
    with pytest.raises(AssertionError, match="float32"):
        Encoder(WIDTHS["net3"])(random_obs().float())


# --- sizes: Rusu et al. 2015, table 2, and what follows from their widths ---


@pytest.mark.parametrize(
    ("name", "at_18_actions", "at_3_actions", "at_6_actions"),
    [
        ("nature", 1_693_362, 1_685_667, 1_687_206),
        ("net1", 427_874, 424_019, 424_790),
        ("net2", 113_346, 111_411, 111_798),
        ("net3", 61_954, 60_979, 61_174),
        ("1pct", 16_842, 16_347, 16_446),
        ("0.3pct", 4_894, 4_639, 4_690),
        ("0.1pct", 1_572, 1_437, 1_464),
    ],
)
def test_an_actor_has_the_known_number_of_parameters(
    name, at_18_actions, at_3_actions, at_6_actions
):
    assert n_actor_parameters(ActorCritic(WIDTHS[name], 18, with_value=True)) == at_18_actions
    assert n_actor_parameters(ActorCritic(WIDTHS[name], 3, with_value=True)) == at_3_actions
    assert n_actor_parameters(ActorCritic(WIDTHS[name], 6)) == at_6_actions


def test_a_value_head_adds_a_weight_a_feature_and_a_bias():
    with_value = n_parameters(ActorCritic(WIDTHS["nature"], 18, with_value=True))
    assert with_value == 1_693_362 + 512 + 1


# --- students ---


def test_a_value_head_leaves_the_other_weights_as_they_were():
    torch.manual_seed(0)
    without = ActorCritic(WIDTHS["net3"], 6).state_dict()
    torch.manual_seed(0)
    with_value = ActorCritic(WIDTHS["net3"], 6, with_value=True).state_dict()
    assert set(with_value) - set(without) == {"value_net.weight", "value_net.bias"}
    assert all(torch.equal(with_value[name], tensor) for name, tensor in without.items())
    assert not with_value["value_net.weight"].any()  # it knows of no state


def test_logits_are_the_action_heads_answer_to_the_features():
    torch.manual_seed(0)
    student = ActorCritic(WIDTHS["net3"], 6)
    logits = student.logits(random_obs())
    assert logits.shape == (3, 6)
    head = student.action_net
    expected = student.encoder(random_obs()) @ head.weight.T + head.bias
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)


def test_values_are_one_number_a_sample():
    student = ActorCritic(WIDTHS["net3"], 6, with_value=True)
    assert student.value(student.encoder(random_obs())).shape == (3,)


# --- names of networks ---


@pytest.mark.parametrize("name", WIDTHS)
def test_the_name_of_a_network_reads_back(name):
    assert parse_widths(name) == WIDTHS[name]
    assert str(WIDTHS[name]) == name


def test_four_numbers_are_widths_too():
    assert parse_widths("8,16,16,32") == Widths(8, 16, 16, 32)
    assert str(Widths(8, 16, 16, 32)) == "8,16,16,32"


@pytest.mark.parametrize(
    "text",
    ["", "net4", "Nature", "8,8,8", "8,8,8,8,8", "0,8,8,8", "8,8,8,-1", "8,8,8,4097", "8,8,8,1.5"],
)
def test_other_names_are_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"nature.*C1,C2,C3,FC"):
        parse_widths(text)
