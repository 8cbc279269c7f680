"""Read the actor out of a stable-baselines3 zip without unpickling anything in it.

`PPO.load` runs whatever code a zip's `data` member holds. Here only `policy.pth` is loaded, by
torch's weights-only reader, and everything about the network is inferred from the weights; `data`
is parsed as plain JSON and may be missing. That reads the zips of SB3 1.3 (2021) to 2.9 alike.
"""

import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.networks import Student
from distill.types import Widths

ALLOWED = (
    "a teacher is a stable-baselines3 PPO or A2C zip with a CnnPolicy"
    " (NatureCNN of any width, 84x84 frames, discrete actions)"
)

# What a file may make us hold in memory, whatever its compression claims.
MAX_POLICY_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 16 * 2**20
MAX_WIDTH = 4096

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
# What zipfile and json raise on damaged or hostile bytes; RuntimeError if encrypted or too deep.
_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)


def read_actor(path: Path, dtype: torch.dtype, *, with_value: bool = False) -> Student:
    """Read encoder and action head of a PPO or A2C zip; runs nothing in it, draws no random number.

    Args:
        path: the zip, its weights in float32 or float16.
        dtype: compute type of the convolutions; weights are float32.
        with_value: read the value head too, which must be on the actor's encoder.

    Raises:
        ValueError: if it is anything else, saying what it is and what is allowed.
    """
    try:
        policy, header = _read_zip(path)
        return _build(_weights(policy, header, with_value=with_value), dtype)
    except ValueError as error:
        raise ValueError(f"{path} {error}; {ALLOWED}") from error


def _read_zip(path: Path) -> tuple[bytes, dict[str, Any]]:
    if not path.is_file():
        raise ValueError("is not a file")
    with path.open("rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except _READ_ERRORS:
            raise ValueError("is not a zip, or not a whole one") from None
        if "policy.pth" not in archive.namelist():
            raise ValueError("holds no policy.pth")
        return _read_member(archive, "policy.pth", MAX_POLICY_BYTES), _read_header(archive)


def _read_member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    info = archive.getinfo(name)
    # Other methods can ask for gigabytes of dictionary before they yield the first byte.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compresses {name} in a way stable-baselines3 never does")
    if info.file_size > max_bytes:
        size = f"{info.file_size / 2**20:,.0f} MiB"
        raise ValueError(f"declares {name} as {size}, over {max_bytes / 2**20:.0f} MiB")
    try:
        with archive.open(info) as member:
            return member.read(max_bytes)  # ends at the declared size, whatever the stream holds
    except _READ_ERRORS:
        raise ValueError(f"is damaged: {name} cannot be read") from None


def _read_header(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return the plain values of `data`, an empty dict if there is none that can be read."""
    try:
        text = _read_member(archive, "data", MAX_HEADER_BYTES)
        header = json.loads(text, object_hook=_drop_pickles)
    except (KeyError, *_READ_ERRORS):  # nothing in it is needed
        return {}
    return header if isinstance(header, dict) else {}


def _drop_pickles(mapping: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != ":serialized:"}


def _load_state(policy: bytes) -> dict[str, Tensor]:
    """Read a state dict's tensors without running what else the bytes may hold."""
    try:
        members = zipfile.ZipFile(io.BytesIO(policy)).infolist()
    except _READ_ERRORS:
        raise ValueError("is damaged: policy.pth is no PyTorch archive") from None
    # torch inflates members without a limit, but never compresses any itself.
    stored = all(m.compress_type == zipfile.ZIP_STORED for m in members)
    if not stored or sum(m.file_size for m in members) > MAX_POLICY_BYTES:
        raise ValueError("has a policy.pth that would unpack to more than it is")
    try:
        state = torch.load(io.BytesIO(policy), map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes make the unpickler raise anything
        raise ValueError(
            "has a policy.pth that is damaged or holds more than weights; nothing in it was run"
        ) from error
    if not isinstance(state, dict) or not all(map(_is_plain, state.values())):
        raise ValueError("has a policy.pth that is not a state dict")
    # detach drops the attributes that a file can hang on a tensor.
    return {str(key): torch.detach(value) for key, value in state.items()}


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and not value.is_nested
        and value.layout == torch.strided
        and value.device.type == "cpu"  # not "meta": shapes without numbers
    )


def _weights(policy: bytes, header: dict[str, Any], *, with_value: bool) -> dict[str, Tensor]:
    """Return the weights asked for under the names that Student gives them, float32."""
    state = _load_state(policy)
    # Copies in SB3 1.7 and later; where actor and critic share nothing, the actor's is this one.
    shared = "pi_features_extractor.cnn.0.weight" not in state
    extractor = "features_extractor" if shared else "pi_features_extractor"
    names = {f"encoder.{layer}": f"{extractor}.{layer}" for layer in _LAYERS}
    names |= {head: head for head in ("action_net", *(["value_net"] if with_value else []))}
    keys = {f"{k}.{part}": f"{v}.{part}" for k, v in names.items() for part in ("weight", "bias")}
    if not all(map(_KNOWN_KEY.fullmatch, state)) or not set(keys.values()) <= set(state):
        raise ValueError(f"is {_kind(state)}{_policy_class(header)}")
    _refuse_by_header(header)
    if with_value and not _shares_encoder(state):
        raise ValueError("has a critic with an encoder of its own")
    return {name: _checked(key, state[key]) for name, key in keys.items()}


def _shares_encoder(state: dict[str, Tensor]) -> bool:
    """Whether actor and critic see the same features; SB3 1.7 and later write copies of a layer."""
    copies = [k for k in state if k.startswith("vf_")]
    return all(torch.equal(state[k], state.get(f"pi_{k[3:]}", state[k])) for k in copies)


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
    """Refuse what has the same weights as a teacher and means something else."""
    space, kwargs = header.get("action_space"), header.get("policy_kwargs")
    name = str(space.get(":type:", "")) if isinstance(space, dict) else ""
    for other in ("MultiDiscrete", "MultiBinary"):
        if other in name:
            raise ValueError(f"has a {other} action space")
    if isinstance(kwargs, dict) and kwargs.get("normalize_images") is False:
        raise ValueError("was trained without scaling of pixels (normalize_images=False)")


def _checked(key: str, weight: Tensor) -> Tensor:
    if weight.dtype not in (torch.float32, torch.float16):
        raise ValueError(f"has {key} in {weight.dtype}, not float32 or float16")
    if weight.numel() > MAX_POLICY_BYTES // 2:  # a stride of 0 makes few bytes a large tensor
        raise ValueError(f"has {weight.numel():,} numbers in {key}")
    weight = weight.float().contiguous()
    if not torch.isfinite(weight).all():
        raise ValueError(f"has {key} with numbers that are not finite")
    return weight


def _build(weights: dict[str, Tensor], dtype: torch.dtype) -> Student:
    """Infer the network's sizes from its weights, and hold every shape against them."""
    sizes = {name: (*weight.shape, 0, 0)[:2] for name, weight in weights.items()}
    widths = Widths(*(sizes[f"encoder.{layer}.weight"][0] for layer in _LAYERS))
    n_stack, n_actions = sizes["encoder.cnn.0.weight"][1], sizes["action_net.weight"][0]
    if not all(1 <= size <= MAX_WIDTH for size in (*widths, n_stack, n_actions)):
        raise ValueError(f"has widths {widths}, {n_stack} frames and {n_actions} actions")
    with torch.device("meta"):  # shapes only: random initial weights would move the caller's seed
        with_value = "value_net.weight" in weights
        network = Student(widths, n_actions, n_stack=n_stack, dtype=dtype, with_value=with_value)
    for name, wanted in network.state_dict().items():
        got = tuple(weights[name].shape)
        if got != tuple(wanted.shape):
            raise ValueError(f"has {name} of shape {got} where NatureCNN has {tuple(wanted.shape)}")
    network.load_state_dict(weights, assign=True)
    return network
