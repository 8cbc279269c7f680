"""Students as safetensors: what is kept, and what is refused in one clear line."""

import json
import struct

import pytest
import torch
from fakes import CPU, TINY
from safetensors.torch import save_file

from distill.networks import ActorCritic
from distill.student_files import load_student, save_student
from distill.types import WIDTHS, Widths

METADATA = {"teacher": "expert.zip", "env_id": "PongNoFrameskip-v4", "steps": "700", "score": "6"}


def frames(n_stack=4):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (16, n_stack, 84, 84), dtype=torch.uint8, generator=rng)


@pytest.fixture
def path(tmp_path):
    """A student with 3 actions on disk."""
    torch.manual_seed(0)
    save_student(tmp_path / "student.safetensors", ActorCritic(TINY, 3), METADATA)
    return tmp_path / "student.safetensors"


@pytest.mark.parametrize("n_stack", [4, 1])
@pytest.mark.parametrize("widths", [TINY, WIDTHS["net3"], Widths(3, 5, 7, 11)])
def test_a_student_read_back_answers_to_the_bit_as_it_did(tmp_path, widths, n_stack):
    student = ActorCritic(widths, 6, n_stack=n_stack)
    save_student(tmp_path / "s.safetensors", student, METADATA)
    copy, metadata = load_student(tmp_path / "s.safetensors", device=CPU)
    obs = frames(n_stack)
    with torch.no_grad():
        assert torch.equal(copy.logits(obs), student.logits(obs))
    assert copy.encoder.widths == widths
    assert (copy.n_actions, copy.encoder.n_stack) == (6, n_stack)
    assert METADATA.items() <= metadata.items()


def test_a_student_can_compute_in_another_type_than_it_was_saved_in(path):
    copy, _ = load_student(path, device=CPU, dtype=torch.bfloat16)
    exact, _ = load_student(path, device=CPU)
    with torch.no_grad():
        answers = copy.logits(frames())
    assert copy.encoder.dtype == torch.bfloat16
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, exact.logits(frames()).detach(), rtol=0.05, atol=0.05)


def test_the_value_head_is_dropped_and_the_rest_kept(tmp_path):
    student = ActorCritic(TINY, 3, with_value=True)
    save_student(tmp_path / "s.safetensors", student, {})
    copy, _ = load_student(tmp_path / "s.safetensors", device=CPU)
    assert copy.value_net is None
    names = {name for name in student.state_dict() if not name.startswith("value_net")}
    assert set(copy.state_dict()) == names
    with torch.no_grad():
        assert torch.equal(copy.logits(frames()), student.logits(frames()))


def test_construction_cannot_be_overwritten_by_other_metadata(tmp_path):
    save_student(tmp_path / "s.safetensors", ActorCritic(TINY, 3), {"n_actions": "18"})
    assert load_student(tmp_path / "s.safetensors", device=CPU)[0].n_actions == 3


def test_saving_a_student_leaves_it_as_it_was(path):
    student = ActorCritic(TINY, 3, with_value=True).train()
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    save_student(path, student, METADATA)
    assert student.training
    torch.testing.assert_close(student.state_dict(), before, rtol=0, atol=0)


def test_a_student_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot write"):
        save_student(tmp_path / "run" / "s.safetensors", ActorCritic(TINY, 3), METADATA)


# What is refused


def refusal(path, kind: type[Exception] = ValueError):
    with pytest.raises(kind) as error:
        load_student(path, device=CPU)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_a_missing_file_or_a_folder_is_refused_with_the_command_that_makes_one(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        assert "python scripts/run_distillation.py" in refusal(path, FileNotFoundError)


def test_random_damage_is_refused_or_harmless(path):
    good = path.read_bytes()
    n_header = 8 + struct.unpack("<Q", good[:8])[0]
    for n_bytes in (0, 1, 7, 8, 100, n_header, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:n_bytes])
        assert "is not a student of this program" in refusal(path)
    for content in (b"a text", b"\x00" * 500, good + b"more", good[8:]):
        path.write_bytes(content)
        assert "is not a student of this program" in refusal(path)


def rewritten(path, *, tensors=None, **changes):
    """Write the student anew with other metadata or tensors; None drops an entry."""
    construction = {"widths": "2,2,2,8", "n_actions": "3", "n_stack": "4"}
    metadata = {k: v for k, v in (METADATA | construction | changes).items() if v is not None}
    save_file(ActorCritic(TINY, 3).state_dict() | (tensors or {}), path, metadata)
    return path


def test_the_file_that_the_refusals_start_from_is_accepted(path):
    assert load_student(rewritten(path), device=CPU)[0].n_actions == 3


@pytest.mark.parametrize("name", ["widths", "n_actions", "n_stack"])
@pytest.mark.parametrize("value", [None, "", "many", "2.5", "-1", "0", "99999999999999"])
def test_a_construction_that_is_missing_or_makes_no_sense_is_refused(path, name, value):
    message = refusal(rewritten(path, **{name: value}))
    assert name in message


def test_weights_of_another_construction_are_refused_by_name(path):
    assert "action_net" in refusal(rewritten(path, n_actions="4"))
    assert "cnn" in refusal(rewritten(path, n_stack="1"))
    assert "lstm.weight" in refusal(rewritten(path, tensors={"lstm.weight": torch.zeros(3)}))


def test_reading_a_student_draws_no_random_number_and_survives_its_file(path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    student, _ = load_student(path, device=CPU)
    assert torch.equal(torch.rand(1), expected)
    before = student.action_net.weight.clone()
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert torch.equal(student.action_net.weight, before)


def test_weights_that_are_not_finite_are_refused(path):
    bad = {"action_net.bias": torch.tensor([0.0, float("nan"), 0.0])}
    assert "action_net.bias" in refusal(rewritten(path, tensors=bad))


def test_a_foreign_safetensors_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for metadata in (None, {}, {"format": "pt"}):
        save_file({"model.embed_tokens.weight": torch.zeros(10, 4)}, path, metadata)
        assert "is not a student of this program" in refusal(path)


def test_a_huge_header_is_refused_without_being_read(path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    refusal(path)
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refusal(path)
