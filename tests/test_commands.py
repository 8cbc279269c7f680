"""scripts/run_distillation.py as a user runs it: real games, real processes, real signals."""

import csv
import hashlib
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
import run_distillation
import torch
from forked import ROOT, Command, Done
from in_process import run_main
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue] (made when it is imported)
)

from distill.checkpoint import NAMES, load_run
from distill.config import DistillConfig
from distill.networks import n_actor_parameters
from distill.ppo.fast_policy import FastCnnPolicy, policy_kwargs
from distill.ppo.sb3 import export_zip, observation_space
from distill.protocol import EVAL_SEED
from distill.run_folder import read_run
from distill.settings import from_mapping
from distill.student_files import load_student
from distill.tags import TAGS
from distill.tracking import Tracker
from distill.types import WIDTHS

pytestmark = [pytest.mark.atari, pytest.mark.slow]

SCRIPT = "scripts/run_distillation.py"
# Games of this one are short, some 120 steps, and have lives and a FIRE button.
GAME = "BreakoutNoFrameskip-v4"
TEACHER = f"env{GAME}_20260102-030405_n_iters10000.zip"
TOTAL_STEPS, LOG_STEPS, CHECKPOINT_STEPS = 1280, 64, 256
SEED = 1
SCORE_ON_THE_WAY = r"step ([\d,]+): \d+\.\d in 1 games, the teacher \d+\.\d"
SMALL = {
    "teacher_chkpt": TEACHER, "student": "0.1pct", "total_steps": TOTAL_STEPS, "seed": SEED,
    "n_envs": 4, "n_steps": 16, "ring_size": 768, "learning_starts": 128,
    "steps_per_update": 16, "batch_size": 32,
    "n_candidates": 1, "learning_rate": "3e-3:0", "log_steps": LOG_STEPS,
    "checkpoint_steps": CHECKPOINT_STEPS,
    "eval_steps": TOTAL_STEPS // 2, "n_interim_episodes": 1, "n_eval_episodes": 1, "n_threads": 1,
    "device": "cpu", "precision": "float32",
}  # fmt: skip
CURIOUS = ["--use_curiosity", "--use_uncertainty", "--uncertainty_target", "both"]
PLAIN_TAGS = {
    "distill/kl", "distill/agreement", "distill/teacher_entropy", "distill/student_entropy",
    "loss/distill", "grad_norm/distill", "explore/epsilon", "explore/teacher_mix",
    "train/learning_rate", "train/n_updates", "rollout/ep_rew_mean", "rollout/ep_len_mean",
    "time/fps", "explore/coverage", "eval/mean_reward", "eval/mean_reward_greedy",
    "eval/mean_ep_length", "eval/teacher", "eval/floor",
}  # fmt: skip
CURIOUS_TAGS = PLAIN_TAGS | {
    "icm/inverse_loss", "icm/forward_loss", "icm/inverse_accuracy", "icm/forward_skill",
    "icm/intrinsic_reward", "icm/feature_std", "explore/bonus_std", "explore/bonus_share",
    "uncertainty/mean", "loss/icm", "loss/policy", "loss/value",
    "grad_norm/icm", "grad_norm/policy", "grad_norm/value",
}  # fmt: skip


def flags(**changes: object) -> list[str]:
    return [word for name, value in (SMALL | changes).items() for word in (f"--{name}", str(value))]


def write_teacher(path: Path, n_actions: int) -> Path:
    """Write a teacher of random weights whose answers differ from state to state."""
    torch.manual_seed(0)
    policy = FastCnnPolicy(
        observation_space(),
        gymnasium.spaces.Discrete(n_actions),
        lambda _: 1e-3,
        **policy_kwargs(WIDTHS["0.3pct"], torch.float32),
    )
    head = policy.action_net
    assert isinstance(head, torch.nn.Linear)
    head.weight.data *= 3000
    export_zip(policy, n_actions, path)
    return path


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    """Return metrics.csv."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logged(run_dir: Path, *tags: str) -> list[tuple[str, str, str]]:
    """Return tag, step and value from metrics.csv, in the order of the file."""
    rows = rows_of(run_dir)
    return [(row["tag"], row["step"], row["value"]) for row in rows if row["tag"] in tags]


def last_step(run_dir: Path) -> int:
    """Return the last step that was logged, 0 if none was."""
    path = run_dir / "metrics.csv"
    whole_lines = path.read_text().split("\n")[1:-1] if path.exists() else []
    return int(whole_lines[-1].split(",")[0]) if whole_lines else 0


def curves(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Return steps and values by tag as TensorBoard shows them."""
    shown = EventAccumulator(str(run_dir), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def result(done: Done) -> dict[str, Any]:
    return json.loads(done.out.splitlines()[-1])


def weights(run_dir: Path) -> bytes:
    return (run_dir / "student.safetensors").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a teacher, where all commands run."""
    folder = tmp_path_factory.mktemp("commands") / "folder"
    folder.mkdir()
    write_teacher(folder / TEACHER, 4)
    return folder


@pytest.fixture(scope="module")
def plain(folder) -> Done:
    """A plain run, started as a user starts it; teacher and floors are measured."""
    done = subprocess.run(
        [sys.executable, str(ROOT / SCRIPT), *flags(run_dir="plain")],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The other runs need not play the teacher's games again.
    record = json.loads(done.stdout.splitlines()[-1])
    games = {"protocol": record["floors"]["protocol"], "n_envs": 20, "seed": 10_000}
    known = {"env_id": record["env_id"], "evaluation": games | record["teacher_score"]}
    (folder / TEACHER).with_suffix(".json").write_text(json.dumps(known))
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def run(folder, plain):
    """Run the command to its end."""

    def run(*argv: object, max_file_bytes: int = -1) -> Done:
        return Command(SCRIPT, *argv, folder=folder, max_file_bytes=max_file_bytes).wait()

    return run


@pytest.fixture(scope="module")
def curious(run) -> Done:
    """A run with everything switched on."""
    done = run(*flags(run_dir="curious", ema_decay=0.9), *CURIOUS)
    assert done.status == 0, done.err
    return done


def complaints(done: Done) -> list[str]:
    """Return what stands on standard error besides scores on the way and progress."""
    lines = [line for line in done.err.splitlines() if " min left " not in line]
    return [line for line in lines if not re.fullmatch(SCORE_ON_THE_WAY, line)]


RUNS = pytest.mark.parametrize("name", ["plain", "curious"])


# --- a whole run ---


@RUNS
def test_the_last_line_is_one_json_object_with_all_that_is_known(folder, request, name):
    done = request.getfixturevalue(name)
    found = result(done)
    assert found == json.loads((folder / name / "result.json").read_text())
    assert complaints(done) == []
    assert re.findall(SCORE_ON_THE_WAY, done.err) == [f"{TOTAL_STEPS // 2}"]
    assert (found["env_id"], found["teacher_chkpt"], found["student"]) == (GAME, TEACHER, "0.1pct")
    assert found["teacher_parameters"] == 4_656
    assert found["student_parameters"] == 1_446
    assert found["compression"] == pytest.approx(4_656 / 1_446)
    assert (found["steps"], found["updates"]) == (TOTAL_STEPS, (TOTAL_STEPS - 128) // 16)
    assert 0 <= found["kl"] < 2
    assert 0 < found["agreement"] <= 1
    assert 0 <= found["fresh_kl"] < 2
    assert 0 < found["fresh_agreement"] <= 1
    assert found["fresh_states"] > 0
    assert found["steps_per_second"] == pytest.approx(TOTAL_STEPS / found["train_seconds"])
    assert 0 < found["train_seconds"] < found["wall_seconds"]
    assert {"commit", "dirty", "versions", "machine"} <= found.keys()
    settings = from_mapping(DistillConfig, found["settings"], origin="result.json")
    assert (settings.env, settings.seed, str(settings.run_dir)) == (GAME, 1, name)


@RUNS
def test_the_score_share_follows_from_the_scores_beside_it(request, name):
    found = result(request.getfixturevalue(name))
    floors = found["floors"]
    floor = max(floors["random"]["mean"], floors["constant"]["mean"])
    teacher, student = (found[f"{who}_score"]["sampled"]["mean"] for who in ("teacher", "student"))
    if teacher > floor:
        assert found["score_share"] == pytest.approx((student - floor) / (teacher - floor))
    else:
        assert found["score_share"] is None
    for who in ("teacher", "student"):
        assert {mode: score["n_games"] for mode, score in found[f"{who}_score"].items()} == {
            "greedy": 1,
            "sampled": 1,
        }


@RUNS
def test_the_table_shows_scores_floors_sizes_and_the_command_for_the_curves(request, name):
    out = request.getfixturevalue(name).out
    for start in (
        "teacher, greedy", "teacher, sampled", "student, greedy", "student, sampled",
        "floor: random", "floor: always action", "score share", "parameters", "KL, agreement",
        "speed", "wall-clock",
    ):  # fmt: skip
        assert re.search(rf"^{start} .*\d|^{start} +none", out, re.MULTILINE), start
    assert "3.2 times fewer" in out
    assert re.search(r"^first score (after about|when the first of) ", out, re.MULTILINE)
    assert re.search(rf"^curves +tensorboard --logdir {name}$", out, re.MULTILINE)


def test_a_curious_runs_table_says_what_its_icm_learned_and_a_plain_ones_does_not(plain, curious):
    found = result(curious)
    named, commonest = (found[key] for key in ("inverse_accuracy", "majority_share"))
    assert 0.25 <= commonest < 1  # of four actions
    expected = f"names {named:.1%} of actions; the commonest is {commonest:.1%} of them"
    assert re.search(rf"^inverse model +{re.escape(expected)}", curious.out, re.MULTILINE)
    expected = f"errs {1 - found['forward_skill']:.2f} times"
    assert re.search(rf"^forward model +{re.escape(expected)}", curious.out, re.MULTILINE)
    assert "inverse model" not in plain.out
    assert "forward_skill" not in result(plain)


@RUNS
def test_the_run_folder_holds_settings_curves_result_students_and_two_checkpoints(
    folder, request, name
):
    request.getfixturevalue(name)
    names = {path.name.split(".out.")[0] for path in (folder / name).iterdir()}
    students = {"student.safetensors", "student_best.safetensors"}
    assert names == {"config.yaml", "metrics.csv", "events", "result.json", *students, *NAMES}
    saved_at = [load_state(folder / name / checkpoint)["steps"] for checkpoint in NAMES]
    assert saved_at == [TOTAL_STEPS, TOTAL_STEPS - CHECKPOINT_STEPS]
    record = read_run(folder / name)
    assert {"argv", "started", "commit", "dirty", "versions", "machine"} <= record.keys()
    saved = from_mapping(DistillConfig, record["settings"], origin="config.yaml")
    assert (str(saved.teacher_chkpt), saved.env, saved.seed) == (TEACHER, GAME, 1)


def load_state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@RUNS
def test_the_student_loads_and_says_where_it_comes_from(folder, request, name):
    found = result(request.getfixturevalue(name))
    path = folder / name / "student.safetensors"
    student, metadata = load_student(path, device=torch.device("cpu"))
    assert n_actor_parameters(student) == found["student_parameters"]
    assert student.encoder.widths == WIDTHS["0.1pct"]
    assert student.logits(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).shape == (2, 4)
    assert (metadata["teacher"], metadata["env_id"]) == (TEACHER, GAME)
    assert int(metadata["steps"]) == TOTAL_STEPS
    assert float(metadata["score"]) == found["student_score"]["sampled"]["mean"]
    state = load_state(folder / name / NAMES[0])
    averages = state.get("average")
    for key, value in student.state_dict().items():
        trained = state["student"][key]
        assert torch.equal(value, trained if averages is None else averages[f"module.{key}"])
        assert averages is None or not torch.equal(value, trained)


def test_a_run_measures_teacher_and_floors_and_keeps_the_floors(folder, plain):
    assert json.loads((folder / "runs/floors.json").read_text())[GAME] == result(plain)["floors"]


def test_scores_on_record_are_not_measured_again(plain, curious):
    assert result(curious)["floors"] == result(plain)["floors"]
    assert result(curious)["teacher_score"] == result(plain)["teacher_score"]


def test_distilling_a_real_teacher_on_real_frames_lowers_the_divergence(folder, plain):
    values = [float(value) for _, _, value in logged(folder / "plain", "distill/kl")]
    assert sum(values[-5:]) < 0.5 * sum(values[:5])


# --- curves ---


@pytest.mark.parametrize(("name", "tags"), [("plain", PLAIN_TAGS), ("curious", CURIOUS_TAGS)])
def test_tensorboard_shows_every_promised_curve_and_none_undocumented(folder, request, name, tags):
    request.getfixturevalue(name)
    shown = curves(folder / name)
    assert tags <= shown.keys() <= TAGS.keys()
    assert all(math.isfinite(value) for points in shown.values() for _, value in points)


def test_a_plain_run_has_no_curves_of_curiosity(folder, plain):
    assert not [tag for tag in curves(folder / "plain") if tag.startswith(("icm/", "loss/icm"))]


def test_curiosity_and_doubt_are_measured_and_the_latter_is_positive(folder, curious):
    shown = curves(folder / "curious")
    assert all(0.01 < value < 100 for _, value in shown["uncertainty/mean"])
    assert all(value > 0 for _, value in shown["icm/intrinsic_reward"])
    assert all(0 <= value <= 1 for _, value in shown["icm/inverse_accuracy"])


@RUNS
def test_metrics_csv_and_tensorboard_hold_the_same(folder, request, name):
    request.getfixturevalue(name)
    for tag, points in curves(folder / name).items():
        rows = [(int(step), float(value)) for _, step, value in logged(folder / name, tag)]
        assert [step for step, _ in points] == [step for step, _ in rows], tag
        assert [v for _, v in points] == pytest.approx([v for _, v in rows], rel=1e-6), tag


@RUNS
def test_no_curve_has_a_step_twice_or_runs_backwards(folder, request, name):
    request.getfixturevalue(name)
    for tag, points in curves(folder / name).items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), tag


def test_the_charts_and_the_hyperparameters_are_there(folder, plain):
    shown = EventAccumulator(str(folder / "plain")).Reload()
    (layout,) = shown.PluginTagToContent("custom_scalars")
    text = shown.Tensors(layout)[0].tensor_proto.string_val[0]
    assert all(tag in text for tag in (b"eval/mean_reward", b"eval/teacher", b"eval/floor"))
    start = shown.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    settings = HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings.keys() == DistillConfig.__dataclass_fields__.keys()
    assert settings["student"].string_value == "0.1pct"
    experiment = shown.PluginTagToContent("hparams")["_hparams_/experiment"]
    metrics = HParamsPluginData.FromString(experiment).experiment.metric_infos
    assert {metric.name.tag for metric in metrics} == {"eval/mean_reward", "distill/kl"}
    assert {"eval/mean_reward", "distill/kl"} <= set(shown.Tags()["scalars"])


# --- the same again ---


def test_one_seed_gives_one_student_bit_for_bit(folder, plain, run):
    assert run(*flags(run_dir="again")).status == 0
    assert weights(folder / "again") == weights(folder / "plain")


def test_a_runs_config_repeats_it_bit_for_bit(folder, curious, run):
    done = run("--config", "curious/config.yaml", "--run_dir", "repeated")
    assert done.status == 0, done.err
    assert weights(folder / "repeated") == weights(folder / "curious")


# --- killed, interrupted, damaged, resumed ---


@pytest.fixture(scope="module")
def killed(folder, plain) -> Path:
    """The plain run once more, killed amid its work between two checkpoints."""
    run_dir, enough_steps = folder / "killed", 2 * CHECKPOINT_STEPS + LOG_STEPS
    command = Command(SCRIPT, *flags(run_dir="killed"), folder=folder)
    command.signal_when(signal.SIGKILL, lambda: last_step(run_dir) >= enough_steps)
    assert command.wait().status == -signal.SIGKILL
    assert 2 * CHECKPOINT_STEPS <= load_run(run_dir)[0]["steps"] < TOTAL_STEPS
    return run_dir


@pytest.fixture(scope="module")
def resumed(folder, killed, run) -> Done:
    """A copy of the killed run, resumed."""
    shutil.copytree(killed, folder / "resumed")
    done = run("--resume", "resumed")
    assert done.status == 0, done.err
    return done


@pytest.fixture(scope="module")
def interrupted(folder, plain) -> Done:
    """A run with another seed, stopped by Ctrl-C."""
    command = Command(
        SCRIPT, *flags(run_dir="interrupted", seed=2), "--no-eval_greedy", folder=folder
    )
    ready = lambda: last_step(folder / "interrupted") >= 3 * LOG_STEPS  # noqa: E731 (short)
    command.signal_when(signal.SIGINT, ready)
    return command.wait()


def without_time(run_dir: Path) -> list[tuple[str, str, str]]:
    return [
        (row["tag"], row["step"], row["value"])
        for row in rows_of(run_dir)
        if row["tag"] != "time/fps"
    ]


def check_curves(run_dir: Path) -> None:
    """Assert that a run's curves are those of one that never stopped."""
    steps = [str(step) for step in range(LOG_STEPS, TOTAL_STEPS + 1, LOG_STEPS)]
    assert [step for _, step, _ in logged(run_dir, "time/fps")] == steps
    rows = [(tag, step) for tag, step, _ in without_time(run_dir)]
    assert len(rows) == len(set(rows))
    for tag, points in curves(run_dir).items():
        shown = [step for step, _ in points]
        assert shown == [int(step) for _, step, _ in logged(run_dir, tag)], tag


def test_a_kill_changes_nothing_of_what_was_logged_before(folder, killed):
    before = without_time(killed)
    assert before == without_time(folder / "plain")[: len(before)]


def test_a_killed_run_resumes_in_its_folder_to_the_total_first_asked_for(folder, killed, resumed):
    assert load_run(folder / "resumed")[0]["steps"] == TOTAL_STEPS
    assert complaints(resumed) == []
    steps = load_run(killed)[0]["steps"]
    assert resumed.out.startswith(f"going on at step {steps:,}\n")
    found = result(resumed)
    assert (found["steps"], found["updates"]) == (TOTAL_STEPS, (TOTAL_STEPS - 128) // 16)
    assert (found["run_dir"], found["settings"]["run_dir"]) == ("resumed", "killed")
    assert found["train_seconds"] < found["wall_seconds"]


def test_a_resumed_runs_curves_have_no_stretch_twice_and_none_missing(folder, resumed):
    check_curves(folder / "resumed")


def test_a_resumed_run_continues_its_schedules(folder, resumed):
    tags = "train/learning_rate", "explore/epsilon", "explore/teacher_mix", "train/n_updates"
    assert logged(folder / "resumed", *tags) == logged(folder / "plain", *tags)


def test_a_resumed_run_plays_other_games_than_it_did(folder, killed, monkeypatch, capsys):
    shutil.copytree(killed, folder / "elsewhere")
    monkeypatch.chdir(folder)
    make_games = run_distillation.make_games

    def watched(*args: Any, seed: int, training: bool) -> Any:
        if training:
            raise ValueError(f"the first game is {seed}")
        return make_games(*args, seed=seed, training=training)

    monkeypatch.setattr(run_distillation, "make_games", watched)
    assert run_main(monkeypatch, run_distillation, "--resume", "elsewhere") == 2
    steps = load_run(folder / "elsewhere")[0]["steps"]
    assert f"the first game is {1000 * SEED + steps}" in capsys.readouterr().err


def test_resuming_a_finished_run_shows_its_result_and_changes_nothing(folder, resumed, run):
    before = {path: path.read_bytes() for path in (folder / "resumed").iterdir()}
    done = run("--resume", "resumed")
    assert done.status == 0, done.err
    assert done.err == "resumed is finished; its result:\n"
    assert result(done) == result(resumed)
    assert resumed.out.endswith(done.out)
    assert {path: path.read_bytes() for path in (folder / "resumed").iterdir()} == before


def test_a_finished_run_is_shown_without_its_checkpoints_and_its_teacher(folder, resumed, run):
    run_dir = folder / "tidied"
    shutil.copytree(folder / "resumed", run_dir)
    for checkpoint in run_dir.glob("*.pt"):
        checkpoint.unlink()
    config = run_dir / "config.yaml"
    text, n = re.subn("teacher_chkpt: env.*", "teacher_chkpt: gone.zip", config.read_text())
    assert n == 1
    config.write_text(text)
    done = run("--resume", "tidied")
    assert done.status == 0, done.err
    assert result(done) == result(resumed)
    refused = run("--resume", "tidied", "--seed", "1")
    assert (refused.status, refused.out) == (2, "")
    assert "--resume tidied brings its own settings, got --seed too" in refused.err


def test_a_finished_run_of_another_version_is_named(folder, resumed, run):
    run_dir = folder / "older"
    shutil.copytree(folder / "resumed", run_dir)
    record = json.loads((run_dir / "result.json").read_text())
    del record["fresh_kl"]
    (run_dir / "result.json").write_text(json.dumps(record))
    done = run("--resume", "older")
    assert (done.status, done.out) == (2, "")
    assert "--resume older is finished, and its result.json damaged or another" in done.err
    assert done.err.endswith("; without it, it is made anew\n")
    assert done.err.count("\n") == 1


def test_a_run_that_died_while_its_student_was_scored_is_scored_only(folder, resumed, run):
    run_dir = folder / "unscored"
    shutil.copytree(folder / "resumed", run_dir)
    (run_dir / "result.json").unlink()
    config = run_dir / "config.yaml"  # the last rollout goes beyond a total that it does not meet
    config.write_text(
        config.read_text().replace(f"total_steps: {TOTAL_STEPS}", f"total_steps: {TOTAL_STEPS - 1}")
    )
    before = load_run(run_dir)[0]["student"]
    done = run("--resume", "unscored")
    assert done.status == 0, done.err
    assert "no score on the way" not in done.out
    assert "first score" not in done.out
    assert result(done)["student_score"] == result(resumed)["student_score"]
    assert weights(run_dir) == weights(folder / "resumed")
    after = load_run(run_dir)[0]["student"]
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_ctrl_c_saves_says_how_to_resume_and_exits_with_130(folder, interrupted):
    assert interrupted.status == 130
    steps = load_run(folder / "interrupted")[0]["steps"]
    assert 3 * LOG_STEPS <= steps < TOTAL_STEPS
    resume = "python scripts/run_distillation.py --resume interrupted"
    assert f"stopped at step {steps:,}; continue with: {resume}\n" in interrupted.err
    assert "Traceback" not in interrupted.err
    assert not (folder / "interrupted" / "result.json").exists()


def test_an_interrupted_run_resumes_to_its_end(folder, interrupted, run):
    shutil.copytree(folder / "interrupted", folder / "continued")
    done = run("--resume", "continued")
    assert done.status == 0, done.err
    assert result(done)["steps"] == TOTAL_STEPS
    assert set(result(done)["student_score"]) == {"sampled"}  # --no-eval_greedy
    check_curves(folder / "continued")


def test_the_best_student_is_not_chosen_on_the_final_games(tmp_path, monkeypatch):
    asked = []

    def noting(_: object, n_envs: int, *, seed: int, training: bool) -> None:
        asked.append((training, seed))

    monkeypatch.setattr(run_distillation, "make_games", noting)
    for name in ("train_student", "check_saveable", "save_run"):
        monkeypatch.setattr(run_distillation, name, lambda *_, **__: None)
    cfg = DistillConfig(seed=3)
    task = SimpleNamespace(cfg=cfg, teacher=None)
    run = SimpleNamespace(n_steps_done=64, state_dict=dict)
    run_distillation.train(task, run, None, tmp_path, None)  # pyright: ignore[reportArgumentType]
    assert asked == [(True, 3064), (False, run_distillation.INTERIM_SEED)]
    assert abs(run_distillation.INTERIM_SEED - EVAL_SEED) > 20  # games at a time


def test_another_seed_trains_another_student(folder, plain, interrupted):
    losses = [logged(folder / name, "loss/distill")[0] for name in ("plain", "interrupted")]
    assert losses[0][:2] == losses[1][:2]
    assert losses[0][2] != losses[1][2]


def test_a_run_can_be_resumed_from_the_moment_it_has_a_folder(folder, plain, run):
    endless = {"total_steps": 10**6, "eval_steps": 10**6}  # however late the signal comes
    command = Command(SCRIPT, *flags(run_dir="unborn", **endless), folder=folder)
    command.signal_when(signal.SIGINT, (folder / "unborn" / NAMES[0]).exists)
    done = command.wait()
    assert done.status == 130
    assert "continue with: python scripts/run_distillation.py --resume unborn\n" in done.err
    assert load_run(folder / "unborn")[0]["steps"] < 10**6


def test_a_run_stopped_before_its_first_checkpoint_is_to_be_started_again(
    folder, monkeypatch, capsys
):
    def stopped(task: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(folder)
    monkeypatch.setattr(run_distillation, "make_run", stopped)
    assert run_main(monkeypatch, run_distillation, *flags(run_dir="stillborn")) == 130
    line = "stopped; start again: it was stopped before its first checkpoint\n"
    assert line in capsys.readouterr().err
    assert not (folder / "stillborn").exists()


def test_a_run_that_is_still_going_is_refused_before_its_teacher_is_scored(
    folder, killed, monkeypatch, capsys
):
    copy = shutil.copytree(killed, folder / "still_going")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(run_distillation, "find_reference", lambda *_: pytest.fail("was scored"))
    with Tracker(copy, resume_step=load_run(copy)[0]["steps"]):
        assert run_main(monkeypatch, run_distillation, "--resume", copy) != 0
    assert "another process" in capsys.readouterr().err


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(folder, killed, run):
    run_dir = folder / "damaged"
    shutil.copytree(killed, run_dir)
    newest = run_dir / NAMES[0]
    newest.write_bytes(newest.read_bytes()[:5000])
    done = run("--resume", "damaged")
    assert done.status == 0, done.err
    (complaint,) = complaints(done)
    assert re.fullmatch(rf"damaged/{NAMES[0]} is damaged .*checkpoint before it", complaint)
    check_curves(run_dir)


def test_a_run_whose_teacher_was_replaced_is_not_gone_on_with(folder, killed, run):
    """One teacher's labels would be in the ring beside another's, and no record would say so."""
    run_dir = folder / "replaced"
    shutil.copytree(killed, run_dir)
    digest = read_run(run_dir)["sha256"]["teacher_chkpt"]
    assert digest == hashlib.sha256((folder / TEACHER).read_bytes()).hexdigest()
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace(digest, digest[::-1]))
    done = run("--resume", "replaced")
    assert (done.status, done.out) == (2, "")
    assert f"--resume replaced began with another --teacher_chkpt than {TEACHER} is now" in done.err


def test_a_run_whose_teacher_is_gone_says_which_one_it_needs(folder, killed, run):
    run_dir = folder / "orphan"
    shutil.copytree(killed, run_dir)
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace(f": {TEACHER}", ": gone.zip"))
    done = run("--resume", "orphan")
    assert (done.status, done.out) == (2, "")
    assert "--resume orphan needs --teacher_chkpt gone.zip, which is not there" in done.err


def test_a_checkpoint_of_other_settings_is_one_line_and_stays(folder, killed, run):
    run_dir = folder / "edited"
    shutil.copytree(killed, run_dir)
    config, newest = run_dir / "config.yaml", run_dir / NAMES[0]
    config.write_text(config.read_text().replace("student: 0.1pct", "student: 1pct"))
    before = newest.read_bytes()
    done = run("--resume", "edited")
    assert done.status == 2
    (complaint,) = complaints(done)
    assert "--resume edited has a checkpoint of other settings than its config.yaml" in complaint
    assert newest.read_bytes() == before


# --- a run that fails ---


def failure(done: Done) -> str:
    """Return the one line that a run fails with."""
    assert done.status == 1, done.err
    (complaint,) = complaints(done)
    assert re.fullmatch(r"run_distillation\.py: error: .+", complaint), done.err
    return complaint + "\n"


@pytest.mark.parametrize("steps_per_update", [16, 64], ids=["amid updates", "before a checkpoint"])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(
    folder, run, steps_per_update
):
    name = f"diverged{steps_per_update}"
    changes = {"learning_rate": 1e38, "steps_per_update": steps_per_update, "checkpoint_steps": 64}
    line = failure(run(*flags(run_dir=name, **changes)))
    assert "loss term distill is not finite at step 192" in line
    state, warnings = load_run(folder / name)
    assert warnings == []
    assert (state["steps"], state["n_updates"]) == (128, 0)
    assert all(bool(value.isfinite().all()) for value in state["student"].values())


def test_a_full_disk_is_one_clear_line_and_costs_no_checkpoint(folder, run):
    done = run(*flags(run_dir="full", checkpoint_steps=512), max_file_bytes=60_000)
    line = failure(done)
    assert "cannot write full/checkpoint_new.pt" in line
    assert "is the disk full?" in line
    assert {path.name.split(".out.")[0] for path in (folder / "full").iterdir()} == {
        "config.yaml", "metrics.csv", "events", NAMES[0],
    }  # fmt: skip
    assert load_run(folder / "full")[0]["steps"] == 0
