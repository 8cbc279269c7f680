"""Run folders: what made a run, and how it reads back."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml

from distill import provenance
from distill.run_folder import (
    check_files,
    create_run,
    lengthen_run,
    read_result,
    read_run,
    resume_command,
    unused,
)
from distill.schedules import LinearSchedule
from distill.settings import from_mapping, option
from distill.teacher_config import TeacherConfig
from distill.types import WIDTHS


def a_config(**changes) -> TeacherConfig:
    return replace(TeacherConfig(total_steps=1000), **changes)


def test_a_runs_settings_read_back(tmp_path):
    cfg = a_config(
        run_dir=tmp_path / "run",
        env="ALE/Pong-v5",
        network=WIDTHS["1pct"],
        learning_rate=LinearSchedule(1e-3, 1e-7, 0.3),
        n_threads=2,
    )
    create_run(tmp_path / "run", cfg)
    settings = read_run(tmp_path / "run")["settings"]
    assert from_mapping(TeacherConfig, settings, origin="config.yaml") == cfg


def test_a_run_records_where_it_came_from(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["ppo_teacher.py", "1000"])
    returned = create_run(tmp_path / "run", a_config())
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert record == returned
    assert record["argv"] == ["1000"]
    assert set(record) == {"settings", "started", "argv", "commit", "dirty", "versions", "machine"}
    assert record["versions"]["torch"] == torch.__version__


def test_a_run_records_the_device_and_the_precision_that_were_asked_for(tmp_path):
    made_by = provenance.provenance("cpu", "bfloat16")
    record = create_run(tmp_path / "run", a_config(), made_by=made_by)
    assert "(bfloat16)" in record["machine"]
    made_by = provenance.provenance("cpu", "float32")
    lengthen_run(tmp_path / "run", 2000, at_step=1000, made_by=made_by)
    (change,) = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["lengthened"]
    assert "(float32)" in change["machine"]


def test_a_file_that_a_run_reads_again_must_be_the_one_that_it_began_with(tmp_path):
    path, run_dir = tmp_path / "t.zip", tmp_path / "run"
    path.write_bytes(b"a teacher")
    create_run(run_dir, a_config(), files={"kickstart": path})
    record = read_run(run_dir)
    check_files(run_dir, record, {"kickstart": path})
    check_files(run_dir, record, {})
    elsewhere = path.rename(tmp_path / "renamed.zip")
    check_files(run_dir, record, {"kickstart": elsewhere})
    elsewhere.write_bytes(b"another")
    with pytest.raises(ValueError, match=rf"--resume {run_dir} began with another --kickstart"):
        check_files(run_dir, record, {"kickstart": elsewhere})
    for unknown in (None, "damaged"):  # as in folders of before
        check_files(run_dir, record | {"sha256": unknown}, {"kickstart": elsewhere})
    with pytest.raises(FileNotFoundError, match=rf"--resume {run_dir} needs --kickstart {path}"):
        check_files(run_dir, record, {"kickstart": path})


def test_a_run_that_is_lengthened_changes_in_that_alone(tmp_path):
    before = create_run(tmp_path / "run", a_config(seed=3))
    lengthen_run(tmp_path / "run", 1000, at_step=512)  # that is its total
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()) == before
    lengthen_run(tmp_path / "run", 2000, at_step=1024)
    record = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    (change,) = record.pop("lengthened")
    assert (change["total_steps_before"], change["total_steps"]) == (1000, 2000)
    assert change["at_step"] == 1024
    assert record == before | {"settings": before["settings"] | {"total_steps": 2000}}


def test_two_runs_begun_in_one_second_have_a_folder_each(tmp_path):
    names = []
    for _ in range(3):
        create_run(folder := unused(tmp_path / "run.x"), a_config())
        names.append(folder.name)
    assert names == ["run.x", "run.x_2", "run.x_3"]


def test_a_folder_that_exists_is_refused_and_left_alone(tmp_path):
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(FileExistsError, match=f"--run_dir {tmp_path} exists.*--resume {tmp_path}"):
        create_run(tmp_path, a_config())
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_without_its_settings_is_not_left_in_the_way(tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("distill.run_folder.write_text", fail)
    with pytest.raises(type(error)):
        create_run(tmp_path / "a", a_config())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("status", "dirty"),
    [
        ("", False),
        ("?? teachers/envALE-Boxing-v5_20260102-030405_n_iters10000.zip", False),
        ("?? teachers/a.zip\n M distill/acting.py", True),
        ("M teachers/floors.json", True),
        ("?? distill/teachers/a.py", True),
        ("?? MINE.zip\n?? MINE.json", False),
        ('?? "my teacher.zip"', False),
        ('?? "my module.py"', True),
        ("?? folder/", True),
        (None, None),
    ],
)
def test_a_tree_with_teachers_of_ones_own_is_that_of_its_commit(monkeypatch, status, dirty):
    monkeypatch.setattr(provenance, "_git", lambda word, *_: status if word == "status" else "abc")
    assert provenance.provenance()["dirty"] is dirty


def test_a_command_to_go_on_with_can_be_pasted_into_a_shell():
    assert resume_command("x.py", Path("runs/a b")) == "python x.py --resume 'runs/a b'"
    assert resume_command("x.py", Path("runs/ab")) == "python x.py --resume runs/ab"


def test_a_folder_that_cannot_be_looked_for_is_a_clear_error(tmp_path):
    with pytest.raises(OSError, match=r"cannot create --run_dir .*xxx: File name too long"):
        create_run(tmp_path / ("x" * 300), TeacherConfig(total_steps=10))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot create --run_dir .*file/run: Not a directory"):
        create_run(tmp_path / "file" / "run", a_config())


@pytest.mark.parametrize("content", [None, "a: 1\n", "settings: 3\n", "- x\n", "[", ""])
def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises((FileNotFoundError, ValueError), match=str(tmp_path)):
        read_run(tmp_path)


@dataclass(frozen=True)
class Odd:
    """A setting whose value YAML might take for something else."""

    text: str = option("1:0", "any text", str)


@pytest.mark.parametrize("text", ["1:0", "null", "yes", "1e3", "2026-01-01", "", "a: b", "'", "ä"])
def test_texts_that_resemble_other_things_read_back(tmp_path, text):
    create_run(tmp_path / "run", Odd(text))
    settings = read_run(tmp_path / "run")["settings"]
    assert from_mapping(Odd, settings, origin="config.yaml") == Odd(text)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b"null", b"{"], ids=lambda t: t[:4])
def test_a_damaged_result_is_named(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        read_result(tmp_path)
