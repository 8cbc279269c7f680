"""Read the actor out of a stable-baselines3 zip without unpickling anything in it.

`PPO.load` runs whatever code a zip's `data` member holds. Here (`distill/sb3_archive.py`) only
weights are loaded, and everything about the network is inferred from them. That reads the zips of
SB3 1.3 (2021) to 2.9 alike.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.networks import ActorCritic
from distill.sb3_archive import MAX_POLICY_BYTES, read_archive
from distill.types import MAX_WIDTH, Widths

ALLOWED = (
    "a teacher is a stable-baselines3 PPO or A2C zip with a CnnPolicy"
    " (NatureCNN of any width, 84x84 frames, discrete actions)"
)

_LAYERS = ("cnn.0", "cnn.2", "cnn.4", "linear.0")
_KNOWN_KEY = re.compile(
    r"((pi_|vf_)?features_extractor\.(cnn\.[024]|linear\.0)|action_net|value_net)\.(weight|bias)"
)
# First match wins; all that SB3 and its contrib package write beside actor-critic CNNs.
_KINDS = {
    r"q_net\.": "a DQN",
    r"quantile_net\.": "a QR-DQN",
    r"(actor|critic)\.": "a SAC, TD3 or DDPG network",
    r"lstm_": "a recurrent policy",
    r"log_std": "a policy for continuous actions",
    r"features_extractor\.extractors\.": "a policy for dictionary observations",
}


def read_actor(path: Path, dtype: torch.dtype, *, with_value: bool = False) -> ActorCritic:
    """Read encoder and action head of a PPO or A2C zip; runs nothing in it, draws no random number.

    Args:
        path: the zip, its weights in float32 or float16.
        dtype: compute type of the encoder; weights are float32.
        with_value: read the value head too, which must be on the actor's encoder.

    Raises:
        ValueError: if it is anything else, saying what it is and what is allowed.
    """
    try:
        state, header = read_archive(path)
        return _build(_weights(state, header, with_value=with_value), dtype)
    except ValueError as error:
        raise ValueError(f"{path} {error}; {ALLOWED}") from error


def _weights(
    state: dict[str, Tensor], header: dict[str, Any], *, with_value: bool
) -> dict[str, Tensor]:
    """Return the weights asked for under the names that ActorCritic gives them, float32."""
    # Copies in SB3 1.7 and later; where actor and critic share nothing, the actor's is this one.
    shared = "pi_features_extractor.cnn.0.weight" not in state
    extractor = "features_extractor" if shared else "pi_features_extractor"
    names = {f"encoder.{layer}": f"{extractor}.{layer}" for layer in _LAYERS}
    names |= {head: head for head in ("action_net", *(["value_net"] if with_value else []))}
    keys = {f"{k}.{part}": f"{v}.{part}" for k, v in names.items() for part in ("weight", "bias")}
    _refuse_by_header(header)
    if not all(map(_KNOWN_KEY.fullmatch, state)) or not set(keys.values()) <= set(state):
        raise ValueError(f"is {_kind(state)}{_policy_class(header)}")
    if with_value and not _shares(state, extractor):
        raise ValueError("has a critic with an encoder of its own")
    n_numbers = {key: state[key].numel() for key in keys.values()}
    largest = max(n_numbers, key=n_numbers.__getitem__)
    _refuse_large(sum(n_numbers.values()), f"{largest} and the other layers")
    return {name: _checked(key, state[key]) for name, key in keys.items()}


def _shares(state: dict[str, Tensor], extractor: str) -> bool:
    """Whether the critic sees the actor's features; its layers are copies, if they are there."""
    critic = "vf_features_extractor"
    own = {k: k.replace(critic, extractor) for k in state if k.startswith(critic)}
    return all(torch.equal(_checked(k, state[k]), _checked(v, state[v])) for k, v in own.items())


def _kind(state: dict[str, Tensor]) -> str:
    """Name a network that is not an actor-critic NatureCNN."""
    for pattern, kind in _KINDS.items():
        if any(re.match(pattern, key) for key in state):
            return kind
    if any(key.startswith("mlp_extractor.") for key in state):
        has_cnn = "features_extractor.cnn.0.weight" in state
        return "a CNN with hidden layers before its heads (net_arch)" if has_cnn else "an MLP"
    odd = [key for key in state if not _KNOWN_KEY.fullmatch(key)]
    return f"a network with {odd[0][:60]!r}" if odd else "not an actor-critic with all its layers"


def _policy_class(header: dict[str, Any]) -> str:
    found = header.get("policy_class")
    module = found.get("__module__") if isinstance(found, dict) else None
    known = isinstance(module, str) and re.fullmatch(r"[\w.]{1,80}", module)
    return f" (its policy class is in {module})" if known else ""


def _refuse_by_header(header: dict[str, Any]) -> None:
    """Refuse what may have the same weights as a teacher and means something else."""
    space, kwargs = header.get("action_space"), header.get("policy_kwargs")
    name = str(space.get(":type:", "")) if isinstance(space, dict) else ""
    for other in ("MultiDiscrete", "MultiBinary"):
        if other in name:
            raise ValueError(f"has a {other} action space")
    if not isinstance(kwargs, dict):
        return
    if kwargs.get("normalize_images") is False:
        raise ValueError("was trained without scaling of pixels (normalize_images=False)")
    extractor = str(kwargs.get("features_extractor_class", ""))
    if extractor and not extractor.endswith("torch_layers.NatureCNN'>"):
        raise ValueError(f"has a features extractor of its own, {extractor[:80]!r}")


def _refuse_large(n_numbers: int, where: str) -> None:
    """Refuse more numbers than a file may hold: a stride of 0 makes few bytes a large tensor."""
    if n_numbers > MAX_POLICY_BYTES // 2:
        raise ValueError(f"has {n_numbers:,} numbers in {where}")


def _checked(key: str, weight: Tensor) -> Tensor:
    if weight.dtype not in (torch.float32, torch.float16):
        raise ValueError(f"has {key} in {weight.dtype}, not float32 or float16")
    _refuse_large(weight.numel(), key)
    weight = weight.float().contiguous()
    if not torch.isfinite(weight).all():
        raise ValueError(f"has {key} with numbers that are not finite")
    return weight


def _build(weights: dict[str, Tensor], dtype: torch.dtype) -> ActorCritic:
    """Infer the network's sizes from its weights, and hold every shape against them."""
    sizes = {name: (*weight.shape, 0, 0)[:2] for name, weight in weights.items()}
    widths = Widths(*(sizes[f"encoder.{layer}.weight"][0] for layer in _LAYERS))
    n_stack, n_actions = sizes["encoder.cnn.0.weight"][1], sizes["action_net.weight"][0]
    if not all(1 <= size <= MAX_WIDTH for size in (*widths, n_stack, n_actions)):
        raise ValueError(f"has widths {widths}, {n_stack} frames and {n_actions} actions")
    with torch.device("meta"):  # shapes only: random initial weights would move the caller's seed
        with_value = "value_net.weight" in weights
        network = ActorCritic(
            widths, n_actions, n_stack=n_stack, dtype=dtype, with_value=with_value
        )
    for name, wanted in network.state_dict().items():
        got = tuple(weights[name].shape)
        if got != tuple(wanted.shape):
            raise ValueError(f"has {name} of shape {got} where NatureCNN has {tuple(wanted.shape)}")
    network.load_state_dict(weights, assign=True)
    return network
