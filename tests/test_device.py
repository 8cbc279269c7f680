"""The machine under the program."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from forked import ROOT

from distill import device
from distill.device import (
    DEVICES,
    describe_machine,
    has_native_bfloat16,
    prepare_process,
    resolve_device,
    resolve_precision,
)
from distill.study.naming import sets_apart, was_float32

CPU = torch.device("cpu")


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_a_gpu_the_device_is_the_cpu(without_gpu, name):
    assert resolve_device(name) == CPU


def test_auto_takes_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(without_gpu, name):
    with pytest.raises(ValueError, match=f"--device {name} is not available here; there is: cpu"):
        resolve_device(name)


def test_every_name_of_a_device_is_known(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert {resolve_device(name).type for name in DEVICES} == {"cpu", "cuda", "mps"}


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_computes_in_bfloat16_only_where_it_is_native(monkeypatch, native, expected):
    capabilities = {"avx512_bf16": native}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_native_bfloat16(CPU) is native
    assert resolve_precision("auto", CPU) is expected


def test_a_precision_that_is_asked_for_is_taken():
    assert resolve_precision("float32", CPU) is torch.float32
    assert resolve_precision("bfloat16", CPU) is torch.bfloat16


def test_the_number_of_threads_is_set_where_it_is_given():
    n_before = torch.get_num_threads()
    try:
        prepare_process(1)
        assert torch.get_num_threads() == 1
        prepare_process(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(n_before)
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("limit", [1 << 30, 1 << 25])
def test_large_blocks_are_kept_where_glibc_takes_only_smaller_thresholds(monkeypatch, limit):
    """Versions differ in the largest M_MMAP_THRESHOLD (-3) that they take; mallopt(3)."""
    taken = {}

    def mallopt(name: int, value: int) -> int:
        if name == -3 and value > limit:
            return 0
        taken[name] = value
        return 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(device.platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    try:
        prepare_process()
    finally:
        torch.set_flush_denormal(False)
    assert taken == {-1: 1 << 30, -3: limit}


@pytest.mark.parametrize("n_threads", [1, 2])
def test_numbers_too_small_to_be_normal_become_zero_on_every_thread(n_threads):
    code = f"""
import torch
from distill.device import prepare_process
prepare_process({n_threads})
least = torch.finfo(torch.float32).tiny
halves = torch.full((1 << 20,), least) * 0.5
assert halves.count_nonzero() == 0
assert torch.full((1 << 20,), least).mul(1.0).count_nonzero() == 1 << 20
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.atari
@pytest.mark.parametrize(
    ("program", "then", "argv"),
    [
        ("run_distillation", "distill", ["--teacher_chkpt"]),
        ("ppo_teacher", "build", ["1e4", "--env", "PongNoFrameskip-v4", "--kickstart"]),
    ],
)
def test_training_begins_with_such_threads_although_a_teacher_was_read_before(
    tmp_path, program, then, argv
):
    """Reading weights starts OpenMP's threads."""
    (teacher,) = (ROOT / "teachers").glob("envPong*_n_iters700000.zip")
    code = f"""
import sys
sys.path[:0] = {[str(ROOT), str(ROOT / "scripts")]}
import torch
import {program}
def check(*_, **__):
    halves = torch.full((1 << 20,), torch.finfo(torch.float32).tiny) * 0.5
    sys.exit(7 if halves.count_nonzero() == 0 else 8)
{program}.{then} = check
sys.argv[1:] = {[*argv, str(teacher), "--run_dir", str(tmp_path / "run")]}
{program}.main()
"""
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=False)
    assert done.returncode == 7


def test_the_machine_is_described_in_one_line():
    text = describe_machine()
    assert f"torch {torch.__version__}" in text
    assert "cores" in text
    assert "\n" not in text


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_two_processors_of_one_name_differ_by_what_they_compute_in(
    without_gpu, monkeypatch, native, expected
):
    capabilities = {"avx512_bf16": native, "cpu_name": "AMD EPYC"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert describe_machine().startswith(f"AMD EPYC ({expected}), ")


def test_where_a_gpu_computes_its_type_is_told_and_not_the_processors(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "AMD EPYC"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    text = describe_machine()
    assert text.startswith("AMD EPYC, ")
    assert "cores, NVIDIA H100 (bfloat16), torch" in text
    assert not was_float32(text)
    assert sets_apart(text) == "GPU"
    beside = describe_machine("cpu")  # what ran there is not told by the GPU that it left alone
    assert "H100" not in beside
    assert beside.startswith("AMD EPYC (float32), ")


def test_a_type_that_was_asked_for_is_told(without_gpu):
    assert was_float32(describe_machine("cpu", "float32"))
    assert "(bfloat16)" in describe_machine("cpu", "bfloat16")


@pytest.mark.parametrize(("n", "apart"), [(1, ""), (2, ""), (3, "3 cores"), (16, "16 cores")])
def test_times_of_more_than_two_cores_are_set_apart(without_gpu, monkeypatch, n, apart):
    capabilities = {"avx512_bf16": True, "cpu_name": "Intel Xeon"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(device, "n_cores", lambda: n)
    assert sets_apart(describe_machine()) == apart
    monkeypatch.setitem(capabilities, "avx512_bf16", False)
    assert sets_apart(describe_machine()) == "float32"
