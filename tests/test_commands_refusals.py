"""scripts/run_distillation.py given bad input: status 2, one line, nothing left behind."""

import re
import sys
from pathlib import Path

import pytest
from forked import Command, Done
from test_commands import GAME, SCRIPT, TEACHER, write_teacher

from distill.checkpoint import NAMES
from distill.config import DistillConfig
from distill.run_folder import create_run
from distill.teacher_config import TeacherConfig

pytestmark = pytest.mark.atari

PONG = "PongNoFrameskip-v4"
ABSENT_DEVICE = "mps" if sys.platform == "linux" else "cuda"
TO = "--teacher_chkpt", TEACHER


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a teacher and all that a user may name by mistake."""
    folder = tmp_path_factory.mktemp("refusals") / "folder"
    folder.mkdir()
    for name in (TEACHER, "mine.zip"):
        write_teacher(folder / name, 4)
    (folder / "empty").mkdir()
    (folder / "a_file").write_text("")
    (folder / "empty.yaml").write_text("env: ''\n")
    (folder / "unknown.yaml").write_text("temprature: 2\n")
    (folder / "invalid.yaml").write_text("temperature: [\n")
    create_run(folder / "anothers", TeacherConfig(total_steps=10))
    create_run(folder / "a_run", DistillConfig())
    for name in NAMES:
        (folder / "a_run" / name).write_bytes(b"damaged")
    return folder


def run(folder: Path, *argv: object) -> Done:
    """Run the command and assert that it leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    done = Command(SCRIPT, *argv, folder=folder).wait()
    assert sorted(folder.rglob("*")) == before
    return done


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--teacher_chkpt", "none.zip"], ["no teacher at none.zip", "python ppo_teacher.py 1e7"]),
        (["--teacher_chkpt", "empty"], ["empty is not a file"]),
        (["--teacher_chkpt", "a_file", "--env", GAME], ["a_file is not a zip"]),
        (["--teacher_chkpt", "mine.zip"], ["--env is missing", "mine.zip"]),
        ([*TO, "--env", PONG], [TEACHER, "4 actions", f"{PONG} has 6"]),
        ([*TO, "--env", "BreakoutNoFrameskip-v3"], ["--env", "BreakoutNoFrameskip-v3'", GAME]),
        (["--env", "ALE/Zaxxon-v5"], ["no teacher of ALE/Zaxxon-v5", "ppo_teacher.py 1e7 --env"]),
        (["--loss", "hinge"], ["--loss", "'hinge'", "reverse_kl"]),
        (["--student", "net9"], ["--student", "'net9'", "net3", "C1,C2,C3,FC"]),
        (["--student", "16,16,16"], ["--student", "'16,16,16'", "C1,C2,C3,FC"]),
        (["--curiosity", "much"], ["--curiosity", "'much'", "bonus"]),
        (["--device", "tpu"], ["--device", "'tpu'", "cuda"]),
        (["--device", ABSENT_DEVICE], ["--device", f"{ABSENT_DEVICE} is not available", "cpu"]),
        (["--precision", "float16"], ["--precision", "'float16'", "bfloat16"]),
        *(
            (["--temperature", text], ["--temperature", f"'{text}'", "above 0"])
            for text in ("0", "-1", "nan")
        ),
        *(
            (["--total_steps", text], ["--total_steps", f"'{text}'", "whole number"])
            for text in ("1.5", "0", "-3", "1e-3", "nan", "1e400", "many")
        ),
        (["--learning_rate", "fast"], ["--learning_rate", "'fast'", "START"]),
        (
            ["--ring_size", "511"],
            ["--ring_size", "at least n_envs x max(2 x n_steps, 5) = 512", "511"],
        ),
        (["--n_envs", "0"], ["--n_envs", "'0'", "at least 1"]),
        (["--n_envs", "3000000000"], ["--n_envs", "'3000000000'", "at most 1e+05"]),
        (["--ring_size", "10000000000000000"], ["--ring_size", "at most 1e+12"]),
        (["--n_threads", "1025"], ["--n_threads", "'1025'", "from 1 to 1024"]),
        (["--c_int", "1"], ["--c_int without --use_curiosity would change nothing"]),
        (
            ["--use_curiosity", "--curiosity", "aux", "--gamma", "0.9", "--w_entropy", "1"],
            ["--gamma", "--w_entropy", "without a reward (--c_ext, or a bonus of"],
        ),
        (
            ["--use_curiosity", "--curiosity", "aux", "--c_int", "1"],
            ["--c_int without --curiosity bonus|both would change nothing"],
        ),
        (
            ["--use_curiosity", "--curiosity", "bonus", "--icm_gradient", "both"],
            ["--icm_gradient without --curiosity aux|both would change nothing"],
        ),
        (
            ["--use_curiosity", "--w_rnd", "2"],
            ["--w_rnd without --curiosity_source rnd would change nothing"],
        ),
        (
            ["--loss", "nll", "--temperature", "2"],
            ["--temperature without --loss kl|reverse_kl|js would change nothing"],
        ),
        (
            ["--temperature", "1", "--no-match_temperature"],
            ["--no-match_temperature without --temperature other than 1 would change nothing"],
        ),
        (
            ["--w_distill", "0", "--c_ext", "1", "--loss", "js", "--temperature", "2"],
            ["--loss", "--temperature without --w_distill above 0 would change nothing"],
        ),
        (
            ["--w_distill", "0", "--c_ext", "1", "--n_candidates", "8"],
            ["--n_candidates without --w_distill above 0 would change nothing"],
        ),
        (
            ["--prefer", "gap", "--importance_weights", "--n_candidates", "1"],
            ["--prefer, --importance_weights without --n_candidates above 1 would change nothing"],
        ),
        (
            ["--use_curiosity", "--icm_beta", "1"],
            ["--icm_beta 1 leaves the inverse loss no weight", "--icm_gradient inverse"],
        ),
        (
            ["--use_curiosity", "--w_icm", "0", "--icm_gradient", "both"],
            ["--icm_gradient without --w_icm above 0 would change nothing"],
        ),
        *(
            (
                [*settings, "--use_curiosity", "--curiosity", "aux"],
                [f"--w_distill {schedule} leaves nothing to learn from", "(ICM trains no policy)"],
            )
            for settings, schedule in (
                (["--w_distill", "0"], "0"),
                (["--w_distill", "1:0:0.1"], "1:0:0.1"),
            )
        ),
        (
            ["--use_curiosity", "--curiosity", "bonus", "--icm_beta", "0"],
            ["--icm_beta 0 leaves the forward model untrained, whose error is the bonus"],
        ),
        *(
            (
                [*settings, *other],
                ["a reward (--c_ext, or a bonus of", f"{' '.join(other)}: no step is the stud"],
            )
            for settings in (["--use_curiosity"], ["--w_distill", "0", "--c_ext", "1"])
            for other in (["--teacher_mix", "1"], ["--epsilon", "1"])
        ),
        (["--learning_rate", "0"], ["--learning_rate must be above 0 at some time"]),
        (
            ["--batch_size", "1", "--importance_weights"],
            ["--importance_weights changes nothing with --batch_size 1"],
        ),
        (
            ["--batch_size", "1", "--use_uncertainty"],
            ["--use_uncertainty changes nothing with --batch_size 1"],
        ),
        *(
            (["--temperature", text], ["--temperature", text, "from 1e-38 to 1e+38"])
            for text in ("1e300", "1e-39")
        ),
        (["--config", "empty.yaml"], ["--env must not be empty"]),
        (["--ema_decay", "1"], ["--ema_decay", "'1'", "below 1"]),
        (["--seed", str(2**63)], ["--seed", f"'{2**63}'", "to 2^63 - 1"]),
        (["--temp", "2"], ["--temp"]),
        (["--temprature", "2"], ["--temprature"]),
        (["--config", "unknown.yaml"], ["unknown.yaml", "temprature"]),
        (["--config", "invalid.yaml"], ["invalid.yaml", "YAML"]),
        (["--config", "none.yaml"], ["none.yaml"]),
        ([*TO, "--run_dir", "a_run"], ["--run_dir a_run exists", "--resume a_run"]),
        (["--resume", "none"], ["--resume none", "not a run"]),
        (["--resume", "empty"], ["--resume empty", "not a run"]),
        (["--resume", "a_file"], ["--resume a_file", "not a run"]),
        (
            ["--resume", "anothers"],
            ["anothers/config.yaml", "may be another command's", "do not exist: ", "network"],
        ),
        (["--resume", "a_run"], ["--resume a_run", "no whole checkpoint"]),
        (["--resume", "a_run", "--seed", "3"], ["--resume a_run", "--seed"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_before_anything_is_made(folder, argv, named):
    done = run(folder, *argv)
    assert done.status == 2, done
    assert done.out == ""
    assert re.fullmatch(r"run_distillation\.py: error: .+\n", done.err), done.err
    assert all(text in done.err for text in named), done.err


def test_a_run_folder_that_cannot_be_made_is_one_clear_line(folder):
    done = run(folder, *TO, "--run_dir", "a_file/run")
    assert done.status == 1, done
    line = "run_distillation.py: error: cannot create --run_dir a_file/run: Not a directory\n"
    assert done.err == line


def test_help_names_every_setting_and_starts_nothing(folder):
    done = run(folder, "--help")
    assert (done.status, done.err) == (0, "")
    assert all(f"--{name}" in done.out for name in DistillConfig.__dataclass_fields__)
