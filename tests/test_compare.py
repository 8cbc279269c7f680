"""scripts/compare.py as a user runs it: what it lists, starts and refuses."""

import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import compare
import pytest
from in_process import run_main

from distill import progress
from distill.run_folder import create_run
from distill.settings import to_mapping
from distill.study import runner
from distill.study.axes import BEST, GAMES, GRADES
from distill.study.custom import plan_custom
from distill.study.jobs import Job
from distill.study.outcomes import collect_outcomes
from distill.study.plan import Run, plan
from distill.study.rungs import read_rungs
from distill.study.runner import lock_log
from distill.study.study_config import Shard
from distill.study.summary import LEGEND
from distill.tracking import Tracker

ROOT = Path(__file__).resolve().parent.parent
GRADED = (BEST, *GRADES)

PROGRAM = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--run_dir") + 1])
folder.mkdir()
(folder / "argv").write_text(" ".join(sys.argv))
if "--seed" not in sys.argv:  # seed 0
    sys.exit("no luck")
(folder / "result.json").write_text("{}")
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run the command in a folder of its own; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setitem(
        compare.Study.__init__.__kwdefaults__, "program", (sys.executable, str(program))
    )

    def run(*args):
        status = run_main(monkeypatch, compare, *args)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def teachers(tmp_path):
    folder = tmp_path / "teachers"
    folder.mkdir()
    for name, env_id in GAMES.items():
        record = json.dumps({"env_id": env_id, "grade": "good"})
        (folder / f"env{name}.json").write_text(record)
    return folder


def test_dry_run_lists_what_would_be_run_and_starts_nothing(tmp_path, command, teachers):
    status, out, _ = command("--grid", "sampling", "--dry_run")
    assert status == 0
    *runs, count = out.splitlines()
    assert count == f"sampling: {len(runs)} planned"
    assert all("planned" in run for run in runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program.py", "teachers"]


def test_each_run_is_given_its_threads_and_device(tmp_path, command, teachers):
    command("--grid", "initialization", "--device", "cpu", "--n_threads", "2", "--workers", "4")
    flags = [path.read_text() for path in tmp_path.glob("runs/study/*/argv")]
    assert flags
    assert all(words.endswith(" --n_threads 2 --device cpu") for words in flags)


def test_a_device_that_is_not_there_is_refused_before_any_run(tmp_path, command, teachers):
    absent = "mps" if sys.platform == "linux" else "cuda"
    status, out, err = command("--grid", "sampling", "--device", absent)
    assert (status, out) == (2, "")
    assert err.startswith(f"compare.py: error: --device {absent} is not available here; there is: ")
    assert not (tmp_path / "runs").exists()


def test_shards_share_the_grid_without_overlap(command, teachers):
    listed = [
        command("--grid", "sampling", "--dry_run", "--shard", shard)[1].splitlines()[:-1]
        for shard in ("1/1", "1/3", "2/3", "3/3")
    ]
    assert sorted(run for shard in listed[1:] for run in shard) == sorted(listed[0])
    assert len(set(map(len, listed[1:]))) == 1


def test_known_runs_are_left_out(command):
    """The committed results and what the README says is not run make up a grid, in any folder."""
    args = ("--grid", "best", "--dry_run", "--teachers_dir", ROOT / "teachers")
    *runs, count = command(*args)[1].splitlines()
    known = ("--known", ROOT / "scripts" / "results" / "distillation.csv")
    *rest, rest_count = command(*args, *known)[1].splitlines()
    said = re.search(r"(\d+) of (\d+) runs of .*--grid best`", (ROOT / "README.md").read_text())
    assert said is not None
    n_done, n_runs = map(int, said.groups())
    assert (len(runs), count) == (n_runs, f"best: {n_runs} planned")
    assert len(rest) == n_runs - n_done
    assert set(rest) < set(runs)
    assert rest_count == (f"best: {len(rest)} planned" if rest else "best: nothing to run")


def test_a_grid_of_which_all_is_known_ends_at_once(tmp_path, command):
    known = ("--known", ROOT / "scripts" / "results" / "distillation.csv")
    args = ("--grid", "updates", "--teachers_dir", ROOT / "teachers", *known)
    assert command(*args) == (0, "updates: nothing to run\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_a_file_of_known_runs_that_is_not_there_is_refused(command, teachers):
    status, out, err = command("--grid", "sampling", "--known", "none.csv")
    assert (status, out) == (2, "")
    assert err == (
        "compare.py: error: --known must be a .csv of results, got none.csv: no such file\n"
    )


@pytest.mark.parametrize("settings", ["x", "[]"])
def test_a_file_of_known_runs_that_is_damaged_is_named(tmp_path, command, teachers, settings):
    header, first = (ROOT / "scripts" / "results" / "distillation.csv").open().readlines()[:2]
    row = dict(zip(header.strip().split(","), next(csv.reader([first])), strict=True))
    with (tmp_path / "known.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row | {"settings": settings})
    status, out, err = command("--grid", "sampling", "--known", "known.csv")
    assert (status, out) == (2, "")
    said = f"--known: the settings of run {row['run']} are damaged: "
    assert err.startswith(f"compare.py: error: {said}")


def test_an_out_that_is_a_file_is_refused(tmp_path, command, teachers):
    (tmp_path / "taken").write_text("")
    status, out, err = command("--grid", "sampling", "--out", "taken")
    assert (status, out) == (2, "")
    assert err == "compare.py: error: --out must be a folder, got taken: taken is a file\n"


@pytest.mark.parametrize("grid", ["curiosity", "best", "breakout"])
def test_shards_part_no_pair_and_have_some_of_every_game(grid):
    teachers = {(env_id, grade): Path("t.zip") for env_id in GAMES.values() for grade in GRADED}
    runs = plan(grid, teachers)
    games = {run.labels["game"] for run in runs}
    parts = [compare.shard_of(runs, Shard(part, 2)) for part in (1, 2)]
    assert sorted(run.id for part in parts for run in part) == sorted(run.id for run in runs)
    pairs = [{(run.labels["game"], run.labels["seed"]) for run in part} for part in parts]
    assert not pairs[0] & pairs[1]
    assert [{game for game, _ in part} for part in pairs] == [games, games]


STUDY = "seeds: 2\naxes: {arm: {plain: {}, curious: {use_curiosity: true}}}\n"
SCORES = {("plain", 0): 27.0, ("plain", 1): 29.0, ("curious", 0): 28.0, ("curious", 1): 30.0}


def write_study(folder: Path, text: str = STUDY) -> list[Run]:
    """Write a study into a folder; returns its runs."""
    (folder / "mine.yaml").write_text(text)
    return plan_custom(folder / "mine.yaml")


def finish(run: Run, folder: Path, score: float) -> None:
    """Leave what a run leaves that scored so much of a teacher's 31, the floor 21."""
    create_run(folder, replace(run.cfg, run_dir=folder))
    found = {"mean": score, "ci95": [score, score], "n_games": 100}
    result = {
        "env_id": run.cfg.env, "teacher_chkpt": "t.zip", "student": "net3",
        "settings": to_mapping(run.cfg),
        "student_parameters": 1, "score_share": (score - 21) / 10, "kl": 0.25, "agreement": 0.9,
        "steps": 10, "updates": 2, "train_seconds": 3.0, "commit": "abc", "machine": "m",
        "floors": {"random": {"mean": 0.0}, "constant": {"mean": 21.0}}, "fresh_kl": 0.5,
        "teacher_score": {"sampled": {"mean": 31.0}}, "student_score": {"sampled": found},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


def test_a_study_of_ones_own_is_listed_and_tells_what_is_known_by_now(tmp_path, command):
    planned = write_study(tmp_path)
    status, out, err = command("--grid", "mine.yaml", "--dry_run")
    assert (status, err) == (0, "")
    *lines, counted = out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        f"planned   seed {seed}, game Freeway, arm {arm}"
        for seed in (0, 1)
        for arm in ("plain", "curious")
    ]
    assert counted == "mine: 4 planned"

    for run in planned:
        score = SCORES[run.labels["arm"], run.cfg.seed]
        finish(run, tmp_path / "runs" / "study" / run.id, score)
    status, out, err = command("--grid", "mine.yaml")
    assert (status, err) == (0, "")
    assert out == (
        "\narm              score   share of the teacher's  n         KL, nats  s\n"
        "plain    28.00 / 31.00  70.0 % (-57.1 to 197.1)  2  0.2500 / 0.5000  3\n"
        "curious  29.00 / 31.00  80.0 % (-47.1 to 207.1)  2  0.2500 / 0.5000  3\n"
        f"{LEGEND}\n"
        "arm curious instead of plain: 10.0 % (10.0 to 10.0) in 2 pairs, helps\n"
        "\nmine: 4 done\n"
    )


def test_a_damaged_result_is_left_out_and_told(tmp_path, command):
    runs = write_study(tmp_path)
    folders = [tmp_path / "runs" / "study" / run.id for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        finish(run, folder, 30.0)
    (folders[-1] / "result.json").write_text("{}")
    status, out, err = command("--grid", "mine.yaml", "--dry_run")
    assert status == 0
    assert err.startswith("left out: ")
    assert f"{runs[-1].id}/result.json is damaged" in err
    assert err.endswith("; without its result.json the run is scored anew\n")
    assert "  1 of 2  " in out


def test_steps_are_counted_while_a_run_works(tmp_path):
    (run,) = plan("curiosity", {("PongNoFrameskip-v4", "good"): Path("t.zip")})[:1]
    job = Job(run, tmp_path / "run", status="running")
    assert compare.steps_of(job) == 0
    job.folder.mkdir()
    with Tracker(job.folder) as tracker:
        tracker.log({"time/fps": 1.0}, 4_096)
        assert compare.steps_of(job) == 4_096
        tracker.log({"time/fps": 1.0}, run.cfg.total_steps + 16)  # of the last rollout
    assert compare.steps_of(job) == run.cfg.total_steps
    (job.folder / "metrics.csv").write_text("nonsense\n")
    assert compare.steps_of(job) == 0
    job.status = "done"
    assert compare.steps_of(job) == run.cfg.total_steps


def test_what_is_known_from_elsewhere_is_part_of_what_is_told(tmp_path, command):
    """The first value stays the one that others are held against, wherever it was run."""
    for run in write_study(tmp_path):
        folder = tmp_path / ("others" if run.labels["arm"] == "plain" else "runs/study") / run.id
        finish(run, folder, SCORES[run.labels["arm"], run.cfg.seed])
    known = tmp_path / "known.csv"
    assert collect_outcomes(list((tmp_path / "others").iterdir()), known) == 2
    status, out, err = command("--grid", "mine.yaml", "--known", known)
    assert (status, err) == (0, "")
    assert "\narm curious instead of plain: 10.0 % (10.0 to 10.0) in 2 pairs, helps\n" in out
    assert out.endswith("\nmine: 2 done\n")


def test_shares_are_taken_of_what_is_on_record_for_teachers_that_ship(tmp_path, command):
    (run,) = write_study(tmp_path, "seeds: 1")
    folder = tmp_path / "runs" / "study" / run.id
    finish(run, folder, 30.0)
    result = json.loads((folder / "result.json").read_text())
    assert run.cfg.teacher_chkpt is not None
    result["teacher_chkpt"] = run.cfg.teacher_chkpt.name
    (folder / "result.json").write_text(json.dumps(result))
    rungs = {rung.zip_name: rung for rung in read_rungs(ROOT / "teachers")}
    rung = rungs[result["teacher_chkpt"]]
    _, out, _ = command("--grid", "mine.yaml")
    share = (30 - rung.floor) / (rung.mean - rung.floor)
    line = out.splitlines()[2].split()
    assert line[:5] == ["30.00", "/", f"{rung.mean:.2f}", f"{100 * share:.1f}", "%"]


RUNS = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--run_dir") + 1])
finished = pathlib.Path("finished") / folder.name.rsplit("_", 1)[1]
if "--use_curiosity" in sys.argv and not (folder.parent / "once").exists():
    (folder.parent / "once").write_text("")
    sys.exit(3)
finished.rename(folder)
"""


def test_a_study_of_ones_own_is_run_to_its_table(tmp_path, command, monkeypatch):
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.05)
    (tmp_path / "program.py").write_text(RUNS)
    for run in write_study(tmp_path):
        finish(run, tmp_path / "finished" / run.id, SCORES[run.labels["arm"], run.cfg.seed])
    status, out, err = command("--grid", "mine.yaml", "--workers", 1)
    assert status == 0
    assert "\narm curious instead of plain: 10.0 % (10.0 to 10.0) in 2 pairs, helps\n" in out
    assert out.endswith("\nmine: 4 done\n")
    assert len(re.findall(r"^\w{10}  failed, status 3, to be tried again$", err, re.MULTILINE)) == 1
    assert len(re.findall(r"^\w{10}  done      seed .* \d+ s$", err, re.MULTILINE)) == 4


def test_the_steps_of_a_begun_run_are_behind_it(tmp_path, command, monkeypatch):
    """Progress counts up from them, while runs work and when they end."""
    begun, _ = write_study(tmp_path, "settings: {total_steps: 10000}\nseeds: 2")
    (tmp_path / "program.py").write_text("import time; time.sleep(0.2)")
    folder = tmp_path / "runs" / "study" / begun.id
    create_run(folder, begun.cfg)
    (folder / "checkpoint.pt").write_text("")
    with Tracker(folder) as tracker:
        tracker.log({"time/fps": 1.0}, 4_096)
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    status, out, err = command("--grid", "mine.yaml", "--dry_run")
    assert [line.split()[1] for line in out.splitlines()[:2]] == ["begun", "planned"]
    status, out, err = command("--grid", "mine.yaml", "--workers", 1, "--retries", 0)
    assert (status, out) == (1, "mine: 2 failed\n")
    said = re.findall(r"^mine: ([\d,]+) of 20,000 steps, .* left \((.*)\)$", err, re.MULTILINE)
    assert {steps for steps, _ in said} == {"4,096"}
    assert ("4,096", "1 running, 1 planned") in said


def test_runs_of_another_process_are_said_to_be(tmp_path, command):
    (run,) = write_study(tmp_path, "seeds: 1")
    log = lock_log(tmp_path / "runs" / "study" / f"{run.id}.log")
    assert log is not None
    with log:
        status, out, err = command("--grid", "mine.yaml")
    assert (status, out) == (0, "mine: 1 elsewhere\n")
    assert err.endswith("another process has 1 of these runs: start again when it is done\n")


def test_graded_teachers_are_of_studies_that_have_a_name(tmp_path, command):
    write_study(tmp_path)
    status, out, err = command("--grid", "mine.yaml", "--teachers_dir", "mine")
    assert (status, out) == (2, "")
    assert err == (
        "compare.py: error: --teachers_dir without a study's name for --grid would change nothing\n"
    )


def test_another_word_for_a_study_is_refused(command):
    status, out, err = command("--grid", "mine")
    assert (status, out) == (2, "")
    assert err.startswith("compare.py: error: --grid must be one of best, ")
    assert err.endswith(", or a .yaml file, got 'mine'\n")


def test_failed_runs_are_counted_and_named_and_the_others_done(command, teachers):
    status, out, err = command("--grid", "sampling", "--retries", 0, "--workers", 2)
    assert status == 1
    assert out.splitlines()[-1] == "sampling: 10 failed, 20 done"
    assert "30 runs, 2 at a time; their logs: runs/study/*.log\n" in err
    assert "10 runs failed; runs/study/" in err.splitlines()[-1]
    again = command("--grid", "sampling", "--dry_run")[1].splitlines()[-1]
    assert again == "sampling: 30 planned"  # none of these wrote a config.yaml


def test_teachers_without_grades_are_refused(command):
    status, out, err = command("--grid", "sampling")
    assert (status, out) == (2, "")
    assert err == (
        "compare.py: error: --teachers_dir teachers has no teacher whose .json says"
        ' "grade": one of best, good, medium, bad, of a game of --grid sampling\n'
    )


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_bad_shards_are_refused(command, shard):
    status, _, err = command("--shard", shard)
    assert status == 2
    assert err == (
        f"compare.py: error: --shard must be i/n with i from 1 to n, such as 2/3, got '{shard}'\n"
    )


def test_more_threads_than_a_run_may_have_are_refused_before_any_is_started(command):
    status, out, err = command("--grid", "best", "--n_threads", 2000)
    assert (status, out) == (2, "")
    assert "--n_threads must be a whole number from 1 to 1024, got '2000'" in err
