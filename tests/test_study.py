"""Running a study's jobs: skipped, retried, resumed, interrupted, shared."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from distill import cli
from distill.checkpoint import can_resume
from distill.config import DistillConfig
from distill.run_folder import create_run, read_run
from distill.settings import to_mapping
from distill.study import runner
from distill.study.jobs import Job, is_finished, make_jobs, new_folder, runs_in
from distill.study.plan import Run
from distill.study.runner import Study, lock_log

# Stands for run_distillation.py. Its first attempt does what is asked of the run's seed.
PROGRAM = """
import json, pathlib, signal, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = pathlib.Path(words.get("--run_dir") or words["--resume"])
resumed = "--resume" in words
folder.mkdir(parents=True, exist_ok=resumed)
with (folder.parent / "tape").open("a") as tape:
    tape.write(json.dumps(sys.argv[1:]) + "\\n")
print("log of", folder.name, flush=True)
seed = words.get("--seed", "0")
def save(*_):
    (folder / "checkpoint.pt").write_text("")
    sys.exit(130)
signal.signal(signal.SIGINT, save)
if not resumed:
    if seed == "1":
        (folder / "checkpoint.pt").write_text("")
        sys.exit(1)
    if seed == "2":
        sys.exit(2)
    if seed == "3":
        sys.exit(1)
    if seed == "4":
        (folder / "waiting").write_text("")
        time.sleep(60)
(folder / "result.json").write_text("{}")
"""


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return sys.executable, str(path)


def make_run(seed: int) -> Run:
    cfg = DistillConfig(teacher_chkpt=Path("a.zip"), env="PongNoFrameskip-v4", seed=seed)
    return Run("test", {"arm": "plain", "seed": str(seed)}, cfg)


def study(jobs, out, program, *, n_workers=1, n_retries=1, on_change=None, on_look=None):
    return Study(
        jobs,
        out / "manifest.jsonl",
        n_workers=n_workers,
        flags=("--n_threads", "1"),
        n_retries=n_retries,
        on_change=on_change or (lambda _: None),
        on_look=on_look or (lambda: None),
        program=program,
    )


def run_all(seeds, out, program, **settings) -> list[Job]:
    jobs = make_jobs([make_run(seed) for seed in seeds], out)
    study(jobs, out, program, **settings).run(lambda: False)
    return jobs


def tape(out: Path) -> list[list[str]]:
    return [json.loads(line) for line in (out / "tape").read_text().splitlines()]


def test_a_run_is_a_process_of_its_command_line(tmp_path, program):
    out = tmp_path / "out"
    (job,) = run_all([7], out, program)
    cfg = replace(job.run.cfg, run_dir=job.folder)
    assert tape(out) == [[*cli.to_argv(cfg), "--n_threads", "1"]]
    assert (job.status, job.attempts, job.exit_status) == ("done", 1, 0)
    assert (out / f"{job.run.id}.log").read_text() == f"log of {job.folder.name}\n"


def test_manifest_has_a_line_a_run(tmp_path, program):
    out = tmp_path / "out"
    jobs = run_all([0, 2], out, program)
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [job.run.id for job in jobs]
    assert [(line["status"], line["exit_status"]) for line in lines] == [("done", 0), ("failed", 2)]
    assert lines[0]["flags"] == " ".join(cli.to_argv(jobs[0].run.cfg))


def test_a_failed_run_goes_on_from_its_checkpoint_after_the_others(tmp_path, program):
    out = tmp_path / "out"
    broken, fine = run_all([1, 0], out, program)
    assert (broken.status, broken.attempts, fine.attempts) == ("done", 2, 1)
    assert [words[0] for words in tape(out)] == ["--teacher_chkpt"] * 2 + ["--resume"]
    assert tape(out)[2] == ["--resume", str(broken.folder), "--n_threads", "1"]


def test_a_run_that_another_process_finishes_meanwhile_is_done_in_the_end(tmp_path, program):
    out = tmp_path / "out"
    theirs, _ = jobs = make_jobs([make_run(0), make_run(5)], out)
    log = lock_log(out / f"{theirs.run.id}.log")
    assert log is not None

    def on_change(job: Job) -> None:
        if job.status == "done":  # the other one, which is ours
            assert theirs.status == "elsewhere"
            finish(theirs.run, out / "theirs", result=True)

    with log:
        study(jobs, out, program, on_change=on_change).run(lambda: False)
    assert (theirs.status, theirs.attempts, theirs.folder) == ("done", 0, out / "theirs")
    manifest = (out / "manifest.jsonl").read_text().splitlines()
    assert json.loads(manifest[0])["status"] == "done"


def test_bad_input_is_not_tried_again(tmp_path, program):
    (job,) = run_all([2], tmp_path / "out", program, n_retries=5)
    assert (job.status, job.attempts, job.exit_status) == ("failed", 1, 2)


def test_a_run_without_a_checkpoint_starts_again_in_a_new_folder(tmp_path, program):
    out = tmp_path / "out"
    (job,) = run_all([3], out, program, n_retries=2)
    assert (job.status, job.attempts, job.exit_status) == ("failed", 3, 1)
    folders = [words[words.index("--run_dir") + 1] for words in tape(out)]
    assert len(set(folders)) == 3


def finish(run: Run, folder: Path, *, result: bool) -> None:
    create_run(folder, replace(run.cfg, n_threads=2))
    (folder / "checkpoint.pt").write_text("")
    if result:
        (folder / "result.json").write_text("{}")


def test_a_run_that_another_study_finished_since_is_done_without_its_checkpoints(tmp_path, program):
    out = tmp_path / "out"
    (job,) = jobs = make_jobs([make_run(0)], out)
    finish(job.run, job.folder, result=True)
    (job.folder / "checkpoint.pt").unlink()
    study(jobs, out, program).run(lambda: False)
    assert (job.status, job.attempts) == ("done", 0)


def test_a_run_whose_result_is_damaged_is_gone_on_with(tmp_path, program):
    out = tmp_path / "out"
    run, other = make_run(0), make_run(5)
    for each in (run, other):
        finish(each, out / each.id, result=True)
    (out / run.id / "result.json").write_text('{"env_id": "Pong')
    assert [job.status for job in make_jobs([run, other], out)] == ["begun", "done"]


def test_finished_runs_are_skipped_wherever_they_are(tmp_path, program):
    out = tmp_path / "out"
    finish(make_run(0), out / "under another name", result=True)
    done, job = run_all([0, 5], out, program)
    assert (done.status, done.attempts) == ("done", 0)
    assert done.folder == out / "under another name"
    assert job.status == "done"
    assert len(tape(out)) == 1


def test_runs_are_known_by_their_settings_and_the_finished_one_counts(tmp_path):
    for name, result in (("a", True), ("b", False)):
        finish(make_run(0), tmp_path / name, result=result)
    create_run(tmp_path / "died at once", make_run(6).cfg)
    assert runs_in(tmp_path, {}) == {make_run(0).id: tmp_path / "a"}
    assert is_finished(tmp_path / "a")
    assert can_resume(tmp_path / "b")


def test_a_folder_that_cannot_be_read_is_left_alone_with_a_warning(tmp_path, capsys):
    finish(make_run(0), tmp_path / "a", result=True)
    finish(make_run(1), tmp_path / "b", result=True)
    config = tmp_path / "b" / "config.yaml"
    config.write_text(config.read_text().replace("batch_size:", "size_of_a_later_version:"))
    for _ in range(2):  # at the start of every run of a study
        assert runs_in(tmp_path, {}) == {make_run(0).id: tmp_path / "a"}
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("left alone: ")
    assert str(config) in warning


def test_a_record_is_read_again_only_if_it_has_changed(tmp_path, monkeypatch):
    """A study looks at all folders whenever a run starts, and there may be hundreds."""
    read: list[str] = []

    def read_and_tell(folder):
        read.append(folder.name)
        return read_run(folder)

    monkeypatch.setattr("distill.study.jobs.read_run", read_and_tell)
    for seed, name in enumerate("ab"):
        finish(make_run(seed), tmp_path / name, result=True)
    for _ in range(3):
        assert runs_in(tmp_path, {}).keys() == {make_run(0).id, make_run(1).id}
    assert sorted(read) == ["a", "b"]
    config = tmp_path / "b" / "config.yaml"
    config.write_text(config.read_text().replace("seed: 1", "seed: 2"))
    os.utime(config, ns=(1, 1))
    assert runs_in(tmp_path, {}).keys() == {make_run(0).id, make_run(2).id}
    assert sorted(read) == ["a", "b", "b"]


def test_a_run_of_another_teacher_of_that_name_is_left_alone(tmp_path, capsys):
    """Names of zips that other programs wrote are no more than names."""
    out, run = tmp_path / "out", make_run(0)
    for folder, text in (("one", "x"), ("other", "y")):
        teacher = tmp_path / folder / "a.zip"
        teacher.parent.mkdir()
        teacher.write_text(text)
        mine = run._replace(cfg=replace(run.cfg, teacher_chkpt=teacher))
        assert mine.id == run.id
        (job,) = make_jobs([mine], out)
        assert job.status == "planned"
        create_run(job.folder, mine.cfg, files={"teacher_chkpt": teacher})
        (job.folder / "result.json").write_text("{}")
        (again,) = make_jobs([mine], out)
        assert (again.folder, again.status) == (job.folder, "done")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.endswith(" is of another teacher of the same name")


def test_a_long_name_is_cut_and_the_id_kept(tmp_path):
    run = make_run(7)._replace(labels={"seed": "7", "arm": "\u4e16" * 200})
    folder = new_folder(tmp_path, run)
    folder.mkdir()
    assert folder.name.endswith(f"\u4e16_seed7_{run.id}")


def test_interrupted_runs_save_and_the_next_study_goes_on(tmp_path, program):
    out = tmp_path / "out"
    jobs = make_jobs([make_run(4), make_run(0)], out)
    waiting = jobs[0].folder / "waiting"
    study(jobs, out, program).run(waiting.exists)
    assert [job.status for job in jobs] == ["stopped", "planned"]
    create = {"settings": to_mapping(jobs[0].run.cfg)}
    (jobs[0].folder / "config.yaml").write_text(json.dumps(create))  # as the command writes it
    found = make_jobs([make_run(4), make_run(0)], out)  # what --dry_run shows
    assert [job.status for job in found] == ["begun", "planned"]
    again = run_all([4, 0], out, program)
    assert [job.status for job in again] == ["done", "done"]
    assert ["--resume", str(jobs[0].folder), "--n_threads", "1"] in tape(out)


def test_a_second_interruption_leaves_no_process_behind(tmp_path, program):
    out = tmp_path / "out"
    (job,) = make_jobs([make_run(4)], out)
    waiting = job.folder / "waiting"

    def should_stop() -> bool:
        if waiting.exists():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        study([job], out, program).run(should_stop)
    assert json.loads((out / "manifest.jsonl").read_text())["status"] == "stopped"
    log = lock_log(out / f"{job.run.id}.log")  # which the process held while it lived
    assert log is not None
    log.close()


def test_as_many_run_at_a_time_as_there_are_workers(tmp_path, program):
    out, running, most = tmp_path / "out", set(), []

    def on_change(job: Job) -> None:
        (running.add if job.status == "running" else running.discard)(job.run.id)
        most.append(len(running))

    run_all([10, 11, 12, 13], out, program, n_workers=2, on_change=on_change)
    assert max(most) == 2


def test_runs_are_looked_at_while_they_work(tmp_path, program, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.0)
    jobs, seen = make_jobs([make_run(10), make_run(11)], tmp_path / "out"), []
    on_look = lambda: seen.append(tuple(job.status for job in jobs))  # noqa: E731
    study(jobs, tmp_path / "out", program, on_look=on_look).run(lambda: False)
    assert seen[0] == ("running", "planned")
    assert ("done", "running") in seen


def test_runs_are_not_looked_at_before_it_is_time(tmp_path, program, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_SECONDS", 1e9)
    jobs, seen = make_jobs([make_run(10)], tmp_path / "out"), []
    study(jobs, tmp_path / "out", program, on_look=lambda: seen.append(1)).run(lambda: False)
    assert seen == []


def test_a_run_that_another_study_has_finished_since_is_not_repeated(tmp_path, program):
    out = tmp_path / "out"
    jobs = make_jobs([make_run(0), make_run(5)], out)

    def finish_the_other(job: Job) -> None:  # as a study of another grid does, in its own folder
        if job.run.id == make_run(0).id and job.status == "done":
            finish(make_run(5), out / "of another grid", result=True)

    study(jobs, out, program, on_change=finish_the_other).run(lambda: False)
    assert [(job.status, job.attempts) for job in jobs] == [("done", 1), ("done", 0)]
    assert jobs[1].folder == out / "of another grid"
    assert len(tape(out)) == 1


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path, program):
    out = tmp_path / "out"
    log = lock_log(out / f"{make_run(0).id}.log")
    assert log is not None
    with log:
        child = subprocess.Popen(["sleep", "30"], stdout=log)
    try:  # the lock is the child's now
        (job,) = run_all([0], out, program)
        assert (job.status, job.attempts) == ("elsewhere", 0)
    finally:
        child.kill()
        child.wait()
    started = time.monotonic()
    while (free := lock_log(out / f"{make_run(0).id}.log")) is None:
        assert time.monotonic() - started < 10
    free.close()


def test_a_run_does_not_hear_the_terminals_ctrl_c_itself(tmp_path):
    note = tmp_path / "session"
    code = f"import os; open({str(note)!r}, 'w').write(str(os.getsid(0)))"
    run_all([0], tmp_path / "out", (sys.executable, "-c", code), n_retries=0)
    assert int(note.read_text()) != os.getsid(0)


def test_a_run_that_leaves_no_result_has_failed(tmp_path):
    (job,) = run_all([0], tmp_path / "out", (sys.executable, "-c", ""), n_retries=0)
    assert (job.status, job.exit_status) == ("failed", 0)
