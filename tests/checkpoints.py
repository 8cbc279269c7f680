"""Small checkpoints that play, for several test files."""

import torch
from zips import tiny_state, write_zip

from distill.networks import ActorCritic
from distill.student_files import save_student
from distill.types import WIDTHS

PONG, FREEWAY = "PongNoFrameskip-v4", "FreewayNoFrameskip-v0"
TEACHER = f"env{PONG}_20260102-030405_n_iters10000.zip"


def make_student(path, n_actions=6, *, env_id: str | None = PONG, action=None, seed=0, n_stack=4):
    """Write a student of random weights; with `action`, one that always takes that action."""
    torch.manual_seed(seed)
    student = ActorCritic(WIDTHS["0.1pct"], n_actions, n_stack=n_stack)
    if action is not None:
        torch.nn.init.zeros_(student.action_net.weight)
        student.action_net.bias.data[action] = 50.0
    path.parent.mkdir(parents=True, exist_ok=True)
    save_student(path, student, {} if env_id is None else {"env_id": env_id})
    return path


def make_teacher(path, n_actions=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_zip(path, tiny_state(n_actions=n_actions))
