"""Teachers: read a stable-baselines3 zip without unpickling it, label observations, find zips.

`PPO.load` runs whatever code a zip's `data` member holds. Here only `policy.pth` is loaded, by
torch's weights-only reader, and everything about the network is inferred from the weights; `data`
is parsed as plain JSON and may be missing. That reads the zips of SB3 1.3 (2021) to 2.9 alike.
"""

import io
import json
import math
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.networks import BLOCK, N_PIXELS, Student
from distill.types import Widths

COMMAND = "python ppo_teacher.py 1e7"
ALLOWED = (
    "a teacher is a stable-baselines3 PPO or A2C zip with a CnnPolicy"
    " (NatureCNN of any width, 84x84 frames, discrete actions)"
)
CPU = torch.device("cpu")
CHUNK_SIZE = 1024  # observations labeled at once: 0.3 GiB for a NatureCNN in float32

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
_NAME = re.compile(
    r"env(?P<env>.+)_(?P<day>\d{8})[-_](?P<time>\d{6})_n_iters(?P<steps>\d+)\.zip", re.ASCII
)


class NetworkTeacher:
    """A teacher that is a NatureCNN of some width; implements the Teacher protocol.

    Attributes:
        n_actions: actions it chooses from.
        n_stack: frames it sees.
        widths: of its network.
        network: encoder and action head.
        path: file it was read from, if any.
    """

    def __init__(
        self, network: Student, *, path: Path | None = None, chunk_size: int = CHUNK_SIZE
    ) -> None:
        self.network, self.path, self._chunk_size = network, path, chunk_size
        self.n_actions, self.n_stack = network.n_actions, network.encoder.n_stack
        self.widths = network.encoder.widths

    def logits(self, obs: Tensor) -> Tensor:
        """Answer observations with action logits; any number takes the memory of `chunk_size`.

        Args:
            obs: uint8 (B, S, 84, 84) or packed (B, 21, 21, 16 S), on any device.

        Returns:
            float32 logits (B, A), on the teacher's device.

        Raises:
            ValueError: if the observations stack another number of frames than the teacher sees.
        """
        n_stack = obs.shape[1] if obs.shape[-1] == N_PIXELS else obs.shape[-1] // BLOCK**2
        if n_stack != self.n_stack:
            raise ValueError(f"the teacher sees {self.n_stack} stacked frames, got {n_stack}")
        device = self.network.action_net.weight.device
        # Not inference_mode: losses keep these targets for their backward pass.
        with torch.no_grad():
            parts = obs.split(self._chunk_size)
            return torch.cat([self.network.logits(part.to(device)) for part in parts])


def load_teacher(
    path: Path, *, device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> NetworkTeacher:
    """Read the actor of a PPO or A2C zip; runs nothing in the file and draws no random number.

    Args:
        path: a zip that stable-baselines3 or this project wrote, weights in float32 or float16.
        device: where it answers.
        dtype: compute type of the convolutions; weights and logits are float32.

    Raises:
        FileNotFoundError: if there is no such file, with the command that makes one.
        ValueError: if it is anything but a teacher, saying what it is and what is allowed.
    """
    if not path.exists():
        raise FileNotFoundError(f"no teacher at {path}: make one with `{COMMAND}`")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; {ALLOWED}")
    try:
        policy, header = _read_zip(path)
        network = _build(_actor_weights(policy, header), dtype)
    except ValueError as error:
        raise ValueError(f"{path} {error}; {ALLOWED}") from error
    # A teacher never learns; an optimizer given its parameters by mistake would fail at once.
    return NetworkTeacher(network.eval().requires_grad_(False).to(device), path=path)


def _read_zip(path: Path) -> tuple[bytes, dict[str, Any]]:
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


def _actor_weights(policy: bytes, header: dict[str, Any]) -> dict[str, Tensor]:
    """Return the actor's weights under the names that Student gives them, float32."""
    state = _load_state(policy)
    # Copies in SB3 1.7 and later; where actor and critic share nothing, the actor's is this one.
    shared = "pi_features_extractor.cnn.0.weight" not in state
    extractor = "features_extractor" if shared else "pi_features_extractor"
    names = {f"encoder.{layer}": f"{extractor}.{layer}" for layer in _LAYERS}
    names["action_net"] = "action_net"
    keys = {f"{k}.{part}": f"{v}.{part}" for k, v in names.items() for part in ("weight", "bias")}
    if not all(map(_KNOWN_KEY.fullmatch, state)) or not set(keys.values()) <= set(state):
        raise ValueError(f"is {_kind(state)}{_policy_class(header)}")
    _refuse_by_header(header)
    return {name: _checked(key, state[key]) for name, key in keys.items()}


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
        network = Student(widths, n_actions, n_stack=n_stack, dtype=dtype)
    for name, wanted in network.state_dict().items():
        got = tuple(weights[name].shape)
        if got != tuple(wanted.shape):
            raise ValueError(f"has {name} of shape {got} where NatureCNN has {tuple(wanted.shape)}")
    network.load_state_dict(weights, assign=True)
    return network


def check_fits(teacher: NetworkTeacher, env_id: str, n_actions: int) -> None:
    """Check that a teacher chooses from a game's actions.

    Raises:
        ValueError: otherwise, naming both numbers.
    """
    if teacher.n_actions != n_actions:
        name = teacher.path or "the teacher"
        raise ValueError(
            f"{name} chooses from {teacher.n_actions} actions, but {env_id} has {n_actions};"
            " a teacher must come from a game with the same actions"
        )


def latest_teacher(folder: Path) -> Path:
    """Return the zip with the latest date in its name, of those the one with the most steps.

    Raises:
        FileNotFoundError: if there is none, with the command that makes one.
    """
    found = _teachers_in(folder)
    if not found:
        raise FileNotFoundError(f"no teacher in {folder}: make one with `{COMMAND}`")
    return max(found, key=_age)


def best_teacher(folder: Path, env_id: str) -> Path:
    """Return the game's zip with the highest sampled score in its .json, else the latest.

    Raises:
        FileNotFoundError: if the game has none, with the command that makes one.
    """
    wanted = env_id.replace("/", "-")
    found = [path for path in _teachers_in(folder) if _named(path)["env"] == wanted]
    if not found:
        command = f"{COMMAND} --env {env_id}"
        raise FileNotFoundError(f"no teacher of {env_id} in {folder}: make one with `{command}`")
    return max(found, key=lambda path: (_sampled_score(path), *_age(path)))


def env_id_of(path: Path) -> str | None:
    """Return the game a teacher was trained on, from the .json beside it, else from its name."""
    record = _read_record(path)
    if isinstance(record.get("env_id"), str):
        return record["env_id"]
    match = _NAME.fullmatch(path.name)
    return re.sub(r"^ALE-", "ALE/", match["env"]) if match else None


def _teachers_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.zip") if path.is_file() and _NAME.fullmatch(path.name)]


def _named(path: Path) -> re.Match[str]:
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return match


def _age(path: Path) -> tuple[str, str, int]:
    match = _named(path)
    return match["day"], match["time"], int(match["steps"])


def _sampled_score(path: Path) -> float:
    try:
        mean = float(_read_record(path)["evaluation"]["sampled"]["mean"])
    except (KeyError, TypeError, ValueError):
        return -math.inf
    return mean if math.isfinite(mean) else -math.inf


def _read_record(path: Path) -> dict[str, Any]:
    """Return the .json beside a zip, an empty dict if there is none that can be read."""
    try:
        record = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
